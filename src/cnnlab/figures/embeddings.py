"""Maps of features: one layer by one method, or all layers of a network by both methods."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnlab.figures.style import AREAS, WIDTH, class_handles, colour, fit, marker, new_figure, plain, title

_TOGETHER = 0.03  # of the map's side: points nearer than this share a label
_ROUNDS = 4  # the classes take turns in this many rounds, so that none hides the others


@dataclass(frozen=True)
class Panel:
    """One map: points [n, 2], labels int64 [n], its heading, and what its axes are called, if anything."""

    points: np.ndarray
    labels: np.ndarray
    heading: str
    axes: tuple[str, str] | None = None


def variance_axes(shares: np.ndarray) -> tuple[str, str]:
    """What the axes of a PCA map are called: the first two components and their shares of the variance."""
    first, second = (f"component {i + 1} ({100 * share:.1f} % of the variance)" for i, share in enumerate(shares[:2]))
    return first, second


def embedding_map(
    panel: Panel,
    class_names: Sequence[str],
    subtitle: str = "",
    marked: np.ndarray | None = None,
    marked_names: Sequence[str] = (),
) -> Figure:
    """A scatter plot with a legend of classes; `marked` [m, 2] are new points, each with its name."""
    figure = new_figure(WIDTH, 6.6)
    title(figure, panel.heading, subtitle)
    axes = figure.add_axes((0.06, 0.06, 0.70, 0.80))
    _scatter(axes, panel, len(class_names), size=_marker_size(len(panel.points)))
    if marked is not None:
        _mark(axes, marked, marked_names)
    letters = min(11, 250 / len(class_names))
    figure.legend(
        handles=class_handles(class_names, 1.2, letters),
        loc="center left",
        bbox_to_anchor=(0.775, 0.46),
        frameon=False,
        fontsize=letters,
    )
    return figure


def embedding_grid(
    rows: Sequence[Sequence[Panel]], heads: Sequence[str], text: str, class_names: Sequence[str]
) -> Figure:
    """A grid of maps, one row for each method, named at its left by `heads`, one column for each layer."""
    columns = len(rows[0])
    side = (WIDTH - 0.5) / columns
    legend = 0.24 * -(-len(class_names) // 5) + 0.25
    height = len(rows) * (side + 0.3) + 0.6 + legend
    figure = new_figure(WIDTH, height)
    title(figure, text)
    for i, (row, head) in enumerate(zip(rows, heads, strict=True)):
        bottom = height - 0.5 - (i + 1) * (side + 0.3)
        figure.text(0.02, (bottom + side / 2) / height, head, rotation=90, fontsize=13, fontweight="bold", va="center")
        for j, panel in enumerate(row):
            box = ((0.4 + j * side + 0.04) / WIDTH, bottom / height, (side - 0.08) / WIDTH, (side - 0.08) / height)
            axes = figure.add_axes(box)
            _scatter(axes, panel, len(class_names), size=_marker_size(len(panel.points)) / 3)
            axes.set_title(panel.heading, fontsize=10.5, pad=4)
    figure.legend(
        handles=class_handles(class_names, 1.1, 11),
        loc="lower center",
        ncols=5,
        frameon=False,
        fontsize=11,
        columnspacing=1.2,
    )
    return figure


def _scatter(axes: Axes, panel: Panel, classes: int, size: float) -> None:
    turns = np.arange(len(panel.points)) * _ROUNDS // len(panel.points)
    for turn in range(_ROUNDS):
        for index in range(classes):
            chosen = panel.points[(turns == turn) & (panel.labels == index)]
            shape = marker(index)
            axes.scatter(
                *chosen.T,
                s=size * AREAS[shape],
                c=colour(index),
                marker=shape,
                linewidths=min(0.25, size / 80),
                edgecolors="white",
            )
    plain(axes).set_aspect("equal", adjustable="datalim")
    axes.margins(0.03)
    if panel.axes:
        axes.set_xlabel(panel.axes[0], fontsize=11)
        axes.set_ylabel(panel.axes[1], fontsize=11)


def _marker_size(points: int) -> float:
    """Area of a marker in square points: smaller where there are more."""
    return float(np.clip(26_000 / points, 7, 40))


def _mark(axes: Axes, points: np.ndarray, names: Sequence[str]) -> None:
    """Draw rings around the new points; points that fall together share a label."""
    rings = {"marker": "o", "facecolors": "none", "s": 260}
    axes.scatter(*points.T, edgecolors="white", linewidths=5, zorder=5, **rings)
    axes.scatter(*points.T, edgecolors="black", linewidths=2, zorder=6, **rings)
    axes.scatter(*points.T, c="black", s=16, linewidths=0.8, edgecolors="white", zorder=6)
    low, high = axes.dataLim.get_points()
    together = _TOGETHER * (high - low).max()
    left = list(range(len(points)))
    while left:
        first = left[0]
        group = [i for i in left if np.linalg.norm(points[i] - points[first]) <= together]
        left = [i for i in left if i not in group]
        rightmost = points[first][0] > low[0] + 0.6 * (high[0] - low[0])
        axes.annotate(
            ", ".join(fit(names[i], 1.6, 11) for i in group if names[i]),
            points[first],
            (-11 if rightmost else 11, 11),
            textcoords="offset points",
            ha="right" if rightmost else "left",
            fontsize=11,
            fontweight="bold",
            path_effects=[patheffects.withStroke(linewidth=3, foreground="white")],
            zorder=7,
        )
