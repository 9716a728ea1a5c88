"""Means over seeds, differences paired by seed, and what may be concluded from them. No torch."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special  # scipy.stats has all of this ready, and takes a second to import


def mean_and_spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """NAME_mean and NAME_std, the sample's standard deviation, of at least two values."""
    return {f"{name}_mean": float(np.mean(values)), f"{name}_std": float(np.std(values, ddof=1))}


def paired_difference(variant: Sequence[float], baseline: Sequence[float]) -> dict[str, float]:
    """Mean difference of runs paired by seed, its 95 % interval and p-value by Student's t; at least two pairs."""
    differences = np.subtract(variant, baseline)
    mean, error = float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))
    if error == 0:
        return {"mean": mean, "low": mean, "high": mean, "p": 1.0 if mean == 0 else 0.0}
    degrees = len(differences) - 1
    half = float(special.stdtrit(degrees, 0.975)) * error
    p = float(2 * special.stdtr(degrees, -abs(mean) / error))
    return {"mean": mean, "low": mean - half, "high": mean + half, "p": p}


def mcnemar(variant_hits: np.ndarray, baseline_hits: np.ndarray) -> dict[str, float | int]:
    """McNemar's exact test of two networks on the same pictures; hits bool [n].

    Counts the pictures that only one of the two has right (McNemar 1947); p is the two-sided binomial probability
    of so uneven a count. It knows nothing of the spread over seeds: it compares these two networks alone.
    """
    only_variant = int((variant_hits & ~baseline_hits).sum())
    only_baseline = int((baseline_hits & ~variant_hits).sum())
    discordant = only_variant + only_baseline
    p = min(1.0, 2 * float(special.bdtr(min(only_variant, only_baseline), discordant, 0.5)))
    return {"only_variant": only_variant, "only_baseline": only_baseline, "p": p}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment of p-values for their number (Holm 1979), in the order given."""
    ordered = sorted(p_values, key=lambda name: p_values[name])
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}
