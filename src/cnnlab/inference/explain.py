"""What an answer rests on, by occlusion: cover a part of the picture and see how much surer or less sure it gets.

Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 4.2. It needs nothing but the
exported file. The page computes the same in JavaScript; the algorithm, for a picture of height H and width W:

1. Patches are squares of side S = max(2, round(min(H, W) / 4)), one for each pair of a top and a left edge. The edges
   are 0, D, 2D, … up to the last place where a patch fits, and that place, with D = max(1, round(S / 4)).
2. A patch is covered with black for data light on dark, else with each channel's mean over the picture, rounded.
3. A patch's effect is log p(picture) − log p(covered picture), p being the calibrated probability of one class: the
   class that the network answers unless another is asked for. Positive: the answer rests on it, in nats.
4. A pixel's heat is the mean effect of the patches that cover it.

Rounding is half up: floor(x + 0.5).
"""

import math
from dataclasses import dataclass

import numpy as np

from cnnlab.core.metrics import log_softmax
from cnnlab.inference.session import Model

BATCH = 64


@dataclass(frozen=True)
class Explanation:
    """A class, its calibrated probability, and each pixel's heat for it, float64 [h, w] in nats."""

    label: int
    probability: float
    heat: np.ndarray


def explain(model: Model, pixels: np.ndarray, label: int | None = None) -> Explanation:
    """The heat map of a prepared picture, uint8 [c, h, w], for a class, or for the one that the network answers."""
    height, width = pixels.shape[1:]
    side = min(max(2, _round(min(height, width) / 4)), height, width)
    corners = [(top, left) for top in _edges(height, side) for left in _edges(width, side)]
    covered = np.repeat(pixels[None], 1 + len(corners), axis=0)
    cover = _cover(model, pixels)
    for picture, (top, left) in zip(covered[1:], corners, strict=True):
        picture[:, top : top + side, left : left + side] = cover
    logits = model.logits(covered, BATCH)
    label = int(logits[0].argmax()) if label is None else label
    chances = log_softmax(logits.astype(np.float64) / model.temperature)[:, label]
    total, times = np.zeros((height, width)), np.zeros((height, width))
    for effect, (top, left) in zip(chances[0] - chances[1:], corners, strict=True):
        total[top : top + side, left : left + side] += effect
        times[top : top + side, left : left + side] += 1
    return Explanation(label, float(np.exp(chances[0])), total / times)


def _edges(length: int, side: int) -> list[int]:
    """Where patches begin along a side of the picture."""
    step = max(1, _round(side / 4))
    return sorted({*range(0, length - side + 1, step), length - side})


def _cover(model: Model, pixels: np.ndarray) -> np.ndarray | int:
    """What a patch is filled with: black, or uint8 [c, 1, 1]."""
    if model.meta["object_share"] is not None:
        return 0
    return np.floor(pixels.mean(axis=(1, 2), keepdims=True) + 0.5).astype(np.uint8)


def _round(value: float) -> int:
    return math.floor(value + 0.5)
