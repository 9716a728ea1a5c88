"""The entrance to this package: a data set by its name, as arrays."""

from dataclasses import dataclass
from typing import Literal

from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.schema import OWN_PICTURES, Folder
from cnnlab.data.catalogue import DATA_SETS, FASHION_MNIST, DataSet, check_name
from cnnlab.data.folder import read_folder
from cnnlab.data.formats import read_files
from cnnlab.data.sample import load_sample
from cnnlab.data.sources import obtain


@dataclass(frozen=True)
class Fetched:
    """A data set, where its files were found, and notes for the user."""

    info: DatasetInfo
    train: Split
    test: Split
    origin: str
    notes: tuple[str, ...] = ()


def fetch(dataset: str, folder: Folder, *, budget: Literal["smoke", "quick", "full"], seed: int) -> Fetched:
    """Get a data set: pictures uint8 [n, channels, height, width], labels int64 [n], for training and test.

    At the budget smoke, fashion_mnist is the sample that ships: nothing is downloaded. Only the data set `folder` uses
    `folder` and `seed`. Raises UserError for an unknown name, with what was tried when the data cannot be found or
    downloaded, and for a wrong folder.
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


def _info(entry: DataSet, sample: str = "") -> DatasetInfo:
    # Nothing here says where the files came from: the same data must give the same bytes on every machine.
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
