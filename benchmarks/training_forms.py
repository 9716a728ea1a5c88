"""Which form of a training step is fastest on this machine: `python benchmarks/training_forms.py --networks lenet,vgg`.

Training steps at batch 256 in several forms, taken in turn so that all meet the same noise: channels innermost (as we
train) or outermost, in bfloat16, compiled by torch.compile (compilation not timed), with torch.optim instead of our
optimizer, with torch's convolution on tiny maps too, and in micro-batches that stay in cache (gradients added up; not
where batch normalisation would see the parts). Memory is kept between steps in all of them. Ratios are to the first.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab import models
from cnnlab.core import artifacts, datasets, params
from cnnlab.core.errors import run_command
from cnnlab.models.small_maps import SmallMapConv2d
from cnnlab.training.devices import tune_process
from cnnlab.training.recipe import make_optimizer

BATCH, PICTURES, RATE = 256, 4096, 0.01
PLAIN = (("float32", torch.float32), ("bfloat16", torch.bfloat16))
Step = Callable[[Tensor, Tensor], None]


def main(
    networks: str = typer.Option(",".join(models.names()), help="which, separated by commas"),
    steps: int = typer.Option(4, min=1, help="steps timed in a turn; lenet makes eight times as many"),
    turns: int = typer.Option(4, min=1, help="of all forms; the fastest counts"),
    threads: int = typer.Option(0, min=0, help="0: as torch has it"),
    output: Path = typer.Option(Path("benchmarks/results/training_forms.json"), help="where the figures go"),
) -> None:
    """Time every form of every network and keep examples a second and ratios."""
    tune_process(torch.device("cpu"))
    if threads:
        torch.set_num_threads(threads)
    split = datasets.load_split("fashion_mnist", "train")
    images = torch.tensor(split.images[:PICTURES]).float() / 255
    labels = torch.tensor(split.labels[:PICTURES])
    table = json.loads(output.read_text()) if output.exists() else {}
    for name in networks.split(","):
        forms = _forms(name)
        count = steps * (8 if name == "lenet" else 1)
        best = dict.fromkeys(forms, float("inf"))
        for turn in range(turns + 1):  # the first warms up
            for form, step in forms.items():
                begun = time.perf_counter()
                for index in range(count):
                    first = index * BATCH % (PICTURES - BATCH)
                    step(images[first : first + BATCH], labels[first : first + BATCH])
                if turn:
                    best[form] = min(best[form], time.perf_counter() - begun)
        rates = {form: count * BATCH / seconds for form, seconds in best.items()}
        reference = rates["float32"]
        table[f"{name}, {torch.get_num_threads()} threads"] = {
            form: {"examples_per_second": round(rate, 1), "ratio": round(rate / reference, 3)}
            for form, rate in rates.items()
        }
        artifacts.write_text(output, json.dumps(table, indent=1, sort_keys=True) + "\n")
        print(name, {form: f"{rate:.0f}/s ({rate / reference:.2f})" for form, rate in rates.items()}, flush=True)


def _forms(name: str) -> dict[str, Step]:
    """A training step of the network in each form, each with weights of its own."""
    forms = {
        "float32": _step(name),
        "channels outermost": _step(name, memory_format=torch.contiguous_format),
        "compiled": _step(name, compiled=True),
        "bfloat16": _step(name, precision=torch.bfloat16),
        "bfloat16, compiled": _step(name, precision=torch.bfloat16, compiled=True),
    }
    forms |= {
        f"{form}, torch.optim": _step(name, precision=precision, own_optimizer=False) for form, precision in PLAIN
    }
    network = _network(name)
    if any(isinstance(module, SmallMapConv2d) for module in network.modules()):
        forms |= {
            f"{form}, torch's convolutions": _step(name, precision=precision, tiny=False) for form, precision in PLAIN
        }
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        forms |= {f"micro-batches of {part}": _step(name, part=part) for part in (32, 64, 128)}
    return forms


def _network(name: str) -> nn.Module:
    info = datasets.load_info("fashion_mnist")
    torch.manual_seed(0)
    return models.build(name, info.shape, len(info.class_names), params.load().options(name))


def _step(
    name: str,
    *,
    memory_format: torch.memory_format = torch.channels_last,
    precision: torch.dtype = torch.float32,
    compiled: bool = False,
    own_optimizer: bool = True,
    tiny: bool = True,
    part: int = BATCH,
) -> Step:
    network: Any = _network(name).to(memory_format=memory_format)  # pyright: ignore[reportCallIssue]
    for module in network.modules() if not tiny else ():
        if isinstance(module, SmallMapConv2d):
            module.__class__ = nn.Conv2d  # pyright: ignore[reportAttributeAccessIssue]
    own, theirs = make_optimizer(network, "plain", 0.0), torch.optim.SGD(network.parameters(), lr=RATE, fused=True)
    update = (lambda: own.step(RATE)) if own_optimizer else theirs.step
    forward = torch.compile(network) if compiled else network

    def step(images: Tensor, labels: Tensor) -> None:
        network.zero_grad()
        for first in range(0, len(images), part):
            some = images[first : first + part].contiguous(memory_format=memory_format)
            with torch.autocast("cpu", precision, enabled=precision != torch.float32):
                logits = forward(some)
            (F.cross_entropy(logits.float(), labels[first : first + part]) * (part / BATCH)).backward()
        update()

    return step


if __name__ == "__main__":
    run_command(main)
