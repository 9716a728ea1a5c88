"""A VAE's figures on pictures that it has not seen, through the exported files: NumPy, no torch. Nats a picture."""

from typing import Any

import numpy as np
from tqdm import tqdm

from cnnlab.vae.codec import Decoder, Encoder
from cnnlab.vae.densities import Prior
from cnnlab.vae.likelihoods import leaves_padding_out, log_likelihood, pixel_entropy

CHUNK = 1000  # pictures decoded at a time
DRAWS = 50  # of the code for each picture of the importance-weighted bound that are decoded at a time
ACTIVE_VARIANCE = 0.01
NEIGHBOURS = 10
SURE = 0.8  # a judge's probability above which it counts as confident


def bounds(
    encoder: Encoder, decoder: Decoder, images: np.ndarray, *, bound_pictures: int, draws: int = DRAWS, seed: int
) -> dict[str, float | int]:
    """The loss (reconstruction + KL), its two parts and the importance-weighted loss, of uint8 pictures [n, c, h, w].

    One draw of the code for each picture, `draws` for each of the first `bound_pictures` of a seeded order; for these
    also the loss of one draw, which is what to compare with. With meta["binarize"] the pictures are first drawn as
    zeros and ones. The loss is a negative evidence lower bound of zeros and ones, and of grey values under a density.
    Under a Bernoulli likelihood grey values have no probability: there it is a cross-entropy + KL and no evidence, and
    the figures have its floor, and by how much the reconstruction and the whole pass it.
    """
    generator = np.random.default_rng(seed)
    shown = binarised(images, generator) if decoder.meta["binarize"] else images
    mean, logvar = encoder.codes(shown)
    z = mean + np.exp(0.5 * logvar) * generator.standard_normal(mean.shape, dtype=np.float32)
    reconstructions = -np.concatenate(
        [
            _log_likelihood(decoder, shown[start : start + CHUNK], z[start : start + CHUNK])
            for start in range(0, len(shown), CHUNK)
        ]
    )
    reconstruction = reconstructions.mean()
    departures = divergences(decoder.prior, z, mean, logvar)
    kl = float(departures.mean())
    mixture_kl = float((_log_posterior(z, mean, logvar) - decoder.mixture().log_density(z)).mean())
    some = np.sort(generator.permutation(len(shown))[:bound_pictures])
    figures: dict[str, float | int] = {
        "loss": reconstruction + kl,
        "reconstruction": float(reconstruction),
        "kl": kl,
        "mixture_kl": mixture_kl,
        "mixture_loss": float(reconstruction) + mixture_kl,
        "importance_weighted_loss": -float(
            importance_weighted_bound(decoder, shown[some], mean[some], logvar[some], generator, draws).mean()
        ),
        "importance_weighted_draws": draws,
        "importance_weighted_n": len(some),
        "importance_weighted_plain_loss": float(reconstructions[some].mean() + departures[some].mean()),
        "active_units": int((mean.var(axis=0) > ACTIVE_VARIANCE).sum()),
        "n": len(images),
    }
    if decoder.meta["likelihood"] == "bernoulli" and not decoder.meta["binarize"]:
        floor = pixel_entropy(images)
        figures |= {"floor": floor, "reconstruction_over_floor": float(reconstruction) - floor}
        figures |= {"loss_over_floor": figures["loss"] - floor}
    return figures


def binarised(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Each pixel 255 with a probability of its grey value, else 0 (Salakhutdinov and Murray 2008, section 6)."""
    ones = generator.random(images.shape, dtype=np.float32) < images / np.float32(255)
    return ones.astype(np.uint8) * np.uint8(255)


def kl_by_dimension(prior: Prior, mean: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """KL divergence of each picture's posterior from a Gaussian with the prior's moments: float64 [n, z_dim].

    mean, logvar: [n, z_dim]. Where the prior is N(0, I), it is that Gaussian.
    """
    mean, logvar = mean.astype(np.float64), logvar.astype(np.float64)
    centre, deviation = prior.moments
    return 0.5 * (((mean - centre) ** 2 + np.exp(logvar)) / deviation**2 - logvar + 2 * np.log(deviation) - 1)


def divergences(prior: Prior, z: np.ndarray, mean: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """KL divergence of each picture's posterior from the prior, float64 [n]; of a learned one from one draw z each."""
    if prior.is_standard:
        return kl_by_dimension(prior, mean, logvar).sum(axis=1)
    return _log_posterior(z, mean, logvar) - prior.log_density(z)


def _log_posterior(z: np.ndarray, mean: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """log q(z | x) of draws z [..., n, z_dim] for each picture, mean and logvar [n, z_dim]: float64 [..., n]."""
    steps = (z - mean) ** 2 / np.exp(logvar) + logvar + np.log(2 * np.pi)
    return -0.5 * steps.sum(axis=-1, dtype=np.float64)


def importance_weighted_bound(
    decoder: Decoder,
    images: np.ndarray,
    mean: np.ndarray,
    logvar: np.ndarray,
    generator: np.random.Generator,
    draws: int = DRAWS,
) -> np.ndarray:
    """log of the mean of `draws` importance weights for each picture (Burda, Grosse and Salakhutdinov 2016, eq. 8).

    float64 [n].
    """
    bound = np.empty(len(images))
    step = max(1, CHUNK // min(draws, DRAWS))
    counts = [min(DRAWS, draws - done) for done in range(0, draws, DRAWS)]
    for start in tqdm(range(0, len(images), step), desc="importance-weighted bound", disable=None):
        part = slice(start, start + step)
        weights = [_log_weights(decoder, images[part], mean[part], logvar[part], generator, count) for count in counts]
        bound[part] = np.logaddexp.reduce(np.concatenate(weights), axis=0) - np.log(draws)
    return bound


def _log_weights(
    decoder: Decoder,
    images: np.ndarray,
    mean: np.ndarray,
    logvar: np.ndarray,
    generator: np.random.Generator,
    draws: int,
) -> np.ndarray:
    """log p(x | z) + log p(z) − log q(z | x) of so many draws of the code for each picture: float64 [draws, n]."""
    noise = generator.standard_normal((draws, *mean.shape), dtype=np.float32)
    z = mean + np.exp(0.5 * logvar) * noise  # [draws, pictures, z_dim]
    codes = z.reshape(-1, z.shape[-1])
    likelihood = _log_likelihood(decoder, np.tile(images, (draws, 1, 1, 1)), codes) + decoder.prior.log_density(codes)
    return likelihood.reshape(draws, -1) - _log_posterior(z, mean, logvar)


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


def confidence_figures(probabilities: np.ndarray, name: str) -> dict[str, float]:
    """Of a classifier's answers [n, classes]: how many pass SURE; the rarest class's share of all, of those."""
    classes = probabilities.shape[1]
    predicted, sure = probabilities.argmax(axis=1), probabilities.max(axis=1) > SURE
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
    logits = decoder.logits(z)
    if leaves_padding_out(meta["likelihood"]):
        logits = logits[:, :, top : logits.shape[2] - bottom, left : logits.shape[3] - right]
    else:
        images = np.pad(images, ((0, 0), (0, 0), (top, bottom), (left, right)))
    pixels, scale = images / np.float32(255), np.float32(meta["log_scale"])
    values = log_likelihood(meta["likelihood"], logits, pixels, scale, np)
    return values.sum(axis=(1, 2, 3), dtype=np.float64)
