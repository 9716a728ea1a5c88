"""Maps of features: one layer by one method, and a network's layers by both methods side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnlab.figures.style import AREAS, WIDTH, class_handles, colour, marker, new_figure, plain, title

_ROUNDS = 12  # in which the classes are drawn by turns, so that no class hides the others


@dataclass(frozen=True)
class Panel:
    """One map: points [n, 2], labels int64 [n], its heading, and what its axes are called (or nothing)."""

    points: np.ndarray
    labels: np.ndarray
    heading: str
    axes: tuple[str, str] = ("", "")


def embedding(
    panel: Panel,
    class_names: Sequence[str],
    subtitle: str = "",
    marked: np.ndarray | None = None,
    marked_names: Sequence[str] = (),
) -> Figure:
    """A scatter with the classes named beside it; `marked` [m, 2] are new points, each with its name."""
    figure = new_figure(WIDTH, 6.6)
    title(figure, panel.heading, subtitle)
    axes = figure.add_axes((0.06, 0.06, 0.70, 0.80))
    _scatter(axes, panel, len(class_names), size=_marker_size(len(panel.points)))
    if marked is not None:
        _mark(axes, marked, marked_names)
    figure.legend(
        handles=class_handles(class_names), loc="center left", bbox_to_anchor=(0.775, 0.46), frameon=False, fontsize=11
    )
    return figure


def side_by_side(rows: Sequence[Sequence[Panel]], heads: Sequence[str], text: str, class_names: Sequence[str]) -> Figure:
    """A grid of maps, one row for each method, named at its left by `heads`, one column for each layer."""
    columns = len(rows[0])
    side = (WIDTH - 0.5) / columns
    height = len(rows) * (side + 0.3) + 1.3
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
        handles=class_handles(class_names), loc="lower center", ncols=5, frameon=False, fontsize=11, columnspacing=1.2
    )
    return figure


def _scatter(axes: Axes, panel: Panel, classes: int, size: float) -> None:
    turns = np.arange(len(panel.points)) * _ROUNDS // len(panel.points)
    for turn in range(_ROUNDS):
        for index in range(classes):
            chosen = panel.points[(turns == turn) & (panel.labels == index)]
            shape = marker(index)
            axes.scatter(
                *chosen.T, s=size * AREAS[shape], c=colour(index), marker=shape, linewidths=0.25, edgecolors="white"
            )
    plain(axes).set_aspect("equal", adjustable="datalim")
    axes.margins(0.03)
    axes.set_xlabel(panel.axes[0], fontsize=11)
    axes.set_ylabel(panel.axes[1], fontsize=11)


def _marker_size(points: int) -> float:
    """Area of a marker in square points: smaller where there are more."""
    return float(np.clip(26_000 / points, 7, 40))


def _mark(axes: Axes, points: np.ndarray, names: Sequence[str]) -> None:
    halo = [patheffects.withStroke(linewidth=3, foreground="white")]
    axes.scatter(*points.T, s=260, marker="o", facecolors="none", edgecolors="white", linewidths=5, zorder=5)
    axes.scatter(*points.T, s=260, marker="o", facecolors="none", edgecolors="black", linewidths=2, zorder=6)
    for point, name in zip(points, names, strict=True):
        axes.annotate(
            name, point, (11, 11), textcoords="offset points", fontsize=11, fontweight="bold", path_effects=halo, zorder=7
        )
