"""All variants against their baselines in one table, with Holm's correction for their number. No torch."""

from collections.abc import Mapping
from typing import Any

from cnnlab.ablation.statistics import holm
from cnnlab.errors import UserError

Row = dict[str, Any]
GROUPS = {"": "usual", "fair_": "own best"}  # key prefix of a group of runs: the rate that it was trained at


def table(results: Mapping[str, Mapping[str, Any]], budget: str) -> list[Row]:
    """A row for each baseline and variant and each kind of rate; `results` are the flat metrics of each name.

    p_holm is adjusted over the variants of one baseline at one kind of rate. UserError where results are of
    another budget than `budget`: they may not be mixed.
    """
    strangers = [name for name, figures in results.items() if figures["budget"] != budget]
    if strangers:
        raise UserError(
            f"the ablations {', '.join(strangers)} are not of budget {budget}: "
            "run `dvc repro` to bring all to the same one."
        )
    rows = [
        _row(name, figures, prefix) for prefix in GROUPS for name, figures in results.items() if f"{prefix}n" in figures
    ]
    for rate in GROUPS.values():
        for baseline in {row["baseline"] for row in rows}:
            group = [row for row in rows if row["baseline"] == baseline and row["rate"] == rate and row["change"]]
            adjusted = holm({row["name"]: row["p"] for row in group})
            for row in group:
                row["p_holm"] = adjusted[row["name"]]
    return rows


def _row(name: str, figures: Mapping[str, Any], prefix: str) -> Row:
    def figure(key: str) -> Any:
        return figures.get(f"{prefix}{key}", "")

    return {
        "name": name,
        "baseline": figures["baseline"],
        "change": figures["change"],
        "rate": GROUPS[prefix],
        "learning_rate": figure("learning_rate"),
        "n": figure("n"),
        "test_accuracy": figure("test_accuracy_mean"),
        "std": figure("test_accuracy_std"),
        "train_accuracy": figure("train_accuracy_mean"),
        "gap": figure("gap_mean"),
        "dead_relus": figure("dead_relus_mean"),
        "difference": figure("difference_mean"),
        "low": figure("difference_low"),
        "high": figure("difference_high"),
        "p": figure("difference_p"),
        "p_holm": "",
        "mcnemar_p": figure("mcnemar_p"),
    }
