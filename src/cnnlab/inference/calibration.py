"""Fitted on validation and kept in the file: the temperature, and what counts as a picture unlike the data.

Temperature: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2.
Novelty: a picture is unlike the data when the network is unsure of every class (the energy of its logits is low: Liu
et al. 2020, "Energy-based Out-of-distribution Detection", section 3) or when its coarse look lies far from the training
pictures' principal components. Either alone misses much (benchmarks/novelty.py measures both); the two together need
nothing but the logits and the pixels, so the exported file stays lean.
"""

import base64
from typing import Any

import numpy as np

from cnnlab.core.metrics import log_softmax, softmax

GRID = 14  # cells a side of the coarse look
VISIBLE = 24  # grey value above which a pixel shows the object rather than its dark background
PICTURES = 10_000  # training pictures, evenly spaced, that the principal components are fitted on
COMPONENTS = 16  # principal components that count as the data's own
ALARM_RATE = 0.05  # share of validation pictures that may be called unlike the data
ROWS_PER_COMPONENT = 8  # training pictures; of fewer than 128, fewer components are the data's own
INVERSE_TEMPERATURES = (0.05, 20.0)
FEW = 1000  # pictures from which a network that is always right would be fitted a certainty that it cannot have


def label_smoothing(pictures: int) -> float:
    """The share of a label that is spread over all classes when the temperature is fitted: 1 / (n + 2) of few pictures.

    After Platt 1999, "Probabilistic outputs for support vector machines", section 2.2.
    """
    return 1 / (pictures + 2) if pictures < FEW else 0.0


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that minimises the cross-entropy of logits [n, classes] against labels int64 [n].

    Few pictures' labels are smoothed. The loss is convex in the inverse temperature, so its slope is bisected; between
    0.05 and 20.
    """
    logits, spread = logits.astype(np.float64), label_smoothing(len(labels))
    own = logits[np.arange(len(labels)), labels]
    if spread:
        own = (1 - spread) * own + spread * logits.mean(axis=1)
    low, high = INVERSE_TEMPERATURES
    for _ in range(50):
        middle = (low + high) / 2
        expected = (softmax(logits, 1 / middle) * logits).sum(axis=1)
        if (expected - own).mean() < 0:
            low = middle
        else:
            high = middle
    return 2 / (low + high)


def energy(logits: np.ndarray) -> np.ndarray:
    """log Σ exp(logit), float64 [n]: high where some class is sure."""
    top = logits.argmax(axis=1)
    rows = np.arange(len(logits))
    return logits[rows, top].astype(np.float64) - log_softmax(logits)[rows, top]


def coarse(images: np.ndarray) -> np.ndarray:
    """The coarse look of uint8 pictures [n, c, h, w]: grey, averaged over 14×14 cells, in [0, 1], float64 [n, 196]."""
    height, width = images.shape[2:]
    grey = images.mean(axis=1, dtype=np.float32) / 255
    cells = _averaging(height) @ grey @ _averaging(width).T
    return cells.reshape(len(images), GRID * GRID).astype(np.float64)


def fit_novelty(train: np.ndarray, validation: np.ndarray, validation_logits: np.ndarray) -> dict[str, Any]:
    """The rule of novelty, ready for JSON: fitted on training pixels, its two limits on validation.

    Both limits are the same quantile of their own score, the one at which 5 % of the validation pictures are caught by
    the two together.
    """
    mean, basis = _principal_components(coarse(train[:: -(-len(train) // PICTURES)]))
    rule: dict[str, Any] = {"alarm_rate": ALARM_RATE, "mean": halves(mean), "basis": halves(basis)}
    certainty, strangeness = energy(validation_logits), residual(rule, validation)
    low, high = 0.0, ALARM_RATE
    for _ in range(30):
        level = (low + high) / 2
        rule["energy_min"] = float(np.quantile(certainty, level))
        rule["residual_max"] = float(np.quantile(strangeness, 1 - level))
        if _beyond(rule, certainty, strangeness).mean() > ALARM_RATE:
            high = level
        else:
            low = level
    return rule


def object_share(images: np.ndarray) -> float:
    """How much of the side objects on a dark background take: the median over uint8 images [n, c, h, w], in (0, 1]."""
    shown = images.max(axis=1) > VISIBLE
    longest = np.maximum(_extent(shown.any(axis=1)), _extent(shown.any(axis=2)))
    return float(np.median(longest) / images.shape[-1]) or 1.0


def residual(rule: dict[str, Any], images: np.ndarray) -> np.ndarray:
    """Squared distance of each picture's coarse look from the data's principal components, float64 [n]."""
    mean, basis = _unpack(rule["mean"]), _unpack(rule["basis"]).reshape(-1, GRID * GRID)
    centred = coarse(images) - mean
    return (centred**2).sum(axis=1) - ((centred @ basis.T) ** 2).sum(axis=1)


def is_novel(rule: dict[str, Any], images: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Which pictures (uint8 [n, c, h, w], with their logits) are unlike the data, bool [n]."""
    return _beyond(rule, energy(logits), residual(rule, images))


def halves(values: np.ndarray) -> str:
    """Numbers as float16 in base64, in C order."""
    return base64.b64encode(values.astype("<f2").tobytes()).decode()


def _beyond(rule: dict[str, Any], certainty: np.ndarray, strangeness: np.ndarray) -> np.ndarray:
    """Where a score lies beyond its limit, bool [n]."""
    return (certainty < rule["energy_min"]) | (strangeness > rule["residual_max"])


def _extent(occupied: np.ndarray) -> np.ndarray:
    """From the first to the last True of each row of a bool [n, side], in pixels; 0 where there is none."""
    side = occupied.shape[1]
    first, last = occupied.argmax(axis=1), side - occupied[:, ::-1].argmax(axis=1)
    return np.where(occupied.any(axis=1), last - first, 0)


def _averaging(size: int) -> np.ndarray:
    """Weights [14, size] that average `size` pixels over 14 equal cells, shared pixels by their overlap."""
    edges = np.linspace(0, size, GRID + 1)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.clip(overlap, 0, None) * (GRID / size)).astype(np.float32)


def _principal_components(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] and the leading orthonormal components [k, d], each with its largest entry positive."""
    mean = rows.mean(axis=0)
    centred = rows - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    basis = vectors.T[::-1][: min(COMPONENTS, max(1, len(rows) // ROWS_PER_COMPONENT))]
    largest = np.abs(basis).argmax(axis=1)
    return mean, basis * np.sign(basis[np.arange(len(basis)), largest])[:, None]


def _unpack(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f2").astype(np.float64)
