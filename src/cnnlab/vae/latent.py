"""Ways through the code space: plain NumPy."""

from statistics import NormalDist

import numpy as np


def straight(first: np.ndarray, second: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """z = α·first + (1 − α)·second for each α, [len(alphas), z_dim]."""
    weights = np.asarray(alphas)[:, None]
    return weights * first + (1 - weights) * second


def spherical(first: np.ndarray, second: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """The same along the great circle (Shoemake 1985, section 3.3), lengths going over from one to the other.

    In many dimensions draws from N(0, I) lie near a sphere, which a straight line leaves (White 2016, section 2.2).
    Falls back to the straight line where the directions are the same or opposite, or a code is zero.
    """
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    if min(lengths) == 0:
        return straight(first, second, alphas)
    cosine = float(np.clip(first @ second / (lengths[0] * lengths[1]), -1, 1))
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-6:
        return straight(first, second, alphas)
    weights = np.asarray(alphas)[:, None]
    ahead, behind = np.sin(weights * angle), np.sin((1 - weights) * angle)
    direction = (ahead * first / lengths[0] + behind * second / lengths[1]) / np.sin(angle)
    return direction * (weights * lengths[0] + (1 - weights) * lengths[1])


def traversal(code: np.ndarray, dimensions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """One code with one dimension at a time set to each of its values [dimensions, n]: [dimensions, n, z_dim]."""
    codes = np.tile(code, (*values.shape, 1))
    for row, dimension in enumerate(dimensions):
        codes[row, :, dimension] = values[row]
    return codes


def manifold(side: int) -> np.ndarray:
    """A square grid in two dimensions, its steps equally likely under N(0, I): [side, side, 2], the first row on top.

    Kingma and Welling 2014, figure 4.
    """
    normal = NormalDist()
    values = np.array([normal.inv_cdf((index + 0.5) / side) for index in range(side)])
    columns, rows = np.meshgrid(values, values[::-1])
    return np.stack([columns, rows], axis=-1)
