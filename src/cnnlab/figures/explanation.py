"""A picture and, beside it, what an answer rests on."""

import numpy as np
from matplotlib.figure import Figure

from cnnlab.figures.style import INK, as_rgb, new_figure, plain

SIDE = 3.2  # inches of a panel
LEAST_SCALE = 0.5  # nats at the deepest colour, at least: an answer that rests on nothing in particular stays pale
COLOURS = "RdBu_r"  # red: the answer rests on it; blue: it speaks against


def heat_map(pixels: np.ndarray, heat: np.ndarray, answer: str) -> Figure:
    """The picture, uint8 [c, h, w], and its heat, float [h, w] in nats, over a faint copy of it; white is no effect."""
    figure = new_figure(2 * SIDE + 1.1, SIDE + 0.6)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.02, right=0.88, bottom=0.03, top=0.86, wspace=0.06)
    plain(left).imshow(as_rgb(pixels), interpolation="nearest")
    left.set_title("what the network sees", fontsize=9, color=INK)
    largest = max(float(np.abs(heat).max()), LEAST_SCALE)
    drawn = plain(right).imshow(heat, cmap=COLOURS, vmin=-largest, vmax=largest, interpolation="nearest")
    right.imshow(as_rgb(pixels), interpolation="nearest", alpha=0.25)
    right.set_title(f"what “{answer}” rests on", fontsize=9, color=INK)
    bar = figure.colorbar(drawn, cax=figure.add_axes((0.90, 0.08, 0.02, 0.72)))
    bar.ax.tick_params(labelsize=7)
    bar.set_label("nats lost when it is covered", fontsize=7)
    return figure
