"""The ablation's table for the page: rows as numbers, with the accuracy of each seed."""

from typing import Any

from cnnlab.ablation.table import GROUPS
from cnnlab.core.params import Params
from cnnlab.page.sources import Ablation, Figures, Row

TEXT = ("name", "baseline", "change", "rate")
PREFIX = {rate: prefix for prefix, rate in GROUPS.items()}


def ablation(found: Ablation, settings: Params) -> list[dict[str, Any]]:
    """A group for each baseline: its protocol and its rows."""
    groups = []
    for baseline in settings.baselines:
        run = [row for row in found.rows if row["baseline"] == baseline and row["name"] in found.metrics]
        rows = [_row(row, found.metrics[row["name"]]) for row in run]
        if rows:
            stated = found.metrics[rows[0]["name"]]
            protocol = {key: stated[key] for key in ("recipe", "epochs", "budget", "n_test")}
            groups.append({"baseline": baseline, **protocol, "rows": rows})
    return groups


def _row(row: Row, figures: Figures) -> dict[str, Any]:
    """One row: numbers as numbers, None where there is none, and the test accuracy of each seed."""
    typed: dict[str, Any] = {key: row[key] for key in TEXT}
    typed |= {key: float(value) if value else None for key, value in row.items() if key not in TEXT}
    start = f"{PREFIX[row['rate']]}test_accuracy_seed_"
    return typed | {"seeds": [value for key, value in figures.items() if key.startswith(start)]}
