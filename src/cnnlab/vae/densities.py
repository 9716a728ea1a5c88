"""Densities of codes, to draw pictures from: the prior, and what is fitted to the codes after training. NumPy."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CODES_PER_GAUSSIAN, LEAST_CODES = 20, 2  # of a mixture, times z_dim: on average, and for its smallest
LONGEST_FIT = 50  # rounds of expectation and maximisation


@dataclass(frozen=True)
class Gaussian:
    """A multivariate normal: mean float64 [z_dim] and the lower Cholesky factor of its covariance [z_dim, z_dim]."""

    mean: np.ndarray
    factor: np.ndarray

    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draws, float64 [n, z_dim]."""
        return self.mean + generator.standard_normal((n, len(self.mean))) @ self.factor.T

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Logarithm of the density at codes [n, z_dim], in nats: float64 [n]."""
        steps = np.linalg.solve(self.factor, (z - self.mean).T)
        size = np.log(np.diag(self.factor)).sum() + 0.5 * len(self.mean) * np.log(2 * np.pi)
        return -0.5 * (steps**2).sum(axis=0) - size


@dataclass(frozen=True)
class Prior:
    """What the codes are trained to fill: a mixture of Gaussians without covariances; a single one is N(0, I).

    weights: float64 [k], which sum to 1; mean, logvar: float64 [k, z_dim], means and logarithms of variances.
    """

    weights: np.ndarray
    mean: np.ndarray
    logvar: np.ndarray

    @property
    def is_standard(self) -> bool:
        """Whether it is N(0, I)."""
        return len(self.mean) == 1 and not self.mean.any() and not self.logvar.any()

    @property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each dimension, float64 [z_dim]."""
        mean = self.weights @ self.mean
        return mean, np.sqrt(self.weights @ (np.exp(self.logvar) + (self.mean - mean) ** 2))

    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draws, float64 [n, z_dim], in random order."""
        noise = generator.standard_normal((n, self.mean.shape[1]))
        if self.is_standard:
            return noise
        chosen = generator.choice(len(self.weights), n, p=self.weights)
        return self.mean[chosen] + np.exp(0.5 * self.logvar[chosen]) * noise

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Logarithm of the density at codes [n, z_dim], in nats: float64 [n]."""
        return log_mixture(z.astype(np.float64), np.log(self.weights), self.mean, self.logvar, np)


def log_mixture(z: Any, log_weights: Any, mean: Any, logvar: Any, xp: Any) -> Any:
    """Log density of a mixture of Gaussians without covariances at codes z [n, z_dim]: [n]; xp is numpy or torch.

    log_weights [k]; mean, logvar [k, z_dim].
    """
    precision = xp.exp(-logvar)
    sizes = (mean**2 * precision + logvar + math.log(2 * math.pi)).sum(1)
    parts = log_weights - 0.5 * (z**2 @ precision.T - 2 * z @ (mean * precision).T + sizes)  # [n, k]
    top = xp.amax(parts, 1)
    return top + xp.log(xp.exp(parts - top[:, None]).sum(1))


@dataclass(frozen=True)
class Mixture:
    """Gaussians and the weight of each, float64 [k], which are positive and sum to 1."""

    weights: np.ndarray
    gaussians: Sequence[Gaussian]

    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draws, float64 [n, z_dim], in random order."""
        chosen = generator.choice(len(self.weights), n, p=self.weights)
        z = np.empty((n, len(self.gaussians[0].mean)))
        for index, gaussian in enumerate(self.gaussians):
            own = chosen == index
            z[own] = gaussian.sample(int(own.sum()), generator)
        return z

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Logarithm of the density at codes [n, z_dim], in nats: float64 [n]."""
        parts = [np.log(w) + g.log_density(z) for w, g in zip(self.weights, self.gaussians, strict=True)]
        top = np.max(parts, axis=0)
        return top + np.log(np.exp(parts - top).sum(axis=0))


def fit_gaussian(mean: np.ndarray, logvar: np.ndarray) -> Gaussian:
    """The Gaussian with the moments of the aggregate posterior of pictures; mean, logvar: [n, z_dim], the posteriors.

    By the law of total variance its covariance is that of the means plus the mean of the variances. (The mixture of
    the posteriors, as in Hoffman and Johnson 2016, section 2, with one Gaussian in its place.)
    """
    centres = mean.astype(np.float64)
    centre = centres.mean(axis=0)
    covariance = (centres - centre).T @ (centres - centre) / len(centres)
    covariance += np.diag(np.exp(logvar.astype(np.float64)).mean(axis=0))
    return Gaussian(centre, np.linalg.cholesky(covariance))


def fit_gaussians(mean: np.ndarray, logvar: np.ndarray, labels: np.ndarray, classes: int) -> list[Gaussian]:
    """`fit_gaussian` for each class; labels: integer [n]."""
    return [fit_gaussian(mean[labels == label], logvar[labels == label]) for label in range(classes)]


def fit_mixture(mean: np.ndarray, logvar: np.ndarray, labels: np.ndarray, components: int, seed: int) -> Mixture:
    """A mixture fitted to codes drawn from the posteriors mean, logvar [n, z_dim], one of each picture.

    It is near the aggregate posterior, which is the prior under which the evidence lower bound would be largest with
    encoder and decoder held fixed (Hoffman and Johnson 2016, section 2). To fit a density after training is Ghosh et
    al. 2020, "From variational to deterministic autoencoders", section 4. Each of the labels [n] has its share of the
    weight and at most `components` Gaussians, fewer if it has few codes.
    """
    codes = mean + np.exp(0.5 * logvar) * np.random.default_rng(seed).standard_normal(mean.shape)
    parts = []
    for label in np.unique(labels):
        own = labels == label
        fitted = _fit_components(codes[own].astype(np.float64), components, seed)
        parts.append((own.mean(), fitted or Mixture(np.ones(1), [fit_gaussian(mean[own], logvar[own])])))
    weights = np.concatenate([share * part.weights for share, part in parts])
    return Mixture(weights, [gaussian for _, part in parts for gaussian in part.gaussians])


def _fit_components(codes: np.ndarray, components: int, seed: int) -> Mixture | None:
    """At most that many Gaussians by expectation-maximisation; None if there are codes [n, z_dim] for only one."""
    from sklearn.mixture import GaussianMixture  # takes a second to import

    n, z_dim = codes.shape
    for count in range(min(components, n // (CODES_PER_GAUSSIAN * z_dim)), 1, -1):
        fit = GaussianMixture(count, init_params="k-means++", max_iter=LONGEST_FIT, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the last round still moved it a little
            fit.fit(codes)
        weights = np.asarray(fit.weights_)
        if weights.min() * n < LEAST_CODES * z_dim:
            continue  # one has shrunk to a few codes
        factors = np.linalg.cholesky(np.asarray(fit.covariances_))
        return Mixture(weights, [Gaussian(*pair) for pair in zip(np.asarray(fit.means_), factors, strict=True)])
    return None
