"""What waiting threads cost, on an idle and on a busy machine: `python -m benchmarks.waiting --networks lenet,mynet`.

A thread that has finished its part waits for the others: it spins, which is quick, or sleeps, which leaves the core to
others. Each choice below trains in a process of its own, in turn, alone and beside other processes that never rest.
onnxruntime's sessions have a setting of the same kind, measured likewise. Ratios are to the libraries' own defaults.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from benchmarks.clock import times_a_second

CHOICES = {
    "default": {},
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spin 1,000 times": {"GOMP_SPINCOUNT": "1000"},
    "spin 10,000 times": {"GOMP_SPINCOUNT": "10000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
SESSIONS = {"default": "1", "sleep at once": "0"}  # onnxruntime's session.intra_op.allow_spinning
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "OMP_DYNAMIC")
BATCH = 256


def main(
    networks: str = typer.Option("lenet,mynet,resnet", help="which, separated by commas"),
    turns: int = typer.Option(3, min=1, help="of all choices; the median counts"),
    busy: int = typer.Option(2, min=0, help="processes that never rest, in the second half"),
    output: Path = typer.Option(Path("benchmarks/results/waiting.json"), help="where the figures go"),
) -> None:
    """Time every choice, alone and in company."""
    from benchmarks.inference import processors
    from cnnlab.core import artifacts

    machines = json.loads(output.read_text()) if output.exists() else {}
    table = machines[processors()] = {}
    for others in sorted({0, busy}):
        with _company(others):
            for name in networks.split(","):
                row = _compare({choice: (["train", name], extra) for choice, extra in CHOICES.items()}, turns)
                table[f"train {name}, beside {others}"] = row
                print(f"train {name}, beside {others}", row, flush=True)
            for batch in (1, 256):
                row = _compare({c: (["answer", str(batch), on], {}) for c, on in SESSIONS.items()}, turns)
                table[f"onnxruntime, batch {batch}, beside {others}"] = row
                print(f"onnxruntime, batch {batch}, beside {others}", row, flush=True)
    artifacts.write_text(output, json.dumps(machines, indent=1) + "\n")


def _compare(choices: dict[str, tuple[list[str], dict[str, str]]], turns: int) -> dict[str, dict[str, float]]:
    """The median pictures a second of each choice, and its ratio to the first."""
    rates: dict[str, list[float]] = {choice: [] for choice in choices}
    for _ in range(turns):
        for choice, (words, extra) in choices.items():
            clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
            # cnnlab itself sets a policy where none is set: an empty one is none to the library.
            environment = {**clean, "OMP_WAIT_POLICY": "", **extra}
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.waiting", "child", *words],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            rates[choice].append(float(done.stdout))
    medians = {choice: statistics.median(found) for choice, found in rates.items()}
    first = next(iter(medians.values()))
    return {choice: {"per_second": round(rate, 1), "ratio": round(rate / first, 3)} for choice, rate in medians.items()}


@contextmanager
def _company(others: int) -> Iterator[None]:
    """Processes that never rest, while the block runs."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(others)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def _train(name: str) -> float:
    """Pictures a second of a network's training steps, in float32."""
    import torch
    from torch.nn import functional as F

    from cnnlab import models
    from cnnlab.core import params
    from cnnlab.training.devices import tune_process
    from cnnlab.training.recipe import make_optimizer

    tune_process(torch.device("cpu"))
    torch.manual_seed(0)
    network = models.build(name, (1, 28, 28), 10, params.load().options(name))
    network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = make_optimizer(network, "modern", 0.0)
    images = torch.randn(BATCH, 1, 28, 28).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (BATCH,))

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step(0.001)

    return BATCH * times_a_second(step)


def _answer(batch: int, spinning: str) -> float:
    """Pictures a second of the network that ships, exported, through onnxruntime."""
    import numpy as np

    from cnnlab.inference.session import default_model_path  # before onnxruntime: cnnlab silences its reports

    import onnxruntime as ort  # isort: skip

    options = ort.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    path = str(default_model_path())
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images = np.zeros((batch, *session.get_inputs()[0].shape[1:]), np.uint8)
    return batch * times_a_second(lambda: session.run(None, {session.get_inputs()[0].name: images}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        kind, *words = sys.argv[2:]
        print(_train(*words) if kind == "train" else _answer(int(words[0]), words[1]))
    else:
        from cnnlab.core.errors import run_command

        run_command(main)
