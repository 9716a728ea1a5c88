"""What a classifier gets wrong, as pictures."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cnnlab.core.fonts import width
from cnnlab.figures.style import INK, WIDTH, as_rgb, fit, new_figure, title

COLUMNS = 8
_TILE, _CAPTION = 0.84, 0.40  # inches: a picture's side, and the two lines above it
_LETTERS = 8  # points


def worst_mistakes(
    images: np.ndarray, labels: np.ndarray, predictions: np.ndarray, confidences: np.ndarray, class_names: Sequence[str]
) -> Figure:
    """Wrong answers, the most confident first, each with its true and its predicted class.

    images: uint8 [n, c, h, w]; labels and predictions: int [n]; confidences: probability of the prediction, [n].
    """
    wrong = np.flatnonzero(labels != predictions)
    wrong = wrong[np.argsort(-confidences[wrong], kind="stable")]
    rows = max(1, -(-len(wrong) // COLUMNS))
    top, step, cell = 0.80, (WIDTH - 0.2) / COLUMNS, _TILE + _CAPTION + 0.1
    height = top + rows * cell
    figure = new_figure(WIDTH, height)
    if not len(wrong):
        title(figure, "No mistakes", "every picture was answered right")
        return figure
    title(figure, "The most confident mistakes", "true class → predicted class and its probability")
    for place, index in enumerate(wrong):
        row, column = divmod(place, COLUMNS)
        left, bottom = 0.1 + column * step + (step - _TILE) / 2, height - top - (row + 1) * cell + 0.1
        axes = figure.add_axes((left / WIDTH, bottom / height, _TILE / WIDTH, _TILE / height))
        axes.imshow(as_rgb(images[index]), interpolation="nearest")
        axes.set_axis_off()
        true, predicted = class_names[int(labels[index])], class_names[int(predictions[index])]
        ends = (" →", f" {confidences[index]:.2f}")
        captions = [
            fit(name, step - 0.06 - width(end, _LETTERS), _LETTERS) + end
            for name, end in zip((true, predicted), ends, strict=True)
        ]
        for line, caption in enumerate(captions):
            y = 1 + (0.22 - 0.15 * line) / _TILE
            axes.text(0.5, y, caption, transform=axes.transAxes, ha="center", fontsize=_LETTERS, color=INK)
    return figure
