"""A picture of any size, colour and background as the pixels that a network was trained on."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from cnnlab.data.pictures import to_pixels

LIGHT = 127.5  # grey value: a border that is lighter on average is a light background
TOLERANCE = 16  # grey values by which a pixel must differ from the background to be part of the object
FRAME_EVENNESS = 0.98  # share of a border within the tolerance that makes it a plain frame
MAX_SIDE = 1024  # pixels: what is larger is averaged down first, so that every step after is quick


@dataclass(frozen=True)
class Prepared:
    """Pixels as the network wants them, uint8 [channels, size, size], and whether the picture was inverted."""

    pixels: np.ndarray
    inverted: bool


def prepare(
    picture: Image.Image, shape: tuple[int, int, int], object_share: float | None, *, invert: bool = True
) -> Prepared:
    """Bring a picture (mode L or RGB) to `shape`, one channel being grey and three colour.

    For data that lie light on a dark, plain background `object_share` says how much of the side the object takes
    (`object_share`, below): a picture with a light border is then inverted (unless `invert` is False), its plain border
    is cut off, and the object is laid centred on a dark square in the data's proportion. For other data it is None: the
    middle square is scaled, as in training. A picture of the right size is never scaled or cut.
    """
    channels, height, width = shape
    mode = "grey" if channels == 1 else "rgb"
    if object_share is None:
        return Prepared(to_pixels(picture, height, mode), False)
    picture = picture.convert("L" if channels == 1 else "RGB")
    exact = picture.size == (width, height)
    if max(picture.size) > MAX_SIDE:
        picture = picture.reduce(-(-max(picture.size) // MAX_SIDE))
    inverted = invert and float(_border(_grey(picture)).mean()) > LIGHT
    if inverted:
        picture = ImageOps.invert(picture)
    if not exact:
        picture = _on_square(_trim(picture), height, object_share)
    pixels = np.asarray(picture, np.uint8).reshape(height, width, channels).transpose(2, 0, 1)
    return Prepared(np.ascontiguousarray(pixels), inverted)


def object_share(images: np.ndarray) -> float:
    """How much of the side objects on a dark background take: the median over uint8 images [n, c, h, w], in (0, 1]."""
    shown = images.max(axis=1) > TOLERANCE
    longest = np.maximum(_extent(shown.any(axis=1)), _extent(shown.any(axis=2)))
    return float(np.median(longest) / images.shape[-1]) or 1.0


def _extent(occupied: np.ndarray) -> np.ndarray:
    """From the first to the last True of each row of a bool [n, side], in pixels; 0 where there is none."""
    side = occupied.shape[1]
    first, last = occupied.argmax(axis=1), side - occupied[:, ::-1].argmax(axis=1)
    return np.where(occupied.any(axis=1), last - first, 0)


def _grey(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L"), np.int16)


def _border(grey: np.ndarray) -> np.ndarray:
    """The outermost pixels of [h, w], one hundredth of the shorter side deep, as one row."""
    depth = max(1, min(grey.shape) // 100)
    top, bottom = grey[:depth], grey[-depth:]
    return np.concatenate([part.ravel() for part in (top, bottom, grey[:, :depth], grey[:, -depth:])])


def _trim(picture: Image.Image) -> Image.Image:
    """Cut off a plain border, and a frame of another colour around it; a picture of one colour stays whole."""
    for _ in range(3):
        grey = _grey(picture)
        background = np.median(_border(grey))
        differs = np.abs(grey - background) > TOLERANCE
        rows, columns = np.flatnonzero(_enough(differs, 1)), np.flatnonzero(_enough(differs, 0))
        if not len(rows) or not len(columns):
            break
        picture = picture.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        inner = _border(_grey(picture))
        if (np.abs(inner - np.median(inner)) <= TOLERANCE).mean() < FRAME_EVENNESS:
            break
    return picture


def _enough(differs: np.ndarray, axis: int) -> np.ndarray:
    """Which rows (axis 1) or columns (axis 0) hold more of the object than a speck."""
    return differs.mean(axis=axis) > 1 / 200


def _on_square(picture: Image.Image, size: int, share: float) -> Image.Image:
    """The trimmed object scaled to `share` of the side, centred on a dark square of `size` pixels."""
    longest = max(picture.size)
    target = max(1, round(size * share))
    scaled = tuple(max(1, round(side * target / longest)) for side in picture.size)
    filter_ = Image.Resampling.BOX if longest >= target else Image.Resampling.BICUBIC
    small = picture.resize((scaled[0], scaled[1]), filter_)
    square = Image.new(picture.mode, (size, size))
    square.paste(small, ((size - small.width + 1) // 2, (size - small.height + 1) // 2))
    return square
