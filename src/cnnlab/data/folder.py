"""The user's own pictures: one folder a class, or train/ and test/ with one folder a class each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from cnnlab.core.datasets import Split
from cnnlab.core.errors import UserError
from cnnlab.core.split import stratified_split
from cnnlab.data.pictures import PictureError, printable, read_picture, to_pixels

TEST_SHARE = 0.15  # of each class, where the user brings no test/
NAMED = 10  # unreadable pictures that an error names
LITTER = ("thumbs.db", "desktop.ini", "__macosx")  # what systems leave in folders

Mode = Literal["grey", "rgb"]
Classes = Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class FolderPictures:
    """A folder's pictures, its class names in order of label, and what the user should know."""

    class_names: tuple[str, ...]
    train: Split
    test: Split
    notes: tuple[str, ...]


def read_folder(path: str | Path, size: int, mode: Mode, seed: int) -> FolderPictures:
    """Read a folder of pictures, each as uint8 [channels, size, size]; see pictures.to_pixels.

    Without train/ and test/ 15 % of each class, drawn with `seed`, become the test set. Classes and files are
    taken in the order of their names; hidden files are ignored. Raises UserError for a folder that is missing
    or laid out otherwise, fewer than two classes, an empty class, a class in train/ or test/ only, one with
    too few pictures, and for pictures that cannot be read, naming them.
    """
    root = Path(path)
    try:
        parts, notes = _list(root)
    except OSError as error:
        name = printable(str(error.filename or root))
        raise UserError(f"{name} cannot be read: {error.strerror or error}.") from None
    names = tuple(parts["train"])
    read = _read({part: list(classes.values()) for part, classes in parts.items()}, root, size, mode, notes)
    if "test" in read:
        return FolderPictures(names, read["train"], read["test"], tuple(notes))
    rest, drawn = stratified_split(read["train"].labels, TEST_SHARE, seed)
    images, labels = read["train"].images, read["train"].labels
    train, test = Split(images[rest], labels[rest]), Split(images[drawn], labels[drawn])
    return FolderPictures(names, train, test, tuple(notes))


def _list(root: Path) -> tuple[dict[str, Classes], list[str]]:
    """The files of each class, checked for number: under train and test, or all under train."""
    if not root.is_dir():
        raise UserError(f"{printable(str(root))} is not a folder: params.yaml names it under folder.path.")
    folders = {entry.name: entry for entry in _visible(root) if entry.is_dir()}
    stray = [entry.name for entry in _visible(root) if not entry.is_dir() and entry.name != "README.md"]
    notes = [f"ignored beside the class folders: {_some(stray)}"] if stray else []
    halves = [name for name in ("train", "test") if name in folders and _has_folders(folders[name])]
    if not halves:
        parts = {"train": _classes(root, folders, least=3)}
    elif set(folders) != {"train", "test"} or len(halves) < 2:
        raise UserError(
            f"{root} holds {_some(list(folders))}: either train/ and test/ and nothing else, each with one "
            "folder a class, or one folder a class with the pictures directly in it."
        )
    else:
        least = {"train": 2, "test": 1}  # training holds out one of each class for validation
        parts = {name: _classes(folders[name], _subfolders(folders[name]), least[name]) for name in least}
        for here, there in (("train", "test"), ("test", "train")):
            lacking = [name for name in parts[here] if name not in parts[there]]
            if lacking:
                raise UserError(f"{root}: {_some(lacking)} is in {here}/ but not in {there}/.")
    return parts, notes


def _classes(root: Path, folders: Mapping[str, Path], least: int) -> Classes:
    """The files of each class folder; UserError for too few classes or pictures."""
    if not folders:
        raise UserError(f"{root} holds no class folders: put the pictures of each class in a folder of its own.")
    if len(folders) == 1:
        raise UserError(f"{root} holds one class only ({_some(list(folders))}): two or more are needed.")
    classes = {}
    for name, folder in folders.items():
        if printable(name) != name:
            raise UserError(f"{printable(str(folder))}: a class name must be printable text.")
        files = list(_visible(folder))
        inner = [entry.name for entry in files if entry.is_dir()]
        if inner:
            raise UserError(f"{folder} holds a folder ({_some(inner)}): pictures lie directly in the class's folder.")
        if len(files) < least:
            count = f"has {len(files)} picture{'s' if len(files) > 1 else ''}" if files else "is empty"
            raise UserError(f"{folder} {count}: each class needs {least} or more there.")
        classes[name] = files
    return classes


def _read(
    parts: Mapping[str, Sequence[Sequence[Path]]], root: Path, size: int, mode: Mode, notes: list[str]
) -> dict[str, Split]:
    """Decode every picture; UserError names those that cannot be read."""
    bad: list[PictureError] = []
    transparent = 0
    read: dict[str, Split] = {}
    total = sum(len(files) for classes in parts.values() for files in classes)
    with tqdm(total=total, desc="pictures", unit="picture", mininterval=0.5) as bar:
        for part, classes in parts.items():
            labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(files) for files in classes])
            images = _space(len(labels), 1 if mode == "grey" else 3, size)
            for index, path in enumerate(path for files in classes for path in files):
                bar.update()
                try:
                    picture = read_picture(path)
                    images[index] = to_pixels(picture, size, mode)
                    transparent += picture.info["transparent"]
                except PictureError as error:
                    bad.append(error)
            read[part] = Split(images, labels)
    if bad:
        raise UserError(_unreadable(bad, root))
    if transparent:
        notes.append(f"{transparent} transparent picture{'s' if transparent > 1 else ''} laid on white")
    return read


def _space(count: int, channels: int, size: int) -> np.ndarray:
    try:
        return np.empty((count, channels, size, size), np.uint8)
    except MemoryError:
        need = count * channels * size**2 / 1e9
        raise UserError(f"{count:,} pictures of {size} pixels need {need:.1f} GB: lower folder.side.") from None


def _unreadable(bad: Sequence[PictureError], root: Path) -> str:
    """All names when they are few, the first ten and the count when they are many."""
    lines = [f"  - {error}" for error in bad[:NAMED]]
    lines += [f"  - and {len(bad) - NAMED} more"] if len(bad) > NAMED else []
    count = "1 picture" if len(bad) == 1 else f"{len(bad)} pictures"
    return "\n".join((f"{root}: {count} cannot be read:", *lines, "Mend or remove them; nothing was written."))


def _visible(folder: Path) -> list[Path]:
    hidden = (".", *LITTER)
    return sorted(entry for entry in folder.iterdir() if not entry.name.lower().startswith(hidden))


def _subfolders(folder: Path) -> dict[str, Path]:
    return {entry.name: entry for entry in _visible(folder) if entry.is_dir()}


def _has_folders(folder: Path) -> bool:
    return bool(_subfolders(folder))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
