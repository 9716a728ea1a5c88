"""The ablation's table for the page: rows as numbers, each seed's accuracy beside them, other budgets left out."""

from typing import Any

from cnnlab.core.params import Params
from cnnlab.page import checks
from cnnlab.page.sources import Ablation, Figures, Row

TEXT = ("name", "baseline", "change", "rate")
PREFIX = {"usual": "", "own best": "fair_"}


def ablation(found: Ablation, settings: Params) -> tuple[list[dict[str, Any]], list[str]]:
    """A group for each baseline, its protocol and its rows, and sentences on what is missing or left out."""
    missing = [name for name in settings.ablations if name not in found.metrics]
    strangers = {name: checks.foreign_ablation(figures, settings) for name, figures in found.metrics.items()}
    notes = [f"{name} is left out: its figures are of another run ({why})." for name, why in strangers.items() if why]
    if missing:
        notes.append(f"Not run: {', '.join(missing)} (no file in metrics/study/).")
    if found.metrics and not found.rows:
        notes.append("The comparison is missing: plots/study.csv is not here.")
    groups = []
    for baseline in settings.baselines:
        rows = [
            _row(row, found.metrics[row["name"]])
            for row in found.rows
            if row["baseline"] == baseline and strangers.get(row["name"]) == ""
        ]
        if rows:
            stated = found.metrics[rows[0]["name"]]
            protocol = {key: stated[key] for key in ("recipe", "epochs", "budget", "n_test")}
            groups.append({"baseline": baseline, **protocol, "rows": rows})
    return groups, notes


def _row(row: Row, figures: Figures) -> dict[str, Any]:
    """One row: numbers as numbers, None where there is none, and the test accuracy of each seed."""
    typed: dict[str, Any] = {key: row[key] for key in TEXT}
    typed |= {key: float(value) if value else None for key, value in row.items() if key not in TEXT}
    start = f"{PREFIX[row['rate']]}test_accuracy_seed_"
    return typed | {"seeds": [value for key, value in figures.items() if key.startswith(start)]}
