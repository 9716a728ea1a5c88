"""The table of data sets: to add one, add one entry to DATA_SETS."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from cnnlab.core.errors import UserError
from cnnlab.core.params import Params
from cnnlab.core.schema import OWN_PICTURES

FACES = "lfw"  # the value of `vae.dataset` for Labeled Faces in the Wild: it has no classes, so only the VAE takes it


@dataclass(frozen=True)
class DataFile:
    """A published file: its name and the MD5 of it as published.

    `content_sha256` is the SHA-256 of what is in a .gz file, where that is known: a file that was packed again, such as
    Debian's, or unpacked, is then right as well.
    """

    name: str
    md5: str
    content_sha256: str = ""


@dataclass(frozen=True)
class DataSet:
    """A published data set.

    `name` is what params.yaml calls it, `title` what sentences call it. `torchvision` names the class of
    torchvision.datasets that knows its addresses; "" where there is none.
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]  # channels, height, width
    format: Literal["idx", "cifar"]
    files: tuple[DataFile, ...]  # idx: training pictures and labels, then test pictures and labels
    torchvision: str
    licence: str
    source: str
    light_on_dark: bool
    debian_package: str = ""
    debian_folder: str = ""


def _idx_files(md5: Sequence[str], content_sha256: Sequence[str] = ("",) * 4) -> tuple[DataFile, ...]:
    stems = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(DataFile(f"{stem}-ubyte.gz", *sums) for stem, *sums in zip(stems, md5, content_sha256, strict=True))


FASHION_MNIST = DataSet(
    name="fashion_mnist",
    title="Fashion-MNIST",
    class_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    shape=(1, 28, 28),
    format="idx",
    files=_idx_files(
        (
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    torchvision="FashionMNIST",
    licence="MIT, Copyright © 2017 Zalando SE",
    source="https://github.com/zalandoresearch/fashion-mnist",
    light_on_dark=True,
    debian_package="dataset-fashion-mnist",
    debian_folder="usr/share/datasets/fashion-mnist",
)

MNIST = DataSet(
    name="mnist",
    title="MNIST",
    class_names=tuple("0123456789"),
    shape=(1, 28, 28),
    format="idx",
    files=_idx_files(
        (
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    ),
    torchvision="MNIST",
    licence="CC BY-SA 3.0, Yann LeCun and Corinna Cortes",
    source="http://yann.lecun.com/exdb/mnist/",
    light_on_dark=True,
)

KMNIST = DataSet(
    name="kmnist",
    title="Kuzushiji-MNIST",
    class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    shape=(1, 28, 28),
    format="idx",
    files=_idx_files(
        (
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
    ),
    torchvision="KMNIST",
    licence="CC BY-SA 4.0, ROIS-DS Center for Open Data in the Humanities",
    source="https://github.com/rois-codh/kmnist",
    light_on_dark=True,
)

CIFAR10 = DataSet(
    name="cifar10",
    title="CIFAR-10",
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    shape=(3, 32, 32),
    format="cifar",
    files=(DataFile("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
    torchvision="CIFAR10",
    licence="none stated; Alex Krizhevsky, Vinod Nair and Geoffrey Hinton",
    source="https://www.cs.toronto.edu/~kriz/cifar.html",
    light_on_dark=False,
)

DATA_SETS = {entry.name: entry for entry in (FASHION_MNIST, MNIST, KMNIST, CIFAR10)}


def names() -> tuple[str, ...]:
    """What `dataset` in params.yaml may be."""
    return (*DATA_SETS, OWN_PICTURES)


def check_name(name: str, known: Sequence[str] | None = None, key: str = "dataset") -> None:
    """Raise UserError for a data set that is not among `known`: those that classifiers can be trained on, by default.

    `key` is the key of params.yaml that the error names.
    """
    known = known or names()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UserError(f"params.yaml: {key} {name!r} is not a known data set.{hint} Known are {', '.join(known)}.")


def check_settings(settings: Params) -> None:
    """Raise UserError where params.yaml names a data set that there is not: the classifiers', VAE's or study's."""
    check_name(settings.dataset)
    check_vae_dataset(settings)
    check_name(settings.study.dataset, key="study.dataset")


def check_vae_dataset(settings: Params) -> None:
    """Raise UserError where the VAE's data set is one that there is not."""
    check_name(settings.vae.dataset, ("same", *names(), FACES), "vae.dataset")
