"""Sheets of generated pictures: tiles in rows and columns, each pixel a whole number of screen pixels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cnnlab.core.fonts import width
from cnnlab.figures.style import DPI, FAINT, INK, as_rgb, new_figure

GAP = 2  # pixels between tiles, before enlarging: of the page's own white
PAGE = 255
ZOOM = 2  # screen pixels a side of a tile's pixel
MARGIN = 12  # screen pixels around the sheet
TITLE = 30  # screen pixels for the title
CAPTION = 18  # screen pixels for the captions of columns
TITLE_LETTERS, CAPTION_LETTERS = 9.5, 7.5  # points
BOLD = 1.15  # how much wider bold letters are


def tile_sheet(tiles: np.ndarray, title: str = "", rows: Sequence[str] = (), columns: Sequence[str] = ()) -> Figure:
    """A figure of tiles uint8 [rows, columns, c, h, w], with a title and captions where there are any.

    Written at style.DPI dots an inch, each pixel of a tile takes ZOOM × ZOOM pixels.
    """
    mosaic = np.kron(mosaic_of(tiles), np.ones((ZOOM, ZOOM, 1), np.uint8))
    tall, wide = mosaic.shape[:2]
    longest = max((width(line, CAPTION_LETTERS) for caption in rows for line in caption.split("\n")), default=0)
    left = MARGIN + (round(DPI * longest) + 8 if rows else 0)
    top = MARGIN + (TITLE if title else 0) + (CAPTION if columns else 0)
    page_width = max(left + wide + MARGIN, 2 * MARGIN + round(BOLD * DPI * width(title, TITLE_LETTERS)))
    page_height = top + tall + MARGIN
    figure = new_figure(page_width / DPI, page_height / DPI)
    figure.figimage(mosaic, xo=left, yo=MARGIN, origin="upper")
    if title:
        figure.text(
            MARGIN / page_width,
            1 - (MARGIN + 4) / page_height,
            title,
            fontsize=TITLE_LETTERS,
            color=INK,
            va="top",
            weight="bold",
        )
    _caption(figure, tiles, rows, columns, left, top, page_width, page_height)
    return figure


def mosaic_of(tiles: np.ndarray) -> np.ndarray:
    """Tiles [rows, columns, c, h, w] side by side with white gaps, as RGB uint8 [height, width, 3]."""
    rows, columns, _, height, width = tiles.shape
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), PAGE, np.uint8)
    for row in range(rows):
        for column in range(columns):
            y, x = row * (height + GAP), column * (width + GAP)
            sheet[y : y + height, x : x + width] = as_rgb(tiles[row, column])
    return sheet


def _caption(
    figure: Figure, tiles: np.ndarray, rows: Sequence[str], columns: Sequence[str], left: int, top: int,
    page_width: int, page_height: int,
) -> None:  # fmt: skip
    height, width = ((side + GAP) * ZOOM for side in tiles.shape[3:])
    for index, caption in enumerate(rows):
        y = 1 - (top + index * height + (height - GAP * ZOOM) / 2) / page_height
        figure.text(
            (left - 6) / page_width,
            y,
            caption,
            fontsize=CAPTION_LETTERS,
            color=INK,
            ha="right",
            va="center",
        )
    for index, caption in enumerate(columns):
        x = (left + index * width + (width - GAP * ZOOM) / 2) / page_width
        figure.text(
            x,
            1 - (top - 4) / page_height,
            caption,
            fontsize=CAPTION_LETTERS,
            color=FAINT,
            ha="center",
            va="bottom",
        )
