"""The study's records: study/RUN/seed-N.json, one for each run and seed, in Git. No torch."""

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.core import artifacts
from cnnlab.core.errors import UserError
from cnnlab.study.plan import Planned

Record = dict[str, Any]
USUAL_MAP = "tsne 30 500"
# Maps of an inner layer by t-SNE in a record: perplexity, and iterations after the early exaggeration.
TSNE_MAPS = {
    f"tsne {perplexity} {iterations}": (perplexity, iterations)
    for perplexity, iterations in ((30, 500), (5, 500), (100, 500), (30, 250), (30, 1000), (30, 2000), (100, 2000))
}
TAIL = 5  # epochs whose mean stands beside the last: a constant rate makes single epochs jump


def record_path(run: str, seed: int) -> Path:
    """Where the record of one seed is."""
    return artifacts.study_dir() / run / f"seed-{seed}.json"


def write(record: Mapping[str, Any]) -> Path:
    """Write a record whole or not at all: its curve in one line for each figure."""
    path = record_path(record["run"], record["seed"])
    curve = ",\n".join(f"    {json.dumps(name)}: {json.dumps(values)}" for name, values in record["curve"].items())
    rest = {name: value for name, value in sorted(record.items()) if name != "curve"}
    lines = [f"  {json.dumps(name)}: {json.dumps(value, sort_keys=True)}" for name, value in rest.items()]
    artifacts.write_text(path, "{\n" + ",\n".join([*lines, f'  "curve": {{\n{curve}\n  }}']) + "\n}\n")
    return path


def read(runs: Mapping[str, Planned]) -> dict[str, dict[int, Record]]:
    """Every record of the study by run and seed.

    UserError for a record whose settings are not those that params.yaml declares: such records are never averaged.
    """
    return {name: found for name, run in runs.items() if (found := read_run(run))}


def read_valid(runs: Mapping[str, Planned]) -> tuple[dict[str, dict[int, Record]], list[str]]:
    """The records of the runs that can be read, and for each other run the sentence that says why not."""
    found, refused = {}, []
    for name, run in runs.items():
        try:
            found[name] = read_run(run)
        except UserError as error:
            refused.append(str(error))
    return {name: seeds for name, seeds in found.items() if seeds}, refused


def read_run(run: Planned) -> dict[int, Record]:
    """The records of one run by seed; UserError where one is not of the run as declared."""
    found = {}
    for path in sorted((artifacts.study_dir() / run.name).glob("seed-*.json")):
        record = artifacts.read_json(path)
        _check(record, run, path)
        found[record["seed"]] = record
    return dict(sorted(found.items()))


def _check(record: Record, run: Planned, path: Path) -> None:
    number = re.fullmatch(r"seed-(\d+)", path.stem)
    if not number or record.get("seed") != int(number[1]) or record.get("run") != run.name:
        raise UserError(f"{path} is the record of another run or seed: take it from Git again, or remove it.")
    recorded = record.get("settings", {})
    for name in sorted({*run.settings, *recorded}):
        was, declared = recorded.get(name), run.settings.get(name)
        if was != declared:
            raise UserError(
                f"{path} was made with {name} {was}, but params.yaml declares {declared}: restore the declaration, or "
                "remove the record and run `cnnlab study` again."
            )


def pack(hits: np.ndarray) -> str:
    """Which test pictures are right, bool [n], as text."""
    return base64.b64encode(np.packbits(hits).tobytes()).decode()


def hits(record: Record) -> np.ndarray:
    """Which test pictures are right: bool [n_test]."""
    packed = np.frombuffer(base64.b64decode(record["hits"]), np.uint8)
    return np.unpackbits(packed)[: record["n_test"]].astype(bool)
