"""Turn a picture of any size, colour and background into pixels like those that a network was trained on."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from cnnlab.data.pictures import LIGHT, to_pixels

TOLERANCE = 24  # grey values by which the object differs from its background; JPEG's ringing stays below
SPECK = 0.01  # share of the longer side that a row or column must differ in to belong to the object
BORDERS = 3  # plain borders that are cut off at most: the background's own, and frames around it
EVEN = 0.98  # share of a border within the tolerance that makes it a plain background
MAX_SIDE = 1024  # pixels: larger pictures are averaged down first, so that later steps are fast
CELL = 3  # samples a side for each pixel of the result, of which the middle one is taken

Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class Prepared:
    """Pixels as the network wants them, uint8 [channels, size, size], and whether the picture was inverted."""

    pixels: np.ndarray
    inverted: bool


def prepare(picture: Image.Image, shape: tuple[int, int, int], share: float | None, *, invert: bool = True) -> Prepared:
    """Bring a picture (mode L or RGB) to `shape` (channels, size, size), one channel being grey and three colour.

    For data that lie light on a dark, plain background `share` says how much of the side the object takes (the file's
    metadata hold it as object_share): a picture of something darker than its background is then inverted (unless
    `invert` is False), its plain border is cut off, and the object is laid in the middle of a dark square in the data's
    proportion. For other data `share` is None: the middle square is scaled, as the training pictures were. A picture of
    the right size is never scaled or cut, and inverted where its border is light.
    """
    channels, size, _ = shape
    if share is None:
        return Prepared(to_pixels(picture, size, "grey" if channels == 1 else "rgb"), False)
    picture = picture.convert("L" if channels == 1 else "RGB")
    exact = picture.size == (size, size)
    if max(picture.size) > MAX_SIDE:
        picture = picture.reduce(-(-max(picture.size) // MAX_SIDE))
    grey = _grey(picture)
    box, background, darker = _object(grey, 0 if exact else BORDERS)
    inverted = invert and darker
    if inverted:
        picture, background = ImageOps.invert(picture), 255 - background
    if exact:
        values = np.asarray(picture, np.uint8)
    else:
        values = _on_grid(picture, box, size, share, background)
        if inverted == darker:  # the object is the lighter one: black around it, as in the data, and white left white
            values = (values - background) * (255 / (255 - background))
    pixels = values.round().clip(0, 255).astype(np.uint8).reshape(size, size, channels)
    return Prepared(np.ascontiguousarray(pixels.transpose(2, 0, 1)), inverted)


def _grey(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L"), np.int16)


def _border(grey: np.ndarray) -> np.ndarray:
    """The outermost pixels of [h, w], one hundredth of the shorter side deep, as one row."""
    depth = max(1, min(grey.shape) // 100)
    parts = grey[:depth], grey[-depth:], grey[:, :depth], grey[:, -depth:]
    return np.concatenate([part.ravel() for part in parts])


def _object(grey: np.ndarray, borders: int) -> tuple[Box, float, bool]:
    """The box of the object in [h, w], the grey value of its background, and whether the object is the darker one.

    A plain border is cut off, and where another plain one lies inside (a frame), that too, up to so many `borders`. A
    picture with nothing but background is taken whole. Where no border is plain or none is looked for, a light one is
    taken to have a darker object on it.
    """
    height, width = grey.shape
    box: Box = (0, 0, width, height)
    background = float(_border(grey).mean())
    darker = background > LIGHT
    for _ in range(borders):
        part = grey[box[1] : box[3], box[0] : box[2]]
        border = _border(part)
        middle = float(np.median(border))
        if (np.abs(border - middle) <= TOLERANCE).mean() < EVEN:
            break
        differs = np.abs(part - middle) > TOLERANCE
        least = SPECK * max(part.shape)
        rows, columns = (np.flatnonzero(differs.sum(axis=axis) > least) for axis in (1, 0))
        if not len(rows) or not len(columns):
            break
        background, darker = middle, bool((part[differs] - middle).sum() < 0)
        left, top = box[:2]
        box = (left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1)
    return box, background, darker


def _on_grid(picture: Image.Image, box: Box, size: int, share: float, background: float) -> np.ndarray:
    """The object in `box` as float32 [size, size] or [size, size, 3], its longer side `share` of the whole.

    The middle of each cell is sampled rather than its mean: that undoes an enlargement, whatever its filter, and is
    how Fashion-MNIST itself was made (Xiao et al. 2017, section 2). An object of an odd number of pixels lies half a
    pixel off the middle, right or down, in that data; the sharper of the two positions is the right one.
    """
    wide, high = box[2] - box[0], box[3] - box[1]
    cell = max(wide, high) / (size * share)
    side = int(np.ceil((size + 2) * cell)) + 1  # so that every sample of a small object is on the canvas
    left, top = (side - wide) // 2, (side - high) // 2
    fill = round(background)
    canvas = Image.new(picture.mode, (side, side), fill if picture.mode == "L" else (fill, fill, fill))
    canvas.paste(picture.crop(box), (left, top))
    axis = 1 if wide < high else 0  # the shorter one
    best, sharpest = np.empty(0), -1.0
    for offset in (0.0, 0.5) if abs(wide - high) > cell / 2 else (0.0,):
        across, down = (offset, 0.0) if axis else (0.0, offset)
        x, y = left + wide / 2 - (size / 2 + across) * cell, top + high / 2 - (size / 2 + down) * cell
        values = _sampled(canvas, (x, y, x + size * cell, y + size * cell), size, cell)
        sharpness = float((np.diff(values, axis=axis) ** 2).sum())
        if sharpness > sharpest:
            best, sharpest = values, sharpness
    return best


def _sampled(canvas: Image.Image, box: tuple[float, float, float, float], size: int, cell: float) -> np.ndarray:
    """The middle of each of size × size cells of `box`, or a smooth scaling where the cells are too small for that."""
    if cell < CELL / 2:
        return np.asarray(canvas.resize((size, size), Image.Resampling.LANCZOS, box=box), np.float32)
    fine = np.asarray(canvas.resize((size * CELL, size * CELL), Image.Resampling.BOX, box=box), np.float32)
    return fine[CELL // 2 :: CELL, CELL // 2 :: CELL]
