"""A data set as arrays: its pictures and labels, its description, and its files on disk."""

import json
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from cnnlab.core.artifacts import dataset_dir, read_array, read_json, write_array, write_text
from cnnlab.core.errors import UserError

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Split:
    """Pictures, uint8 [n, channels, height, width], and their labels, int64 [n]."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set apart from its pictures.

    `title` is its name in a sentence; `light_on_dark` is False for photographs.
    """

    name: str
    class_names: tuple[str, ...]
    channels: int
    height: int
    width: int
    licence: str
    source: str
    light_on_dark: bool
    title: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.height, self.width


def save_dataset(info: DatasetInfo, train: Split, test: Split) -> None:
    """Write a data set: data/NAME/{train,test}/{images,labels}.npy and data/NAME/dataset.json."""
    folder = dataset_dir(info.name)
    for part, split in (("train", train), ("test", test)):
        write_array(folder / part / "images.npy", split.images)
        write_array(folder / part / "labels.npy", split.labels)
    write_text(folder / "dataset.json", json.dumps(asdict(info), indent=2, sort_keys=True) + "\n")


def load_info(dataset: str) -> DatasetInfo:
    """Read data/NAME/dataset.json."""
    path = dataset_dir(dataset) / "dataset.json"
    values = read_json(path)
    try:
        return DatasetInfo(**{**values, "class_names": tuple(values["class_names"])})
    except (KeyError, TypeError):
        raise UserError(f"{path} does not describe a data set: remove it and run `dvc repro`.") from None


def load_split(dataset: str, part: Part) -> Split:
    """Read one part of a data set, mapped into memory."""
    folder = dataset_dir(dataset) / part
    return Split(read_array(folder / "images.npy"), read_array(folder / "labels.npy"))
