"""The common look of all figures: colours, markers, sizes. Uses matplotlib's objects, not pyplot."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cnnlab.core.fonts import width

DPI = 100  # of the PNG files: a figure 8 inches wide is 800 pixels, a README's width
WIDTH = 8.0  # inches

# Ten colours found by a search that maximised the least distance between any two of them (in Oklab, Ottosson 2020)
# in full colour vision and in protanopia, deuteranopia and tritanopia (simulated as Machado et al. 2009 do): 0.13,
# where matplotlib's usual ten have 0.007 and Petroff's 0.06. The colours of Fashion-MNIST's upper garments (0, 2, 3, 4
# and 6) and of its shoes (5, 7 and 9), which networks confuse, are the farthest apart; tests/test_figures.py holds it.
COLOURS = (
    "#3c87fa",  # blue
    "#9b3a6a",  # plum
    "#0d4509",  # dark green
    "#fea401",  # amber
    "#5a0169",  # dark purple
    "#22dea4",  # mint
    "#e25603",  # vermilion
    "#3049c2",  # cobalt
    "#c0adff",  # lilac
    "#9d8694",  # mauve
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", "*")
# Area of a marker in relation to the circle's, so that all look the same size.
AREAS = {"o": 1.0, "s": 0.95, "^": 1.25, "D": 0.85, "v": 1.25, "P": 1.35, "X": 1.35, "p": 1.2, "<": 1.25, "*": 1.9}
INK = "#1a1a1a"
FAINT = "#8a8a8a"


def colour(index: int) -> str:
    """The colour of class `index`; the ten colours repeat."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """The marker of class `index`: the second ten classes have the colours of the first and other markers."""
    return MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, on white."""
    return Figure(figsize=(width, height), dpi=DPI, facecolor="white")


def plain(axes: Axes) -> Axes:
    """Remove ticks and soften the frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color("#d0d0d0")
    return axes


def title(figure: Figure, text: str, subtitle: str = "") -> None:
    """A bold title at the top left, and a line under it."""
    height = figure.get_figheight()
    figure.text(0.02, 1 - 0.12 / height, text, fontsize=14, fontweight="bold", color=INK, va="top")
    if subtitle:
        figure.text(0.02, 1 - 0.42 / height, subtitle, fontsize=10, color="#444444", va="top")


def class_handles(class_names: Sequence[str], inches: float, points: float) -> list[Line2D]:
    """Legend entries for the classes, their names at most so many inches wide in letters of so many points."""
    return [
        Line2D([], [], linestyle="", marker=marker(i), color=colour(i), markersize=8, label=fit(name, inches, points))
        for i, name in enumerate(class_names)
    ]


def enlarge(picture: np.ndarray, size: int) -> np.ndarray:
    """Scale [h, w, ...] to [size, size, ...] by repeating pixels."""
    rows = np.arange(size) * picture.shape[0] // size
    columns = np.arange(size) * picture.shape[1] // size
    return picture[rows][:, columns]


def fit(name: str, inches: float, points: float) -> str:
    """A name, with letters taken out of its middle until it is at most so many inches wide in letters of `points`.

    Names of one folder often begin alike, so both ends stay.
    """
    kept, text = len(name), name
    while width(text, points) > inches and kept > 2:
        kept -= 1
        text = name[: -(-kept // 2)] + "…" + name[len(name) - kept // 2 :]
    return text


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """A picture uint8 [channels, h, w] as RGB uint8 [h, w, 3]; of two or four channels, their mean in grey."""
    if len(picture) == 3:
        return picture.transpose(1, 2, 0)
    grey = picture.mean(axis=0).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
