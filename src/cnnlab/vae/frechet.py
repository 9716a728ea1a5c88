"""The Fréchet distance between two sets of features, each taken for a Gaussian (Dowson and Landau 1982).

Heusel et al. 2017 take the features of an Inception network and call it FID; here they are those of our own network, so
the figures compare with one another and with nothing else.
"""

import numpy as np


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½) of features [n, d] and [m, d]; never negative."""
    (mean_1, cov_1), (mean_2, cov_2) = _moments(first), _moments(second)
    values, vectors = np.linalg.eigh(cov_1)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    crossed = np.linalg.eigvalsh(root @ cov_2 @ root)
    distance = ((mean_1 - mean_2) ** 2).sum() + np.trace(cov_1) + np.trace(cov_2)
    return max(0.0, float(distance - 2 * np.sqrt(np.clip(crossed, 0, None)).sum()))


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] and covariance [d, d] in float64."""
    rows = features.astype(np.float64)
    mean = rows.mean(axis=0)
    return mean, (rows - mean).T @ (rows - mean) / max(1, len(rows) - 1)
