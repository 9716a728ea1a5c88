"""The runs of one variant: train each seed, then measure it on the test set. Rates are chosen on validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cnnlab.ablation.measure import SAMPLE, dead_rectifiers, measure_split, trained_on
from cnnlab.ablation.statistics import mean_and_spread
from cnnlab.ablation.table import GROUPS
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.schema import Precision, Protocol
from cnnlab.core.split import choose
from cnnlab.models.classifier import Classifier
from cnnlab.training import graph
from cnnlab.training.checkpoint import Checkpoint
from cnnlab.training.classification import train_seeds
from cnnlab.training.devices import room_for
from cnnlab.training.recipe import peak_rate
from cnnlab.training.steps import Row
from cnnlab.training.trained import Trained


@dataclass(frozen=True)
class Variant:
    """What is trained: a name, a network, and all of its options."""

    name: str
    network: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """What the runs of all variants share. It has no test pictures, so that no choice can use them."""

    info: DatasetInfo
    train: Split
    protocol: Protocol
    held_out: float
    device: torch.device
    precision: Precision = "auto"


@dataclass(frozen=True)
class SeedRun:
    """One trained seed: its curve, its figures, its hits (bool [n_test]: which test pictures are right), its timing."""

    seed: int
    rate: float
    rows: list[Row]
    figures: dict[str, float]
    hits: np.ndarray
    checkpoint: Checkpoint
    timing: dict[str, float]


@dataclass(frozen=True)
class VariantRuns:
    """All runs of a variant: at the usual rate, and at its own best rate ("fair_") if the protocol lists rates."""

    groups: dict[str, list[SeedRun]]
    checkpoints: list[Checkpoint]

    def hits(self) -> np.ndarray:
        """Which test pictures are right: bool [groups, seeds, n_test]."""
        return np.array([[run.hits for run in group] for group in self.groups.values()])

    def curves(self) -> list[dict[str, Any]]:
        """A row for each group, seed and point of the curve."""
        return [
            {"rate": GROUPS[prefix], "seed": run.seed, **row}
            for prefix, group in self.groups.items()
            for run in group
            for row in run.rows
        ]

    def figures(self) -> dict[str, Any]:
        """The summary of every group."""
        return {
            f"{prefix}{name}": value
            for prefix, group in self.groups.items()
            for name, value in summarise(group).items()
        }


def run_variant(variant: Variant, setting: Setting, test: Split) -> VariantRuns:
    """Train every seed of the protocol, and again at the variant's best rate if the protocol lists rates."""
    seeds = range(setting.protocol.seeds)
    usual = run_seeds(variant, setting, test, seeds)
    groups, checkpoints = {"": usual}, [run.checkpoint for run in usual]
    if setting.protocol.rates:
        rate, tries = choose_rate(variant, setting)
        own = peak_rate(setting.protocol.run(), setting.protocol.recipe, variant.options)
        fair = usual if rate == own else run_seeds(variant, setting, test, seeds, rate)
        groups["fair_"] = fair
        checkpoints += tries + [run.checkpoint for run in fair]
    return VariantRuns(groups, checkpoints)


def run_seeds(
    variant: Variant, setting: Setting, test: Split, seeds: Sequence[int], rate: float | None = None
) -> list[SeedRun]:
    """Train seeds, at `rate` or the protocol's own, and measure them on the test pictures.

    A GPU trains them together, anything else in turn. A run that was finished before is taken from its checkpoint,
    until that is removed.
    """
    groups = [seeds] if graph.serves(setting.device) else [[seed] for seed in seeds]
    validate = setting.protocol.validates or None
    return [
        _measured(trained, setting, test)
        for group in groups
        for trained in _train(variant, setting, group, rate, validate)
    ]


@room_for("the network and the pictures that it is measured on")
def _measured(trained: Trained[Classifier], setting: Setting, test: Split) -> SeedRun:
    figures = {name: value for name, value in trained.metrics().items() if name.startswith(("train_", "validation_"))}
    loss, hits = measure_split(trained.module, test, setting.device)
    figures |= {"test_loss": loss, "test_accuracy": float(hits.mean())}
    seen = _some_it_trained_on(trained, setting)
    figures["gap"] = float(measure_split(trained.module, seen, setting.device)[1].mean() - hits.mean())
    figures |= dead_rectifiers(trained.module, seen.images, setting.device)
    used, progress = trained.module.meta["settings"]["learning_rate"], trained.progress
    return SeedRun(trained.meta["seed"], used, progress.rows, figures, hits, trained.checkpoint, progress.timing())


def _some_it_trained_on(trained: Trained[Classifier], setting: Setting) -> Split:
    """5,000 of the pictures that trained it, drawn, as own pictures lie class by class; all where there are fewer."""
    labels, meta = setting.train.labels, trained.meta
    held_out = meta["validation_share"] if trained.n_validation else None
    index = trained_on(labels, held_out, meta["seed"])
    generator = np.random.Generator(np.random.PCG64(0))
    some = index[np.sort(choose(generator, len(index), SAMPLE))]
    return Split(setting.train.images[some], labels[some])


def choose_rate(variant: Variant, setting: Setting) -> tuple[float, list[Checkpoint]]:
    """The rate with the best validation accuracy at seed 0, among the protocol's; the test set is not an argument."""
    tries = [(_train(variant, setting, [0], rate, validate=True)[0], rate) for rate in setting.protocol.rates]
    best = max(tries, key=lambda tried: tried[0].validation["accuracy"])
    return best[1], [trained.checkpoint for trained, _ in tries]


def summarise(runs: list[SeedRun]) -> dict[str, Any]:
    """Mean, spread and n of every figure over the seeds, and the test accuracy of each seed."""
    names = set.intersection(*(set(run.figures) for run in runs))
    figures: dict[str, Any] = {"n": len(runs), "learning_rate": runs[0].rate, "n_test": len(runs[0].hits)}
    for name in sorted(names):
        figures |= mean_and_spread(name, [run.figures[name] for run in runs])
    return figures | {f"test_accuracy_seed_{run.seed}": run.figures["test_accuracy"] for run in runs}


def _train(
    variant: Variant, setting: Setting, seeds: Sequence[int], rate: float | None, validate: bool | None
) -> list[Trained[Classifier]]:
    protocol = setting.protocol
    run = protocol.run(learning_rate=rate) if rate else protocol.run()
    kind = f"-rate-{rate:g}" if rate else ""
    return train_seeds(
        variant.network, variant.options, setting.info, setting.train, run,
        recipe=protocol.recipe, names={seed: f"{variant.name}{kind}-seed-{seed}" for seed in seeds},
        held_out=setting.held_out, device=setting.device, precision=setting.precision, validate=validate,
    )  # fmt: skip
