"""What the reports and others measured, with our runs of the same recipe and length."""

import csv
import statistics
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any

Record = Mapping[str, Any]
FIGURES = ("train_loss", "train_accuracy", "test_accuracy", "examples_per_second", "train_seconds")


def reported() -> list[dict[str, str]]:
    """The rows of reported.csv: one for each figure that a source gives.

    run and modern name our runs, the first one preferred: of the same recipe and epochs, and of the modern recipe.
    value is empty where a source's figure is not legible; high is the upper end where it gives two.
    """
    text = files("cnnlab.page").joinpath("reported.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def join(rows: Sequence[Mapping[str, str]], records: Sequence[Record]) -> list[dict[str, Any]]:
    """One entry for each source, title and length: its figures as printed, and mean, spread and n of ours over seeds.

    An entry's `ours` (the same recipe and epochs) and `modern` are {} where that run was not made, None where there is
    none to make.
    """
    entries = []
    for _, group in groupby(rows, key=lambda row: (row["source"], row["title"], row["epochs"])):
        same = list(group)
        first = same[0]
        epochs = float(first["epochs"]) if first["epochs"] else None
        theirs = {row["figure"]: [value for value in (row["value"], row["high"]) if value] for row in same}
        ours = _summary(_chosen(first["run"], records, epochs)) if first["run"] else None
        modern = _summary(_chosen(first["modern"], records, None)) if first["modern"] else None
        entries.append(
            {name: first[name] for name in ("source", "title", "note")}
            | {"epochs": epochs, "reported": theirs, "ours": ours, "modern": modern}
        )
    return entries


def _chosen(names: str, records: Sequence[Record], epochs: float | None) -> list[Record]:
    """Of the runs named, the one with most seeds; the first of several as good."""
    found = [
        [record for record in records if record["run"] == name and epochs in (None, _epochs(record))]
        for name in names.split()
    ]
    return max(found, key=len, default=[])


def _epochs(record: Record) -> float:
    """How many passes over the data a run made; an ablation's record tells by the length of its curve."""
    return float(record["epochs"]) if "epochs" in record else float(len(record["curve_train_accuracy"]))


def _summary(records: Sequence[Record]) -> dict[str, Any]:
    """Mean, sample standard deviation (None for a single run) and n of each figure that all records have."""
    if not records:
        return {}
    summary: dict[str, Any] = {"run": records[0]["run"], "n": len(records), "epochs": _epochs(records[0])}
    summary["devices"] = sorted({record["device"] for record in records})
    for figure in FIGURES:
        if all(figure in record for record in records):
            values = [record[figure] for record in records]
            summary[figure] = [statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None]
    return summary
