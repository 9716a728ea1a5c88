"""Fetch, check and store the data set that params.yaml names: `python stages/download.py`."""

import sys

from cnnlab.core import artifacts, datasets, params
from cnnlab.core.errors import run_command
from cnnlab.data.fetch import fetch


def main() -> None:
    """Write data/DATASET/ from the first source that has it."""
    settings = params.load()
    fetched = fetch(settings.dataset, settings.folder, budget=settings.budget, seed=settings.seed)
    datasets.save_dataset(fetched.info, fetched.train, fetched.test)
    for note in fetched.notes:
        print(f"Note: {note}", file=sys.stderr)
    channels, height, width = fetched.info.shape
    print(
        f"{fetched.info.name}: {len(fetched.train.labels):,} training and {len(fetched.test.labels):,} test "
        f"pictures of {channels}x{height}x{width} in {len(fetched.info.class_names)} classes, from "
        f"{fetched.origin} → {artifacts.dataset_dir(fetched.info.name)}; `dvc repro` continues from here."
    )


if __name__ == "__main__":
    run_command(main)
