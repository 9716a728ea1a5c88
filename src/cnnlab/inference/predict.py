"""From the arguments of `cnnlab predict` to its answers: find pictures, prepare them, ask the network in batches."""

import glob
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from cnnlab.core.errors import UserError
from cnnlab.core.text import printable
from cnnlab.data.files import walk
from cnnlab.data.pictures import SUFFIXES, PictureError, is_picture, read_picture
from cnnlab.inference.calibration import is_novel
from cnnlab.inference.prepare import prepare
from cnnlab.inference.session import Model

STANDARD_INPUT = "-"
NAMED = 5  # files that a note names


@dataclass(frozen=True)
class Answer:
    """What the network says of one picture: the likeliest classes first, with calibrated probabilities."""

    picture: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    inverted: bool
    transparent: bool
    unlike_data: bool


def find(arguments: Iterable[str], tell: Callable[[str], None]) -> Iterator[str | PictureError]:
    """The pictures that files, folders (with what is below them), globs and "-" name, in order; errors in between.

    A file that is named, or matched by a glob, is taken as a picture. Of a folder's files, those that are no pictures
    are left out, and `tell` gets a sentence on them.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT:
            yield argument
        elif _is_folder(argument):
            yield from _in_folder(Path(argument), tell)
        elif glob.has_magic(argument) and not glob.glob(glob.escape(argument)):  # noqa: PTH207
            matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 (pathlib takes no absolute patterns)
            if not matches:
                yield PictureError(printable(argument), "matches nothing")
            for match in matches:
                yield from _in_folder(Path(match), tell) if _is_folder(match) else (match,)
        else:
            yield argument


def predict(
    model: Model, sources: Iterable[str | bytes | PictureError], *, top: int = 3, batch: int = 64, invert: bool = True
) -> Iterator[Answer | PictureError]:
    """An answer for each picture that can be read, and the reason for each that cannot, in order.

    No more than `batch` prepared pictures and one decoded picture are held at a time.
    """
    pending = iter(sources)
    while chunk := list(islice(pending, batch)):
        yield from _predict_batch(model, chunk, top, invert)


def _predict_batch(
    model: Model, sources: Sequence[str | bytes | PictureError], top: int, invert: bool
) -> Iterator[Answer | PictureError]:
    results: list[Answer | PictureError | None] = []
    read: list[tuple[int, str, bool, bool]] = []
    pixels = np.empty((len(sources), *model.shape), np.uint8)
    for source in sources:
        try:
            picture = read_source(source)
        except PictureError as error:
            results.append(error)
            continue
        prepared = prepare(picture, model.shape, model.meta["object_share"], invert=invert)
        pixels[len(read)] = prepared.pixels
        read.append((len(results), source_name(source), prepared.inverted, bool(picture.info.get("transparent"))))
        results.append(None)
    images = pixels[: len(read)]
    logits = model.logits(images, batch=max(1, len(images)))
    probabilities = model.probabilities(logits)
    novel = _novel(model, images, logits)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    for row, (place, name, inverted, transparent) in enumerate(read):
        classes = tuple(model.class_names[index] for index in order[row])
        chances = tuple(float(probabilities[row, index]) for index in order[row])
        results[place] = Answer(name, classes, chances, inverted, transparent, bool(novel[row]))
    yield from (result for result in results if result is not None)


def _novel(model: Model, images: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Which pictures are unlike the data, bool [n]; UserError where the file's rule is none."""
    try:
        return is_novel(model.meta["novelty"], images, logits)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise UserError("the model's metadata novelty cannot be right: export it again with `dvc repro`.") from None


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # such as a name that is too long: reading it will tell
        return False


def _in_folder(folder: Path, tell: Callable[[str], None]) -> Iterator[str | PictureError]:
    """The pictures below a folder, in the order of their names; those that cannot be read are found out later."""
    found, left_out = 0, list[str]()
    for file in walk(folder):
        if isinstance(file, PictureError):
            found += 1
            yield file
        elif file.suffix.lower() in SUFFIXES or is_picture(file):
            found += 1
            yield str(file)
        else:
            left_out.append(file.name)
    if left_out:
        names = ", ".join(printable(name) for name in left_out[:NAMED])
        more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
        count = "1 file" if len(left_out) == 1 else f"{len(left_out)} files"
        tell(f"{printable(str(folder))}: {count} left out, not in a picture format that is read: {names}{more}")
    if not found:
        yield PictureError(printable(str(folder)), "holds no pictures")


def read_source(source: str | bytes | PictureError) -> Image.Image:
    """Decode one of `find`'s results, or a file's bytes; "-" is standard input. Raises what is wrong."""
    if isinstance(source, bytes):
        return read_picture(io.BytesIO(source))
    if isinstance(source, PictureError):
        raise source
    if source == STANDARD_INPUT:
        try:
            return read_picture(io.BytesIO(sys.stdin.buffer.read()))
        except PictureError as error:
            raise PictureError(source_name(source), error.reason) from None
    return read_picture(source)


def source_name(source: str | bytes | PictureError) -> str:
    """How a source is called in answers and errors."""
    if isinstance(source, bytes):
        return "the picture"
    return "standard input" if source == STANDARD_INPUT else printable(str(source))
