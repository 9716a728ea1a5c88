"""The user's own pictures: one folder a class, or train/ and test/ with one folder a class each."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from cnnlab.core.datasets import Split
from cnnlab.core.errors import UserError
from cnnlab.core.schema import OWN_TEST_SHARE
from cnnlab.core.split import stratified_split
from cnnlab.core.text import is_plain, printable
from cnnlab.data.files import visible
from cnnlab.data.pictures import PictureError, read_picture, to_pixels

HALVES = ("train", "test")
LEAST = {"": 3, "train": 2, "test": 1}  # pictures a class: one to train, one to validate and one to test on
NAMED = 10  # unreadable pictures that an error names
NOTES = {  # what read_picture tells under `info`: a note on the number of such pictures
    "transparent": "{} transparent picture{} laid on white or black",
    "shallow": "{} picture{} of 16 or 32 bits without a value over 255, taken as 8 bits",
}

Mode = Literal["grey", "rgb"]
Classes = Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class FolderPictures:
    """A folder's pictures, its class names in order of label, and notes for the user."""

    class_names: tuple[str, ...]
    train: Split
    test: Split
    notes: tuple[str, ...]


def read_folder(path: str | Path, size: int, mode: Mode, seed: int) -> FolderPictures:
    """Read a folder of pictures, each as uint8 [channels, size, size]; see pictures.to_pixels.

    Without train/ and test/, 15 % of each class, drawn with `seed`, become the test set. Classes and files are taken in
    the order of their names; hidden files and litter are ignored. Every class comes out with a test picture and with
    two training pictures or more, so that a validation part can be drawn from them. Raises UserError for a folder that
    is missing or laid out otherwise, for fewer than two classes, for a class with too few pictures or in one half only,
    and for pictures that cannot be read, naming them.
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
    rest, drawn = stratified_split(read["train"].labels, OWN_TEST_SHARE, seed)
    images, labels = read["train"].images, read["train"].labels
    train, test = Split(images[rest], labels[rest]), Split(images[drawn], labels[drawn])
    return FolderPictures(names, train, test, tuple(notes))


def _list(root: Path) -> tuple[dict[str, Classes], list[str]]:
    """The files of each class, checked for number: under train and test, or all under train; and notes."""
    where = printable(str(root))
    if not root.is_dir():
        raise UserError(f"{where} is not a folder: params.yaml names it under folder.path.")
    entries = visible(root)
    folders = [entry for entry in entries if entry.is_dir()]
    stray = [entry.name for entry in entries if entry not in folders]
    notes = [f"files in no class folder are ignored: {_some(stray)}"] if stray else []
    if len(folders) == 1 and folders[0].name.lower() not in HALVES and (inner := _folders(folders[0])):
        inside = (
            f"it holds one folder, {printable(folders[0].name)}, and that holds {_some([one.name for one in inner])}"
        )
        raise UserError(f"{where}: {inside}. Set folder.path to the folder that holds the class folders.")
    halves = {entry.name.lower(): entry for entry in folders if entry.name.lower() in HALVES and _folders(entry)}
    if not halves:
        return {"train": _classes(root, folders, LEAST[""])}, notes
    if len(folders) != 2 or len(halves) != 2:
        raise UserError(
            f"{where} holds {_some([entry.name for entry in folders])}: either train/ and test/ and nothing else, each "
            "with one folder a class, or one folder a class with the pictures directly in it."
        )
    parts = {half: _classes(halves[half], _folders(halves[half]), LEAST[half]) for half in HALVES}
    for here, there in (HALVES, HALVES[::-1]):
        if lacking := [name for name in parts[here] if name not in parts[there]]:
            raise UserError(f"{where}: {_some(lacking)} is in {here}/ but not in {there}/.")
    return parts, notes


def _classes(root: Path, folders: Sequence[Path], least: int) -> Classes:
    """The files of each class folder, by its name in Unicode's form NFC; UserError for too few classes or pictures."""
    where = printable(str(root))
    if not folders:
        raise UserError(f"{where} holds no class folders: put the pictures of each class in a folder of its own.")
    if len(folders) == 1:
        raise UserError(f"{where} holds one class only ({_some([folders[0].name])}): two or more are needed.")
    classes: dict[str, list[Path]] = {}
    for folder in folders:
        if not is_plain(folder.name):
            raise UserError(f"{printable(str(folder))}: a class name must be text without control characters.")
        name = unicodedata.normalize("NFC", folder.name)  # a Mac writes é as two characters, others as one
        if name in classes:
            raise UserError(f"{where} holds two folders called {name}, spelled in two ways of Unicode: merge them.")
        classes[name] = _pictures(folder, least)
    return {name: classes[name] for name in sorted(classes)}


def _pictures(folder: Path, least: int) -> list[Path]:
    where, files = printable(str(folder)), visible(folder)
    if inner := [entry.name for entry in files if entry.is_dir()]:
        raise UserError(f"{where} holds a folder ({_some(inner)}): pictures lie directly in the class's folder.")
    if len(files) < least:
        count = f"has {len(files)} picture{'s' if len(files) > 1 else ''}" if files else "is empty"
        raise UserError(f"{where} {count}: each class needs {least} or more there.")
    return files


def _read(
    parts: Mapping[str, Sequence[Sequence[Path]]], root: Path, size: int, mode: Mode, notes: list[str]
) -> dict[str, Split]:
    """Decode every picture; UserError names those that cannot be read."""
    bad: list[PictureError] = []
    counts = dict.fromkeys(NOTES, 0)
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
                except PictureError as error:
                    bad.append(error)
                    continue
                images[index] = to_pixels(picture, size, mode)
                for note in counts:
                    counts[note] += picture.info[note]
            read[part] = Split(images, labels)
    if bad:
        raise UserError(unreadable(bad, root))
    notes += [NOTES[note].format(count, "s" if count > 1 else "") for note, count in counts.items() if count]
    return read


def _space(count: int, channels: int, size: int) -> np.ndarray:
    try:
        return np.empty((count, channels, size, size), np.uint8)
    except MemoryError:
        need = count * channels * size**2 / 1e9
        raise UserError(f"{count:,} pictures of {size} pixels need {need:.1f} GB: lower folder.side.") from None


def unreadable(bad: Sequence[PictureError], root: Path) -> str:
    """The sentence on files that cannot be read: all names if they are few, the first ten and the count if many."""
    lines = [f"  - {error}" for error in bad[:NAMED]]
    lines += [f"  - and {len(bad) - NAMED} more"] if len(bad) > NAMED else []
    count = "1 picture" if len(bad) == 1 else f"{len(bad)} pictures"
    head = f"{printable(str(root))}: {count} cannot be read:"
    return "\n".join((head, *lines, "Replace or remove them; nothing was written."))


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in visible(folder) if entry.is_dir()]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
