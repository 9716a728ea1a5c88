"""The answers of `cnnlab predict`: prepare pictures, ask the network in batches, rank the classes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from cnnlab.core.errors import UserError
from cnnlab.data.pictures import PictureError
from cnnlab.inference.calibration import is_novel
from cnnlab.inference.prepare import prepare
from cnnlab.inference.session import Model
from cnnlab.inference.sources import read_source, source_name


@dataclass(frozen=True)
class Answer:
    """What the network says of one picture: the likeliest classes first, with calibrated probabilities.

    `picture` is the file's own name, to open it by; `printable` makes it safe for a terminal. `blank`: the network saw
    a single colour, so that its answer means nothing.
    """

    picture: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    inverted: bool
    transparent: bool
    unlike_data: bool
    blank: bool


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
        blank = bool(images[row].min() == images[row].max())
        results[place] = Answer(name, classes, chances, inverted, transparent, bool(novel[row]), blank)
    yield from (result for result in results if result is not None)


def _novel(model: Model, images: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Which pictures are unlike the data, bool [n]; UserError where the file's rule is none."""
    try:
        return is_novel(model.meta["novelty"], images, logits)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise UserError("the model's metadata novelty cannot be right: export it again with `dvc repro`.") from None
