"""Make one run of the study: train its seeds, measure them, and give their records."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cnnlab.ablation.measure import SAMPLE, dead_rectifiers, measure_split, trained_on
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.schema import Precision
from cnnlab.models.classifier import Classifier
from cnnlab.study import records
from cnnlab.study.layers import layer_figures
from cnnlab.study.plan import Planned
from cnnlab.study.records import TAIL, Record
from cnnlab.training.checkpoint import Checkpoint
from cnnlab.training.classification import ClassifierTask, train_seeds
from cnnlab.training.devices import describe
from cnnlab.training.loop import evaluate, resident
from cnnlab.training.steps import Data, Row, Task
from cnnlab.training.trained import Trained

CURVE_DIGITS = 5
HELD_OUT = 0.1  # any share will do where none is held out: the function that trains asks for one


@dataclass(frozen=True)
class Place:
    """The data that the study's runs share, and the device that trains them."""

    info: DatasetInfo
    train: Split
    test: Split
    precision: Precision
    device: torch.device


def make(run: Planned, seeds: Sequence[int], place: Place) -> list[tuple[Record, Checkpoint]]:
    """Train and measure these seeds: together on a GPU, where they can share a graph.

    The checkpoint of a finished seed stays until its record is written: the caller removes it.
    """
    test = resident(place.test, np.arange(len(place.test.labels)), place.device)
    pictures = len(trained_on(place.train.labels, run.held_out, seeds[0]))
    trained = train_seeds(
        run.network, run.options, place.info, place.train, run.in_steps(pictures), recipe=run.recipe,
        names={seed: f"study-{run.name}-{seed}" for seed in seeds}, held_out=run.held_out or HELD_OUT,
        device=place.device, precision=place.precision, validate=run.held_out > 0, measure=_measurement(test),
    )  # fmt: skip
    return [(_record(run, each, place), each.checkpoint) for each in trained]


def _measurement(test: Data) -> Callable[[Task], Row]:
    """What each point of the curve gets beside the training figures. Nothing is chosen by it."""

    def measure(task: Task) -> Row:
        began = time.perf_counter()
        figures = {f"test_{name}": value for name, value in evaluate(task, test, 0).items()}
        load = {"load": os.getloadavg()[0]} if hasattr(os, "getloadavg") else {}  # not on Windows
        return figures | load | {"measure_seconds": time.perf_counter() - began}

    return measure


def _record(run: Planned, trained: Trained[Classifier], place: Place) -> Record:
    """All that is kept of one trained seed."""
    seed, rows, classifier = trained.meta["seed"], trained.progress.rows, trained.module
    task = ClassifierTask(classifier, run.run)
    fitted = evaluate(
        task, resident(place.train, trained_on(place.train.labels, run.held_out, seed), place.device), seed
    )
    loss, hits = measure_split(classifier, place.test, place.device)
    record = {"run": run.name, "seed": seed, "settings": run.settings}
    record |= trained.metrics() | {f"evaluated_train_{name}": value for name, value in fitted.items()}
    record |= {"test_loss": loss, "test_accuracy": float(hits.mean()), "n_test": len(hits)}
    record |= {f"tail_{name}": tail(rows, name) for name in ("test_loss", "test_accuracy")}
    record |= dead_rectifiers(classifier, place.train.images[:SAMPLE], place.device)
    record |= layer_figures(classifier, place.test, place.device, run.maps)
    record |= _timing(trained, rows) | surroundings(place.device)
    return record | {
        "precision": trained.meta["settings"]["precision"],
        "hits": records.pack(hits),
        "curve": _curve(rows),
    }


def tail(rows: Sequence[Row], name: str) -> float:
    """The mean of a figure over the last epochs of the curve."""
    last = [row[name] for row in rows[-TAIL:]]
    return sum(last) / len(last)


def _timing(trained: Trained[Classifier], rows: Sequence[Row]) -> dict[str, float]:
    """Seconds in training steps and altogether, pictures a second, and how many processes wanted the CPU."""
    timing = trained.progress.timing()
    loads = [row["load"] for row in rows if "load" in row]
    load = {"load": sum(loads) / len(loads)} if loads else {}
    return timing | {"seconds": timing["train_seconds"] + sum(row["measure_seconds"] for row in rows)} | load


def _curve(rows: Sequence[Row]) -> dict[str, list[float]]:
    """The curve by its columns: losses and accuracies at each epoch."""
    names = [name for name in rows[0] if name == "epoch" or name.startswith(("train_", "validation_", "test_"))]
    return {name: [round(row[name], CURVE_DIGITS) for row in rows] for name in names}


def surroundings(device: torch.device) -> dict[str, Any]:
    """Where a record was made: the device, torch, and the commit of the code."""
    return {"device": describe(device), "torch": torch.__version__, "commit": _commit()}


def _commit() -> str:
    """The commit of the working tree, with a + where its code or settings differ from it; empty without Git."""
    try:
        told = [
            subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=60).stdout.strip()
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--", "src", "params.yaml"])
        ]
    except (OSError, subprocess.SubprocessError):
        return ""
    return told[0] + ("+" if told[1] else "")
