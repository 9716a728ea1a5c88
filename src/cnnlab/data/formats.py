"""The formats of published data sets; sources.py verifies the checksums first, so the readers can be plain."""

import gzip
import pickle
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cnnlab.core.datasets import Split
from cnnlab.core.errors import UserError
from cnnlab.data.catalogue import DataSet

CIFAR_TRAIN = tuple(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6))
CIFAR_TEST = ("cifar-10-batches-py/test_batch",)
UNSIGNED_BYTE = 0x08  # IDX's code of the only element type that these data sets use


def read_files(entry: DataSet, paths: Mapping[str, Path]) -> tuple[Split, Split]:
    """Read the files of a published data set, given by their published names: the training and the test part.

    Raises UserError where they are of another format, shape or number of classes than the catalogue says.
    """
    files = [paths[file.name] for file in entry.files]
    if entry.format == "cifar":
        train, test = read_cifar(files[0])
    else:
        train, test = (
            Split(read_idx(images)[:, None], read_idx(labels).astype(np.int64))
            for images, labels in (files[:2], files[2:])
        )
    for split in (train, test):
        right = split.images.shape == (len(split.labels), *entry.shape)
        if not right or len(np.unique(split.labels)) != len(entry.class_names):
            raise UserError(f"{files[0].parent} does not hold {entry.name}: another shape or other classes.")
    return train, test


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, plain or as .gz (LeCun et al., 1998).

    Two zeros, the type, the number of dimensions, then each size as four bytes, then the data; all big-endian.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if data[:3] != bytes([0, 0, UNSIGNED_BYTE]):
            raise ValueError("no file of bytes")
        shape = np.frombuffer(data, ">u4", data[3], offset=4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
    except (OSError, EOFError, zlib.error, ValueError, IndexError) as error:
        raise UserError(f"{path} is not IDX of unsigned bytes: {error}.") from None


def read_cifar(path: Path) -> tuple[Split, Split]:
    """Read CIFAR-10 (Krizhevsky, 2009): six pickles of `data`, uint8 [n, 3 × 32 × 32], and `labels`, in one archive."""
    try:
        with tarfile.open(path) as archive:
            train, test = (
                [pickle.load(archive.extractfile(name), encoding="bytes") for name in names]  # type: ignore[arg-type]
                for names in (CIFAR_TRAIN, CIFAR_TEST)
            )
    except (OSError, EOFError, zlib.error, tarfile.TarError, KeyError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} is not the archive of CIFAR-10: {error}.") from None
    return _joined(train), _joined(test)


def _joined(batches: list[dict[bytes, np.ndarray]]) -> Split:
    images = np.concatenate([batch[b"data"] for batch in batches]).reshape(-1, 3, 32, 32)
    return Split(images, np.concatenate([batch[b"labels"] for batch in batches]).astype(np.int64))
