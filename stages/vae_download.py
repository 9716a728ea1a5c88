"""Get the VAE's data set, at data/vae/: the classifiers' own, copied, or another, fetched."""

from dataclasses import replace

from cnnlab.core import artifacts, datasets, params
from cnnlab.core.errors import run_command
from cnnlab.vae.datasets import obtain

FOLDER = "vae"  # whatever the data set: DVC's stages name their files beforehand


def main() -> None:
    """Write data/vae/."""
    fetched = obtain(params.load())
    datasets.save_dataset(replace(fetched.info, name=FOLDER), fetched.train, fetched.test)
    channels, height, width = fetched.info.shape
    for note in fetched.notes:
        print(f"note: {note}")
    print(
        f"{artifacts.dataset_dir(FOLDER)}: {fetched.info.name}, {len(fetched.train.labels):,} training and "
        f"{len(fetched.test.labels):,} test pictures of {channels}×{height}×{width}, from {fetched.origin}; "
        "`dvc repro` goes on from here."
    )


if __name__ == "__main__":
    run_command(main)
