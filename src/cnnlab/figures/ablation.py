"""The ablations in one picture: each variant's difference from its baseline, with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from cnnlab.figures.style import COLOURS, FAINT, INK, WIDTH, new_figure

ROW_HEIGHT = 0.3  # inches


def differences(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """A dot for each variant and, where it has one, its 95 % interval, blue where that leaves out 0.

    rows have name, baseline, difference, low and high (accuracies from 0 to 1; low and high are empty below three
    seeds). The axis follows the differences: an interval that is wider than the picture ends in an arrow.
    """
    figure = new_figure(WIDTH, 1.1 + ROW_HEIGHT * len(rows))
    figure.set_layout_engine("tight")  # when it is drawn, in its own letters
    axes = figure.subplots()
    reach = 150 * max([abs(row["difference"]) for row in rows] + [0.002])
    for place, row in enumerate(rows):
        colour = FAINT
        if row["low"] != "":
            low, high = 100 * row["low"], 100 * row["high"]
            colour = COLOURS[0] if low > 0 or high < 0 else FAINT
            ends = [max(low, -reach), min(high, reach)]
            axes.plot(ends, [place, place], color=colour, linewidth=2, solid_capstyle="butt")
            for beyond, edge, marker in ((low < -reach, -reach, "<"), (high > reach, reach, ">")):
                if beyond:
                    axes.plot(edge, place, marker=marker, color=colour, markersize=6, clip_on=False)
        axes.plot(100 * row["difference"], place, marker="o", color=colour, markeredgecolor="white", markersize=7)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [f"{row['name']} ({row['baseline']})" for row in rows])
    axes.set_xlim(-reach, reach)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("points of test accuracy against the baseline")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    axes.grid(axis="x", color="#e4e4e4")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure
