"""Optimiser and learning-rate schedule of the two recipes.

modern: AdamW (Loshchilov and Hutter 2019), or SGD where the run has a momentum, under a one-cycle rate (Smith and Topin
2018): up in the first 20 % of the steps, then down to nothing along a cosine. plain: SGD at a constant rate, as in
report B.
"""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from cnnlab.core.schema import Recipe, Run
from cnnlab.training.optimizers import SGD, AdamW, Optimizer

# The rate where params.yaml names none: by recipe, for saturating sigmoids and for everything else. The report's own
# two; the modern ones did best on LeNet's validation pictures at budget quick: of {0.005, 0.01, 0.02, 0.04} for
# sigmoid, and of {0.002, 0.004, 0.008} for ReLU with max pooling.
DEFAULT_RATES: dict[Recipe, dict[str, float]] = {
    "modern": {"sigmoid": 0.02, "other": 0.008},
    "plain": {"sigmoid": 0.9, "other": 0.1},
}
WARM_UP = 0.2  # share of the steps in which the rate climbs


def peak_rate(run: Run, recipe: Recipe, options: Mapping[str, Any]) -> float:
    """The learning rate of a run: its own, or the one that follows from recipe and the network's activation."""
    if run.learning_rate is not None:
        return run.learning_rate
    return DEFAULT_RATES[recipe]["sigmoid" if options.get("act") == "sigmoid" else "other"]


def rate_at(step: int, steps: int, peak: float, recipe: Recipe) -> float:
    """The learning rate of step 0 … steps−1."""
    if recipe == "plain":
        return peak
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step + 1 - warm) / (steps + 1 - warm)))


def make_optimizer(module: nn.Module, recipe: Recipe, weight_decay: float, momentum: float = 0.0) -> Optimizer:
    """SGD (recipe plain, or any momentum) or AdamW; weight decay on weights of more than one dimension only."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    groups = [(weights, 0.0)]
    if weight_decay:
        groups = [([w for w in weights if w.ndim > 1], weight_decay), ([w for w in weights if w.ndim <= 1], 0.0)]
    return SGD(groups, momentum) if recipe == "plain" or momentum else AdamW(groups)
