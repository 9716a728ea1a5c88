"""The way in: a data set by its name, as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.errors import UserError
from cnnlab.core.params import OWN_PICTURES, Folder
from cnnlab.data.catalogue import DATA_SETS, FASHION_MNIST, DataSet, check_name
from cnnlab.data.cifar import read_cifar
from cnnlab.data.folder import read_folder
from cnnlab.data.idx import read_idx
from cnnlab.data.sample import load_sample
from cnnlab.data.sources import obtain


@dataclass(frozen=True)
class Fetched:
    """A data set, where its files were found, and what the user should know."""

    info: DatasetInfo
    train: Split
    test: Split
    origin: str
    notes: tuple[str, ...] = ()


def fetch(dataset: str, folder: Folder, *, budget: Literal["smoke", "quick", "full"], seed: int) -> Fetched:
    """Get a data set: pictures uint8 [n, channels, height, width], labels int64 [n], for training and test.

    At the budget smoke fashion_mnist is the sample that ships, without download. `folder` and `seed` serve
    the data set `folder` alone. Raises UserError with what was tried when the data cannot be had, and for a
    wrong folder.
    """
    check_name(dataset)
    if dataset == OWN_PICTURES:
        return _fetch_folder(folder, seed)
    entry = DATA_SETS[dataset]
    if budget == "smoke" and dataset == FASHION_MNIST.name:
        train, test = load_sample()
        info = _info(entry, ", the sample that ships with cnnlab")
        return Fetched(info, train, test, "the sample that ships (budget smoke: nothing is downloaded)")
    search = obtain(entry)
    train, test = read_files(entry, search.paths)
    return Fetched(_info(entry), train, test, ", ".join(search.origins), tuple(search.wrong))


def read_files(entry: DataSet, paths: Mapping[str, Path]) -> tuple[Split, Split]:
    """Read the files of a published data set, given by their published names."""
    files = [paths[file.name] for file in entry.files]
    if entry.format == "cifar":
        train, test = read_cifar(files[0])
    else:
        train, test = _read_idx_pair(files[0], files[1]), _read_idx_pair(files[2], files[3])
    for split in (train, test):
        if split.images.shape[1:] != entry.shape or len(np.unique(split.labels)) != len(entry.class_names):
            raise UserError(f"{files[0].parent} does not hold {entry.name}: another shape or other classes.")
    return train, test


def _read_idx_pair(images: Path, labels: Path) -> Split:
    """Pictures and labels from two IDX files."""
    split = Split(read_idx(images, 3)[:, None], read_idx(labels, 1).astype(np.int64))
    if len(split.images) != len(split.labels):
        counts = f"{len(split.images)} pictures but {len(split.labels)} labels"
        raise UserError(f"{images} and {labels.name} hold {counts}.")
    return split


def _info(entry: DataSet, sample: str = "") -> DatasetInfo:
    # How the files came is not told here: the same data must give the same bytes on every machine.
    return DatasetInfo(
        *(entry.name, entry.class_names, *entry.shape, entry.licence, entry.source + sample, entry.light_on_dark),
        title=entry.title,
    )


def _fetch_folder(folder: Folder, seed: int) -> Fetched:
    pictures = read_folder(folder.path, folder.side, folder.mode, seed)
    channels, height, width = pictures.train.images.shape[1:]
    info = DatasetInfo(
        OWN_PICTURES,
        pictures.class_names,
        channels,
        height,
        width,
        "the user's own",
        folder.path,
        light_on_dark=False,
        title="a folder of pictures",
    )
    return Fetched(info, pictures.train, pictures.test, folder.path, pictures.notes)
