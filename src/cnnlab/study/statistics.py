"""Means over seeds, differences paired by seed, and their tests. No torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

FEWEST = (
    3  # pairs from which an interval or a p-value is given; with two, Student's interval is wider than any accuracy
)


def mean_and_spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """NAME_mean and NAME_std, the sample's standard deviation, of at least two values."""
    return {f"{name}_mean": float(np.mean(values)), f"{name}_std": float(np.std(values, ddof=1))}


def paired_difference(variant: Sequence[float], baseline: Sequence[float]) -> dict[str, float]:
    """The mean difference of runs paired by seed and, from three pairs on, its 95 % interval and p-value.

    By Student's t; keys mean, low, high, p. Equal differences have no spread: the interval has no width then.
    """
    differences = np.subtract(variant, baseline)
    mean = float(differences.mean())
    if len(differences) < FEWEST:
        return {"mean": mean}
    if np.ptp(differences) == 0:
        return {"mean": mean, "low": mean, "high": mean, "p": 1.0 if mean == 0 else 0.0}
    test: Any = stats.ttest_1samp(differences, 0)
    low, high = test.confidence_interval(0.95)
    return {"mean": mean, "low": float(low), "high": float(high), "p": float(test.pvalue)}


def mcnemar(variant_hits: np.ndarray, baseline_hits: np.ndarray) -> dict[str, float | int]:
    """McNemar's exact test of two networks on the same pictures; hits bool [n].

    Counts the pictures that only one of the two has right (McNemar 1947); p is the two-sided binomial probability of so
    uneven a count. It compares these two networks alone and says nothing about other seeds.
    """
    only_variant = int((variant_hits & ~baseline_hits).sum())
    only_baseline = int((baseline_hits & ~variant_hits).sum())
    discordant = only_variant + only_baseline
    p = float(stats.binomtest(only_variant, discordant).pvalue) if discordant else 1.0
    return {"only_variant": only_variant, "only_baseline": only_baseline, "p": p}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment of p-values for their number (Holm 1979), in the order given."""
    ordered = sorted(p_values, key=lambda name: p_values[name])
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}
