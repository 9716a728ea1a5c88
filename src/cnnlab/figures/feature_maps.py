"""Raw outputs of a convolution as a grid, and the filters of the first layer."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from cnnlab.figures.style import WIDTH, as_rgb, enlarge, fit, new_figure, title

DPI = 200  # twice the README's dots, so that small maps stay crisp
LEVELS = 64  # of colour: the eye cannot distinguish more, and they cost bytes in Git
SCALE = "RdBu_r"  # blue below zero, white at zero, red above: what a rectifier keeps is red
_GAP = 4  # dots between tiles
_LARGEST = 112  # dots: a tile's greatest side


def feature_maps(
    pictures: np.ndarray, maps: np.ndarray, channels: np.ndarray, total: int, row_names: Sequence[str], text: str
) -> Figure:
    """A grid of raw outputs: a row for each picture, which stands at its left, and a column for each channel.

    pictures: uint8 [rows, c, h, w]; maps: [rows, columns, h', w'], the outputs of `channels` out of `total`. A channel
    has one scale for all rows, so its maps can be compared. Save it at DPI.
    """
    limits = np.maximum(np.abs(maps).max(axis=(0, 2, 3), keepdims=True), 1e-12)
    tiles = _coloured(maps / limits)
    rows, columns = maps.shape[:2]
    left, top = _dots(1.15), _dots(0.92)
    size = _tile_size(maps.shape[2:], (_dots(WIDTH) - left) / (columns + 1.25) - _GAP)
    step = size + _GAP
    height = top + rows * step + _GAP
    figure = new_figure(WIDTH, height / DPI)
    shown = f"all {total}" if columns == total else f"the {columns} of {total} that vary most over these pictures"
    title(figure, text, f"channels: {shown} · red above zero, blue below")
    _draw(figure, [[as_rgb(picture)] for picture in pictures], left, top, size)
    _draw(figure, list(tiles), left + round(1.25 * step), top, size)
    for row, name in enumerate(fit(name, (left - 20) / DPI, 10) for name in row_names):
        y = 1 - (top + row * step + size / 2) / height
        figure.text((left - 16) / _dots(WIDTH), y, name, ha="right", va="center", fontsize=10)
    for column, channel in enumerate(channels):
        x = left + round(1.25 * step) + column * step + size / 2
        figure.text(x / _dots(WIDTH), 1 - (top - 10) / height, str(channel), ha="center", fontsize=8.5, color="#666666")
    return figure


def first_filters(weights: np.ndarray, text: str) -> Figure:
    """The filters of the first layer, [filters, channels, h, w]: three channels as colour, others about zero.

    One scale for all, so that a weak filter looks weak. Save it at DPI.
    """
    count, channels, height, width = weights.shape
    scaled = weights / np.maximum(np.abs(weights).max(), 1e-12)
    if channels == 3:
        tiles = np.rint((0.5 + scaled / 2) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        meaning = "grey is zero"
    else:
        tiles = _coloured(scaled.mean(axis=1))
        meaning = "red above zero, blue below" + (" (mean over the channels)" if channels > 1 else "")
    columns = min(count, 16)
    rows = [tiles[start : start + columns] for start in range(0, count, columns)]
    left, top = _dots(0.16), _dots(0.8)
    size = _tile_size((height, width), (_dots(WIDTH) - 2 * left) / columns - _GAP)
    figure = new_figure(WIDTH, (top + len(rows) * (size + _GAP) + left) / DPI)
    title(figure, text, f"{count} filters of {height}×{width}, on one scale · {meaning}")
    _draw(figure, rows, left, top, size)
    return figure


def _coloured(values: np.ndarray) -> np.ndarray:
    """Values of -1 to 1, [...], on the scale, as RGB uint8 [..., 3]."""
    return colormaps[SCALE].resampled(LEVELS)(0.5 + values / 2, bytes=True)[..., :3]


def _dots(inches: float) -> int:
    return round(inches * DPI)


def _tile_size(shape: tuple[int, ...], room: float) -> int:
    """A tile's side in dots, at most `room`: a whole number of dots for each value where there is room."""
    side, room = max(shape), int(min(room, _LARGEST))
    return room // side * side or room


def _draw(figure: Figure, rows: Sequence[Sequence[np.ndarray] | np.ndarray], left: int, top: int, size: int) -> None:
    """Lay out tiles, RGB uint8 [h, w, 3], with their first corner at (left, top), in dots, each `size` dots a side."""
    step = size + _GAP
    sheet = np.full((len(rows) * step - _GAP, max(map(len, rows)) * step - _GAP, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            sheet[i * step : i * step + size, j * step : j * step + size] = enlarge(tile, size)
    page = figure.get_size_inches() * DPI
    box = (left / page[0], 1 - (top + len(sheet)) / page[1], sheet.shape[1] / page[0], len(sheet) / page[1])
    axes = figure.add_axes(box)
    axes.imshow(sheet, aspect="auto", interpolation="nearest")
    axes.set_axis_off()
