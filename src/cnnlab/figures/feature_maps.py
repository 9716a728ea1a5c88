"""What a convolution makes of pictures: its raw outputs as a grid, and the first layer's filters."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from cnnlab.figures.style import WIDTH, as_rgb, enlarge, new_figure, title

SCALE = "RdBu_r"  # blue below zero, white at zero, red above: what a rectifier keeps is red
_GAP = 0.06  # of a tile, between tiles


def feature_maps(
    pictures: np.ndarray, maps: np.ndarray, channels: Sequence[int], row_names: Sequence[str], text: str, subtitle: str
) -> Figure:
    """A grid of raw outputs: one row for each picture, which stands at its left, one column for each channel.

    pictures: uint8 [rows, c, h, w]; maps: [rows, columns, h', w'], the outputs of `channels`. A channel has one scale
    over all rows, so its maps can be compared.
    """
    limits = np.maximum(np.abs(maps).max(axis=(0, 2, 3), keepdims=True), 1e-12)
    tiles = colormaps[SCALE](0.5 + maps / limits / 2, bytes=True)[..., :3]
    rows, columns = maps.shape[:2]
    left, top, side = 1.15, 0.95, min((WIDTH - 1.3) / (columns + 1.3), 0.75)
    height = top + rows * side + 0.1
    figure = new_figure(WIDTH, height)
    title(figure, text, subtitle)
    _draw(figure, [[as_rgb(picture)] for picture in pictures], left, top, side)
    _draw(figure, list(tiles), left + 1.2 * side, top, side)
    for row, name in enumerate(row_names):
        figure.text((left - 0.08) / WIDTH, 1 - (top + (row + 0.5) * side) / height, name, ha="right", va="center", fontsize=10)
    for column, channel in enumerate(channels):
        x = (left + (1.7 + column) * side) / WIDTH
        figure.text(x, 1 - (top - 0.05) / height, str(channel), ha="center", fontsize=8.5, color="#666666")
    return figure


def first_filters(weights: np.ndarray, text: str) -> Figure:
    """The filters of the first layer, [filters, channels, h, w]: grey ones on a scale about zero, colour ones as pictures.

    One scale for all, so that a weak filter looks weak.
    """
    limit = np.abs(weights).max()
    if weights.shape[1] == 3:
        tiles = np.rint((0.5 + weights / limit / 2) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        subtitle = "grey is zero"
    else:
        tiles = colormaps[SCALE](0.5 + weights.mean(axis=1) / limit / 2, bytes=True)[..., :3]
        subtitle = "blue below zero, red above" + (", mean over the channels" if weights.shape[1] > 1 else "")
    columns = min(len(tiles), 16)
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    side = min((WIDTH - 0.3) / columns, 0.75)
    figure = new_figure(WIDTH, 0.95 + len(rows) * side)
    height, width = weights.shape[2:]
    title(figure, text, f"{len(weights)} filters of {height}×{width}, on one scale: {subtitle}")
    _draw(figure, rows, 0.16, 0.8, side)
    return figure


def _draw(figure: Figure, rows: Sequence[Sequence[np.ndarray]], left: float, top: float, side: float) -> None:
    """Lay out tiles (RGB uint8 [h, w, 3]) from (left, top), each `side` inches, as one picture at the figure's dots."""
    size = round(side * (1 - _GAP) * 2 * figure.dpi)
    step = round(side * 2 * figure.dpi)
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * step, columns * step, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            sheet[i * step : i * step + size, j * step : j * step + size] = enlarge(tile, size)
    width, height = figure.get_size_inches()
    box = (left / width, 1 - (top + len(rows) * side) / height, columns * side / width, len(rows) * side / height)
    axes = figure.add_axes(box)
    axes.imshow(sheet, aspect="auto", interpolation="antialiased")
    axes.set_axis_off()
