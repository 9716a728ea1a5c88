"""The sample of Fashion-MNIST that ships with cnnlab: real, stratified, under 1 MB.

The pictures are under the MIT licence, Copyright © 2017 Zalando SE. Those for training are from the real
training set, those for testing from the real test set. Run as `python -m cnnlab.data.sample` this builds the
file again from the whole data set.
"""

import io
import sys
from pathlib import Path

import numpy as np

from cnnlab.core import artifacts
from cnnlab.core.datasets import Split
from cnnlab.core.errors import UserError
from cnnlab.core.split import choose

PATH = Path(__file__).with_name("fashion_mnist_sample.npz")
PER_CLASS = {"train": 150, "test": 60}
SEED = 0


def load_sample() -> tuple[Split, Split]:
    """The sample's training and test pictures, uint8 [n, 1, 28, 28], in the order of the whole set."""
    try:
        with PATH.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            train, test = (
                Split(arrays[f"{part}_images"][:, None], arrays[f"{part}_labels"].astype(np.int64))
                for part in PER_CLASS
            )
    except Exception as error:  # a damaged zip raises a dozen kinds
        fault = f"is damaged or missing ({type(error).__name__})"
        raise UserError(f"{PATH} {fault}: install cnnlab again.") from None
    return train, test


def build_sample(train: Split, test: Split) -> dict[str, np.ndarray]:
    """Draw the sample from the whole data set: pictures, labels and their indices there, for each part."""
    generator = np.random.Generator(np.random.PCG64(SEED))
    arrays: dict[str, np.ndarray] = {}
    for part, split in (("train", train), ("test", test)):
        members = (np.flatnonzero(split.labels == label) for label in np.unique(split.labels))
        drawn = np.sort(np.concatenate([m[choose(generator, len(m), PER_CLASS[part])] for m in members]))
        arrays[f"{part}_images"] = split.images[drawn, 0]
        arrays[f"{part}_labels"] = split.labels[drawn].astype(np.uint8)
        arrays[f"{part}_indices"] = drawn.astype(np.uint16)
    return arrays


def main() -> None:
    """Write the sample's file."""
    from cnnlab.data.catalogue import FASHION_MNIST
    from cnnlab.data.formats import read_files
    from cnnlab.data.sources import obtain

    arrays = build_sample(*read_files(FASHION_MNIST, obtain(FASHION_MNIST).paths))
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
    artifacts.write_bytes(PATH, file.getvalue())
    print(f"{PATH}: {len(file.getvalue()):,} bytes")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
