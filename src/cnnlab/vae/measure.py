"""A VAE's figures on pictures that it has not seen, through the exported files: NumPy, no torch. Nats a picture."""

from typing import Any

import numpy as np

from cnnlab.vae.codec import Decoder, Encoder
from cnnlab.vae.likelihoods import log_likelihood, pixel_entropy

CHUNK = 1000  # pictures decoded at a time
DRAWS = 50  # of the code for each picture in the importance-weighted bound
ACTIVE_VARIANCE = 0.01
NEIGHBOURS = 10


def bounds(
    encoder: Encoder, decoder: Decoder, images: np.ndarray, *, bound_pictures: int, seed: int
) -> dict[str, float | int]:
    """The evidence lower bound, its two parts and the importance-weighted bound, of uint8 pictures [n, c, h, w].

    One draw of the code for each picture, 50 for each of the first `bound_pictures` of a seeded order. With
    meta["binarize"] the pictures are first drawn as zeros and ones. For grey values under a Bernoulli likelihood also
    the floor of the cross-entropy, and by how much the reconstruction and the whole pass it.
    """
    generator = np.random.default_rng(seed)
    shown = binarised(images, generator) if decoder.meta["binarize"] else images
    mean, logvar = encoder.codes(shown)
    z = mean + np.exp(0.5 * logvar) * generator.standard_normal(mean.shape, dtype=np.float32)
    reconstruction = -np.concatenate(
        [
            _log_likelihood(decoder, shown[start : start + CHUNK], z[start : start + CHUNK])
            for start in range(0, len(shown), CHUNK)
        ]
    ).mean()
    kl = float(kl_by_dimension(mean, logvar).sum())
    mixture_kl = float((_log_posterior(z, mean, logvar) - decoder.mixture().log_density(z)).mean())
    some = np.sort(generator.permutation(len(shown))[:bound_pictures])
    figures: dict[str, float | int] = {
        "elbo": -(reconstruction + kl),
        "negative_elbo": reconstruction + kl,
        "reconstruction": float(reconstruction),
        "kl": kl,
        "mixture_kl": mixture_kl,
        "mixture_negative_elbo": float(reconstruction) + mixture_kl,
        "importance_weighted_bound": float(
            importance_weighted_bound(decoder, shown[some], mean[some], logvar[some], generator).mean()
        ),
        "importance_weighted_draws": DRAWS,
        "importance_weighted_n": len(some),
        "active_units": int((mean.var(axis=0) > ACTIVE_VARIANCE).sum()),
        "n": len(images),
    }
    if decoder.meta["likelihood"] == "bernoulli" and not decoder.meta["binarize"]:
        floor = pixel_entropy(images)
        figures |= {"floor": floor, "reconstruction_over_floor": float(reconstruction) - floor}
        figures |= {"negative_elbo_over_floor": figures["negative_elbo"] - floor}
    return figures


def binarised(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Each pixel 255 with a probability of its grey value, else 0 (Salakhutdinov and Murray 2008, section 6)."""
    ones = generator.random(images.shape, dtype=np.float32) < images / np.float32(255)
    return ones.astype(np.uint8) * np.uint8(255)


def kl_by_dimension(mean: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """KL divergence of the posteriors from N(0, I), the mean over pictures for each dimension: float64 [z_dim]."""
    mean, logvar = mean.astype(np.float64), logvar.astype(np.float64)
    return 0.5 * (mean**2 + np.exp(logvar) - logvar - 1).mean(axis=0)


def _log_posterior(z: np.ndarray, mean: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """log q(z | x) of one draw z for each picture, [n, z_dim] each: float64 [n]."""
    steps = (z - mean) ** 2 / np.exp(logvar) + logvar + np.log(2 * np.pi)
    return -0.5 * steps.sum(axis=1, dtype=np.float64)


def importance_weighted_bound(
    decoder: Decoder, images: np.ndarray, mean: np.ndarray, logvar: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """log of the mean of 50 importance weights for each picture (Burda, Grosse and Salakhutdinov 2016, eq. 8), [n]."""
    bound = np.empty(len(images))
    step = max(1, CHUNK // DRAWS)
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        noise = generator.standard_normal((DRAWS, *mean[part].shape), dtype=np.float32)
        z = mean[part] + np.exp(0.5 * logvar[part]) * noise  # [draws, pictures, z_dim]
        likelihood = _log_likelihood(decoder, np.tile(images[part], (DRAWS, 1, 1, 1)), z.reshape(-1, z.shape[-1]))
        # log p(z) − log q(z | x): the constants of the two Gaussians cancel.
        ratio = 0.5 * (noise**2 + logvar[part] - z**2).sum(axis=-1, dtype=np.float64)
        weights = likelihood.reshape(DRAWS, -1) + ratio
        top = weights.max(axis=0)
        bound[part] = top + np.log(np.exp(weights - top).mean(axis=0))
    return bound


def reconstruction_errors(images: np.ndarray, reconstructions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each picture's mean squared error, of pixels in [0, 1], and peak signal-to-noise ratio in dB; uint8 in."""
    difference = images.astype(np.float32) - reconstructions
    errors = (difference**2).mean(axis=(1, 2, 3), dtype=np.float64) / 255**2
    return errors, -10 * np.log10(np.maximum(errors, 1e-10))


def neighbour_accuracy(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """How often the majority of a test code's 10 nearest training codes has its label; codes [n, z_dim]."""
    from sklearn.neighbors import KNeighborsClassifier  # takes a second to import

    neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(train)), algorithm="brute").fit(train, train_labels)
    return float(neighbours.score(test, test_labels))


def confidence_figures(probabilities: np.ndarray, name: str, limit: float = 0.8) -> dict[str, float]:
    """Of a classifier's answers [n, classes]: how many pass the limit; the rarest class's share of all, of those."""
    classes = probabilities.shape[1]
    predicted, sure = probabilities.argmax(axis=1), probabilities.max(axis=1) > limit
    among_sure = np.bincount(predicted[sure], minlength=classes).min() / max(1, sure.sum())
    return {
        f"{name}_confident": float(sure.mean()),
        f"{name}_rarest_class": float(np.bincount(predicted, minlength=classes).min() / len(predicted)),
        f"{name}_rarest_class_of_confident": float(among_sure),
    }


def _log_likelihood(decoder: Decoder, images: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log p(x | z) of each picture, float64 [n]."""
    meta: dict[str, Any] = decoder.meta
    left, right, top, bottom = meta["borders"]
    pixels = np.pad(images, ((0, 0), (0, 0), (top, bottom), (left, right))) / np.float32(255)
    scale = np.float32(meta["log_scale"])
    values = log_likelihood(meta["likelihood"], decoder.logits(z), pixels, scale, np)
    return values.sum(axis=(1, 2, 3), dtype=np.float64)
