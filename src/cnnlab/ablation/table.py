"""One table of all variants and their baselines, with Holm's correction. No torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnlab.ablation.statistics import holm, mcnemar, paired_difference
from cnnlab.core.errors import UserError

Row = dict[str, Any]
GROUPS = {"": "usual", "fair_": "own best"}  # key prefix of a group of runs: its learning rate


def table(results: Mapping[str, Mapping[str, Any]], hits: Mapping[str, np.ndarray], budget: str) -> list[Row]:
    """A row for each baseline and variant and each kind of rate.

    results: the flat metrics of each name; hits: which test pictures it has right, bool [groups, seeds, n_test].
    Differences are paired by seed, McNemar's test is of the first seed's networks, and p_holm is adjusted over the
    variants of one baseline at one kind of rate. Below three seeds there is a difference, but no interval and no p:
    those cells are empty. UserError where results are of another budget than `budget`.
    """
    strangers = [name for name, figures in results.items() if figures["budget"] != budget]
    if strangers:
        raise UserError(
            f"the ablations {', '.join(strangers)} are not of budget {budget}: "
            "run `dvc repro compare` to bring all of them to the same one."
        )
    rows = []
    for group, (prefix, rate) in enumerate(GROUPS.items()):
        measured = {name: figures for name, figures in results.items() if f"{prefix}n" in figures}
        for name, figures in measured.items():
            baseline = figures["baseline"]
            against = {}
            if name != baseline:
                difference = paired_difference(_seeds(figures, prefix), _seeds(measured[baseline], prefix))
                tested = mcnemar(hits[name][group, 0], hits[baseline][group, 0])
                against = {"difference": difference["mean"], **difference, "mcnemar_p": tested["p"]}
            rows.append(_row(name, figures, prefix, rate, against))
    for rate in GROUPS.values():
        for baseline in {row["baseline"] for row in rows}:
            group = [row for row in rows if row["baseline"] == baseline and row["rate"] == rate and row["change"]]
            adjusted = holm({row["name"]: row["p"] for row in group if row["p"] != ""})
            for row in group:
                row["p_holm"] = adjusted.get(row["name"], "")
    return rows


def _seeds(figures: Mapping[str, Any], prefix: str) -> list[float]:
    """The test accuracy of each seed, in the order of the seeds."""
    return [figures[f"{prefix}test_accuracy_seed_{seed}"] for seed in range(figures[f"{prefix}n"])]


def _row(name: str, figures: Mapping[str, Any], prefix: str, rate: str, against: Mapping[str, float]) -> Row:
    def figure(key: str) -> Any:
        return figures.get(f"{prefix}{key}", "")

    return {
        "name": name,
        "baseline": figures["baseline"],
        "change": figures["change"],
        "rate": rate,
        "learning_rate": figure("learning_rate"),
        "n": figure("n"),
        "test_accuracy": figure("test_accuracy_mean"),
        "std": figure("test_accuracy_std"),
        "train_accuracy": figure("train_accuracy_mean"),
        "gap": figure("gap_mean"),
        "dead_relus": figure("dead_relus_mean"),
        **{key: against.get(key, "") for key in ("difference", "low", "high", "p")},
        "p_holm": "",
        "mcnemar_p": against.get("mcnemar_p", ""),
    }
