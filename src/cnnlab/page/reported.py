"""What the reports and others measured, with the study's runs of the same recipe."""

import csv
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any

Record = Mapping[str, Any]
Runs = Mapping[str, Mapping[int, Record]]  # by run and seed
FIGURES = ("train_loss", "train_accuracy", "test_accuracy", "examples_per_second", "seconds")


def reported() -> list[dict[str, str]]:
    """The rows of reported.csv: one for each figure that a source gives.

    run and modern name our runs, of the same recipe and of the modern one. value is empty where a source's figure is
    not legible; high is the upper end where it gives two.
    """
    text = files("cnnlab.page").joinpath("reported.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def join(rows: Sequence[Mapping[str, str]], records: Runs) -> list[dict[str, Any]]:
    """One entry for each source, title and length: its figures as printed, and mean, spread and n of ours over seeds.

    An entry's `ours` (the same recipe) and `modern` are {} where that run was not made, None where there is none to
    make.
    """
    entries = []
    for _, group in groupby(rows, key=lambda row: (row["source"], row["title"], row["epochs"])):
        same = list(group)
        first = same[0]
        theirs = {row["figure"]: [value for value in (row["value"], row["high"]) if value] for row in same}
        ours, modern = (_summary(records.get(first[kind], {})) if first[kind] else None for kind in ("run", "modern"))
        entries.append(
            {name: first[name] for name in ("source", "title", "note")}
            | {"epochs": float(first["epochs"]) if first["epochs"] else None}
            | {"reported": theirs, "ours": ours, "modern": modern}
        )
    return entries


def _summary(seeds: Mapping[int, Record]) -> dict[str, Any]:
    """Mean and sample standard deviation (None for a single run) of each figure, n, the machines and their load."""
    if not seeds:
        return {}
    records = list(seeds.values())
    summary: dict[str, Any] = {"run": records[0]["run"], "n": len(records), "epochs": records[0]["epochs"]}
    summary["devices"] = sorted({record["device"] for record in records})
    summary |= {figure: _mean(record[figure] for record in records) for figure in FIGURES}
    if all("load" in record for record in records):
        summary["load"] = _mean(record["load"] for record in records)
    return summary


def _mean(values: Iterable[float]) -> list[float | None]:
    found = list(values)
    return [statistics.mean(found), statistics.stdev(found) if len(found) > 1 else None]
