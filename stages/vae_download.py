"""Store the VAE's data set in data/vae/, copied from the classifiers' or fetched."""

import sys
from dataclasses import replace

from cnnlab.core import artifacts, datasets, params
from cnnlab.core.errors import run_command
from cnnlab.vae.datasets import obtain

FOLDER = "vae"  # for every data set, since dvc.yaml must name the folder


def main() -> None:
    """Write data/vae/."""
    fetched = obtain(params.load())
    datasets.save_dataset(replace(fetched.info, name=FOLDER), fetched.train, fetched.test)
    channels, height, width = fetched.info.shape
    for note in fetched.notes:
        print(f"Note: {note}", file=sys.stderr)
    print(
        f"{artifacts.dataset_dir(FOLDER)}: {fetched.info.name}, {len(fetched.train.labels):,} training and "
        f"{len(fetched.test.labels):,} test pictures of {channels}×{height}×{width}, from {fetched.origin}; "
        "`dvc repro` continues from here."
    )


if __name__ == "__main__":
    run_command(main)
