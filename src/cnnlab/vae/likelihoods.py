"""How likely pixels in [0, 1] are under a decoder's output; one formula each, for NumPy arrays and torch tensors alike.

The decoder gives a number l for each pixel, the logit of λ = 1 / (1 + exp(−l)). `xp` is the module `numpy` or `torch`.

bernoulli: cross-entropy between grey value and λ, as the report has it; a probability for pixels of 0 and 1 only.
continuous_bernoulli: the same, normalised over [0, 1] (Loaiza-Ganem and Cunningham 2019, section 3): a density.
gaussian: mean λ, one learned deviation for all pixels (Rybkin, Daniilidis and Levine 2021, section 3): a density.
"""

import math
from typing import Any

import numpy as np

from cnnlab.core.schema import Likelihood

NEAR_ZERO = 1e-2  # below that |l|, series take the place of quotients that lose their digits


def log_likelihood(kind: Likelihood, logits: Any, pixels: Any, log_scale: Any, xp: Any) -> Any:
    """Logarithm of each pixel's probability or density, in nats, the shape of `logits`.

    log_scale is the logarithm of the Gaussian's standard deviation (pixels in [0, 1]); the others do not read it.
    """
    if kind == "gaussian":
        deviation = (pixels - mean_pixel(kind, logits, xp)) / xp.exp(log_scale)
        return -0.5 * deviation**2 - log_scale - 0.5 * math.log(2 * math.pi)
    log_softplus = logits.clip(min=0) + xp.log1p(xp.exp(-abs(logits)))
    log_probability = pixels * logits - log_softplus
    if kind == "continuous_bernoulli":
        log_probability = log_probability + _log_normaliser(logits, xp)
    return log_probability


def leaves_padding_out(kind: Likelihood) -> bool:
    """Whether only the picture's own pixels count, and not the zeros that the network pads it with.

    A density grows without limit on pixels that are always the same: of a padded Fashion-MNIST picture's nats, more
    than a third came from the padding. Under bernoulli a certain zero has probability 1, and the sum is over all
    pixels, as in the report.
    """
    return kind != "bernoulli"


def mean_pixel(kind: Likelihood, logits: Any, xp: Any) -> Any:
    """The mean of each pixel's distribution, in [0, 1]."""
    rate = 0.5 * (1 + xp.tanh(0.5 * logits))
    if kind != "continuous_bernoulli":
        return rate
    # λ / (2λ − 1) + 1 / (2 artanh(1 − 2λ)), with 2λ − 1 = tanh(l/2) and 2 artanh(1 − 2λ) = −l.
    near = abs(logits) < NEAR_ZERO
    safe = xp.where(near, xp.ones_like(logits), logits)
    return xp.where(near, 0.5 + logits / 12, rate / xp.tanh(0.5 * safe) - 1 / safe).clip(0, 1)


def _log_normaliser(logits: Any, xp: Any) -> Any:
    """Log C(λ) = log(2 artanh(1 − 2λ) / (1 − 2λ)) = log(l / tanh(l/2)); log 2 + l²/12 near zero."""
    size = abs(logits)
    near = size < NEAR_ZERO
    safe = xp.where(near, xp.ones_like(size), size)
    return xp.where(near, math.log(2) + size**2 / 12, xp.log(safe) - xp.log(xp.tanh(0.5 * safe)))


def pixel_entropy(images: np.ndarray) -> float:
    """The least cross-entropy that any decoder can have against grey values: the mean picture's Σ H(pixel), in nats.

    images: uint8 [n, c, h, w].
    """
    grey = np.arange(256) / 255
    inner = grey[1:-1]
    entropy = np.zeros(256)
    entropy[1:-1] = -inner * np.log(inner) - (1 - inner) * np.log(1 - inner)
    counts = np.bincount(images.reshape(-1), minlength=256)
    return float(counts @ entropy / len(images))
