"""How the cost of each stage grows with pictures, pixels and classes: `python benchmarks/growth.py`.

Measures seconds and peak memory. Made-up pictures (a class is a pattern in noise) stand in for data sets of 1,000 to
60,000 pictures, 28 to 64 pixels and 10 to 200 classes, one changed at a time. Each stage runs by its own script, as DVC
runs it, in a folder of its own; its wall clock and its peak resident memory are the process's. LeNet with ReLU and max
pooling, one epoch.
"""

import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import typer

from cnnlab.core import artifacts, datasets, schema
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.errors import run_command

ROOT = Path(__file__).parent.parent
BASE = {"pictures": 10_000, "side": 28, "classes": 10}
GROWN: dict[str, list[int]] = {
    "pictures": [1_000, 10_000, 60_000],
    "side": [28, 48, 64],
    "classes": [10, 50, 200],
}
STAGES = {
    "train": ["train.py", "lenet", "--act", "relu", "--pool", "max"],
    "export": ["export.py", "lenet"],
    "evaluate": ["evaluate.py", "lenet"],
    "embed": ["embed.py", "lenet"],
}


def main(
    stages: str = typer.Option(",".join(STAGES), help="which, separated by commas"),
    output: Path = typer.Option(Path("benchmarks/results/growth.json"), help="where the figures go"),
) -> None:
    """Run every stage on every data set and print seconds and peak megabytes."""
    table: list[dict[str, Any]] = []
    seen = set()
    for axis, values in GROWN.items():
        for value in values:
            size = BASE | {axis: value}
            if tuple(size.values()) in seen:
                continue
            seen.add(tuple(size.values()))
            with tempfile.TemporaryDirectory() as folder:
                # in a process of its own, since a forked child's peak includes its parent's memory
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                    pool.submit(_prepare, Path(folder), **size).result()
                for stage in STAGES:
                    seconds, megabytes = _cost(Path(folder), STAGES[stage])
                    if stage in stages.split(","):
                        table.append({**size, "stage": stage, "seconds": seconds, "peak_megabytes": megabytes})
                        print(table[-1], flush=True)
            artifacts.write_text(output, json.dumps(table, indent=1) + "\n")


def _prepare(folder: Path, pictures: int, side: int, classes: int) -> None:
    """A data set and the settings of one run in `folder`: a sixth as many pictures to test, at most 1,000 embedded."""
    generator = np.random.default_rng(0)
    patterns = generator.integers(0, 256, (classes, 1, side, side))
    names = tuple(f"class {index}" for index in range(classes))
    parts = []
    for count in (pictures, max(pictures // 6, 10 * classes)):
        labels = np.arange(count) % classes
        noise = generator.integers(0, 256, (count, 1, side, side))
        parts.append(Split(((patterns[labels] + noise) // 2).astype(np.uint8), labels.astype(np.int64)))
    info = DatasetInfo("fashion_mnist", names, 1, side, side, "none", "made up", light_on_dark=True)
    here = Path.cwd()
    os.chdir(folder)
    try:
        datasets.save_dataset(info, *parts)
    finally:
        os.chdir(here)
    text = (ROOT / "params.yaml").read_text()
    once = schema.steps_in_pass(pictures - pictures // 10, 128)
    text, found = re.subn(r"quick: \{steps: \d+,", f"quick: {{steps: {once},", text, count=1)
    assert found, "LeNet's steps at budget quick are not where they were in params.yaml"
    (folder / "params.yaml").write_text(text)


def _cost(folder: Path, words: list[str]) -> tuple[float, float]:
    """Wall-clock seconds and peak resident megabytes of a stage's process."""
    begun = time.perf_counter()
    command = [sys.executable, str(ROOT / "stages" / words[0]), *words[1:]]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    message = process.stderr.read().decode() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(message)
    return round(time.perf_counter() - begun, 2), round(usage.ru_maxrss / 1024, 1)


if __name__ == "__main__":
    run_command(main)
