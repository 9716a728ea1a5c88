"""Means over seeds, differences of two runs, and their tests. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

# Pairs from which an interval or a p-value is given; with two, Student's interval is wider than any accuracy.
FEWEST = 3


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and degrees of freedom, for Student's t.

    n: the seeds of the smaller sample. wins: how often a run of the first kind beats one of the second, ties half;
    None where nothing is compared.
    """

    mean: float
    error: float
    df: float
    n: int
    wins: float | None = None

    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval."""
        reach = float(stats.t.ppf(0.975, self.df)) * self.error
        return self.mean - reach, self.mean + reach

    def p_beyond(self, threshold: float, above: bool) -> float:
        """The two-sided p-value of the threshold, where the mean lies on the side asked for; else 1.

        Also 1 without any spread: equal values come of a figure that is too coarse, or of runs that all failed, and
        tell nothing of the error.
        """
        distance = self.mean - threshold if above else threshold - self.mean
        if distance <= 0 or self.n < FEWEST or self.error == 0:
            return 1.0
        return float(2 * stats.t.sf(distance / self.error, self.df))


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of one sample; a single value has no error, and from fewer than three nothing follows."""
    n = len(values)
    error = float(np.std(values, ddof=1)) / n**0.5 if n > 1 else 0.0
    return Estimate(float(np.mean(values)), error, n - 1, n)


def paired(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """The mean difference of runs that share seeds, with the share of seeds in which the first is higher.

    The share estimates P(A > B), as Bouthillier et al. 2021 advise ("Accounting for variance in machine learning
    benchmarks", section 4).
    """
    differences = np.subtract(first, second)
    found = estimate(differences.tolist())
    return replace(found, wins=float((np.sign(differences) / 2 + 0.5).mean()))


def unpaired(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """The difference of means by Welch 1947, for networks that share neither weights nor draws.

    wins is the share of all pairs of runs in which the first is higher (Mann and Whitney 1947).
    """
    parts = [estimate(values).error ** 2 for values in (first, second)]
    error = sum(parts) ** 0.5
    weights = sum(part**2 / max(1, len(values) - 1) for part, values in zip(parts, (first, second), strict=True))
    df = sum(parts) ** 2 / weights if weights else float(min(len(first), len(second)) - 1)
    wins = float((np.sign(np.subtract.outer(first, second)) / 2 + 0.5).mean())
    return Estimate(float(np.mean(first) - np.mean(second)), error, df, min(len(first), len(second)), wins)


def mean_and_spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """NAME_mean and NAME_std, the sample's standard deviation, of at least two values."""
    return {f"{name}_mean": float(np.mean(values)), f"{name}_std": float(np.std(values, ddof=1))}


def paired_difference(variant: Sequence[float], baseline: Sequence[float]) -> dict[str, float]:
    """The mean difference of runs paired by seed and, from three pairs on, its 95 % interval and p-value.

    By Student's t; keys mean, low, high, p. Equal differences have an interval without width and a p of 1, since they
    tell nothing of the error.
    """
    found = paired(variant, baseline)
    if found.n < FEWEST:
        return {"mean": found.mean}
    low, high = found.interval()
    return {"mean": found.mean, "low": low, "high": high, "p": found.p_beyond(0, found.mean > 0)}


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
