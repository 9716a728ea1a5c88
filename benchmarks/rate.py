"""How much of the processor's matrix-product rate training reaches: `python -m benchmarks.rate`.

Training steps in float32 with the batch of budget quick, without augmentation. A step costs three times the
multiply-adds of an answer. The rate is that of a product of two 1,024 × 1,024 matrices, measured in the same process,
between the networks. ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 in the environment
makes a newer processor do without AVX-512 and AMX.
"""

import json
import statistics
from pathlib import Path
from typing import Any

import torch
import typer
from torch.nn import functional as F

from benchmarks.clock import times_a_second
from cnnlab import models
from cnnlab.core import artifacts, params
from cnnlab.core.errors import run_command
from cnnlab.models.summary import summarise
from cnnlab.training.devices import describe, memory_format, tune_process
from cnnlab.training.recipe import make_optimizer

SIDE = 1024
SHAPE, CLASSES = (1, 28, 28), 10


def main(
    networks: str = typer.Option(",".join(models.names()), help="which, separated by commas"),
    turns: int = typer.Option(3, min=1, help="of all networks; the median counts"),
    output: Path = typer.Option(Path("benchmarks/results/rate.json"), help="where the figures go"),
) -> None:
    """Measure every network and keep pictures a second, the share of the rate, and the seconds of budget quick."""
    device = torch.device("cpu")
    tune_process(device)
    settings = params.load()
    rates: dict[str, list[float]] = {"product": []}
    for _ in range(turns):
        rates["product"].append(_product())
        for name in networks.split(","):
            rates.setdefault(name, []).append(_pictures(name, settings))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    product = medians.pop("product")
    table: dict[str, dict[str, Any]] = json.loads(output.read_text()) if output.exists() else {}
    rows = table[describe(device)] = {"GFLOP/s of a matrix product": round(product / 1e9, 1)}
    for name, rate in medians.items():
        run = settings.model(name).modern.quick
        work = 6 * summarise(name, SHAPE, CLASSES, settings.options(name)).multiply_adds
        rows[name] = {
            "pictures_per_second": round(rate, 1),
            "share": round(rate * work / product, 3),
            "quick_seconds": round(run.steps * run.batch_size / rate, 1),
        }
        print(name, rows[name], flush=True)
    artifacts.write_text(output, json.dumps(table, indent=1) + "\n")


def _product() -> float:
    """Operations a second of a matrix product."""
    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    return 2 * SIDE**3 * times_a_second(lambda: left @ right)


def _pictures(name: str, settings: params.Params) -> float:
    """Pictures a second of a network's training steps."""
    run = settings.model(name).modern.quick
    torch.manual_seed(0)
    network = models.build(name, SHAPE, CLASSES, settings.options(name))
    network = network.to(memory_format=memory_format(torch.device("cpu")))  # pyright: ignore[reportCallIssue]
    optimizer = make_optimizer(network, "modern", run.weight_decay, run.momentum)
    images = torch.randn(run.batch_size, *SHAPE).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (run.batch_size,))

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step(1e-4)

    return run.batch_size * times_a_second(step)


if __name__ == "__main__":
    run_command(main)
