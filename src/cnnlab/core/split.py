"""Seeded, stratified splits."""

import math

import numpy as np

from cnnlab.core.errors import UserError


def stratified_split(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split indices by class: `share` of each, rounded, goes to the second part, at least one to each part.

    `labels` is integer [n]; returns the indices of the training and of the validation pictures, both sorted,
    int64. The same labels, share and seed give the same split on every machine. Raises UserError for a share
    outside (0, 1) and for a class of fewer than two pictures.
    """
    if not 0 < share < 1:
        raise UserError(f"a validation share of {share} is not possible: it must be between 0 and 1.")
    labels = np.asarray(labels)
    generator = np.random.Generator(np.random.PCG64(seed))
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise UserError(f"class {label} has one picture: splitting needs two or more of each class.")
        count = min(max(math.floor(share * len(members) + 0.5), 1), len(members) - 1)
        held_out[members[choose(generator, len(members), count)]] = True
    return np.flatnonzero(~held_out).astype(np.int64), np.flatnonzero(held_out).astype(np.int64)


def choose(generator: np.random.Generator, n: int, count: int) -> np.ndarray:
    """`count` different indices below `n`, in random order."""
    # Sorting plain draws keeps to the part of NumPy's stream that stays the same from release to release.
    return np.argsort(generator.random(n), kind="stable")[:count]
