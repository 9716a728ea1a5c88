"""Is it faster to train the seeds of an ablation together? `python benchmarks/joint_seeds.py`

LeNet by the recipe plain, one network for each seed, each with its own batches, in three forms that take turns: one
after another on all threads (as `ablate` does), stacked into one by torch.func (vmap over weights and batches), and
one process each on one thread, as many at once as there are cores. Examples a second over all seeds; ratios to the
first.
"""

import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import torch
import typer
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from cnnlab import models
from cnnlab.core import artifacts, datasets, params
from cnnlab.core.errors import run_command
from cnnlab.training.devices import tune_process
from cnnlab.training.recipe import make_optimizer

BATCH, PICTURES, RATE = 256, 8192, 0.9


def main(
    seeds: str = typer.Option("2,5", help="how many, separated by commas"),
    steps: int = typer.Option(60, min=1, help="for each seed in each turn"),
    turns: int = typer.Option(4, min=1, help="of all forms; the fastest counts"),
    output: Path = typer.Option(Path("benchmarks/results/joint_seeds.json"), help="where the figures go"),
) -> None:
    """Time the forms and keep examples a second and ratios."""
    tune_process(torch.device("cpu"))
    table = {}
    for count in map(int, seeds.split(",")):
        best = {"in turn": float("inf"), "stacked": float("inf"), "a process each": float("inf")}
        stacked = _Stacked(count)
        networks = [_network(seed) for seed in range(count)]
        cores = os.cpu_count() or 1
        with ProcessPoolExecutor(min(cores, count), multiprocessing.get_context("spawn"), _one_thread) as pool:
            for turn in range(turns + 1):  # the first warms up
                seconds = {
                    "in turn": sum(_train(network, steps) for network in networks),
                    "stacked": stacked.train(steps),
                    "a process each": _processes(pool, count, steps),
                }
                if turn:
                    best = {form: min(best[form], seconds[form]) for form in best}
        rates = {form: count * steps * BATCH / spent for form, spent in best.items()}
        table[f"{count} seeds"] = {
            form: {"examples_per_second": round(rate, 1), "ratio": round(rate / rates["in turn"], 3)}
            for form, rate in rates.items()
        }
        print(f"{count} seeds", table[f"{count} seeds"], flush=True)
    artifacts.write_text(output, json.dumps(table | {"threads": torch.get_num_threads()}, indent=1) + "\n")


class _Stacked:
    """All seeds as one network, whose weights have a first dimension more."""

    def __init__(self, count: int) -> None:
        networks = [_network(seed) for seed in range(count)]
        self.weights, buffers = stack_module_state(networks)
        assert not buffers
        self.skeleton = networks[0]
        self.step = vmap(grad(self._loss))

    def _loss(self, weights: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(self.skeleton, weights, (images,)), labels)

    def train(self, steps: int) -> float:
        images, labels = _pictures()
        count = len(next(iter(self.weights.values())))
        begun = time.perf_counter()
        for step in range(steps):
            parts = [_part(step + seed) for seed in range(count)]
            batch = torch.stack([images[part] for part in parts]), torch.stack([labels[part] for part in parts])
            gradients = self.step(self.weights, *batch)
            for name, weight in self.weights.items():
                weight.data.sub_(gradients[name], alpha=RATE)
        return time.perf_counter() - begun


def _train(network: nn.Module, steps: int) -> float:
    """Seconds of a network's steps by itself."""
    images, labels = _pictures()
    optimizer = make_optimizer(network, "plain", 0.0)
    begun = time.perf_counter()
    for step in range(steps):
        part = _part(step)
        optimizer.zero_grad()
        some = images[part].contiguous(memory_format=torch.channels_last)
        F.cross_entropy(network(some), labels[part]).backward()
        optimizer.step(RATE)
    return time.perf_counter() - begun


def _processes(pool: ProcessPoolExecutor, count: int, steps: int) -> float:
    begun = time.perf_counter()
    list(pool.map(_seed, range(count), [steps] * count))
    return time.perf_counter() - begun


def _seed(seed: int, steps: int) -> None:
    _train(_network(seed), steps)


def _one_thread() -> None:
    tune_process(torch.device("cpu"))
    torch.set_num_threads(1)
    _pictures()


def _network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = models.build("lenet", (1, 28, 28), 10, params.load().baselines["lenet"].options)
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _part(step: int) -> slice:
    first = step * BATCH % (PICTURES - BATCH)
    return slice(first, first + BATCH)


@cache
def _pictures() -> tuple[Tensor, Tensor]:
    split = datasets.load_split("fashion_mnist", "train")
    return torch.tensor(split.images[:PICTURES]).float() / 255, torch.tensor(split.labels[:PICTURES])


if __name__ == "__main__":
    run_command(main)
