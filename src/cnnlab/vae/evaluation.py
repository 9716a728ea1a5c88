"""All figures of an exported VAE on the test set, and what had to be left out."""

from typing import Any

import numpy as np

from cnnlab.core.datasets import Split
from cnnlab.core.split import choose
from cnnlab.inference import Model
from cnnlab.vae.codec import Decoder, Encoder
from cnnlab.vae.densities import Mixture
from cnnlab.vae.frechet import frechet_distance
from cnnlab.vae.measure import DRAWS, bounds, confidence_figures, neighbour_accuracy, reconstruction_errors

JUDGED = 1000  # samples and test pictures that the classifier looks at
FRECHET_PICTURES = 5000  # in each set
NEIGHBOUR_PICTURES = 20_000  # training codes among which neighbours are sought
TAP = "fc1"  # of mynet: its first fully connected layer, 512 features


def evaluate(
    encoder: Encoder,
    decoder: Decoder,
    train: Split,
    test: Split,
    judge: Model | None,
    *,
    bound_pictures: int,
    draws: int = DRAWS,
    seed: int,
) -> tuple[dict[str, Any], list[str]]:
    """Flat figures and notes on what was left out.

    judge: mynet's features file, trained on the same pictures; None where there is no such classifier. Training
    pictures serve as neighbours and as the reference of the Fréchet distances; everything else is of the test set.
    """
    figures: dict[str, Any] = {"seed": seed}
    figures |= bounds(encoder, decoder, test.images, bound_pictures=bound_pictures, draws=draws, seed=seed)
    mean, _ = encoder.codes(test.images)
    errors, ratios = reconstruction_errors(test.images, rebuilt := decoder.images(mean))
    figures |= {"mse": float(errors.mean()), "psnr_db": float(ratios.mean())}
    notes = []
    if decoder.class_names:
        some = _some(len(train.labels), NEIGHBOUR_PICTURES, seed)
        codes, _ = encoder.codes(train.images[some])
        figures["neighbour_accuracy"] = neighbour_accuracy(codes, train.labels[some], mean, test.labels)
        figures["neighbour_n_train"] = len(some)
    else:
        notes.append(f"{decoder.meta['dataset']} has no labels: no accuracy of neighbours, no samples of classes.")
    if judge is None or judge.shape != tuple(decoder.meta["shape"]):
        notes.append(
            f"there is no classifier of {decoder.meta['dataset']} here: no confidence of samples, no Fréchet distances."
        )
    else:
        figures |= judged(judge, *_sets(decoder, rebuilt, train.images, test.images, seed))
    return figures, notes


def judged(judge: Model, sets: dict[str, np.ndarray], reference: np.ndarray) -> dict[str, Any]:
    """What a classifier makes of sets of pictures, each uint8 [n, c, h, w] and in random order.

    Confidence is the calibrated probability of the likeliest class, on the first 1,000; the Fréchet distance is from
    the reference pictures.
    """
    _, reference_features = _look(judge, reference)
    figures: dict[str, Any] = {"mynet_frechet_n": len(reference)}
    for name, images in sets.items():
        probabilities, features = _look(judge, images)
        figures[f"mynet_frechet_{name}"] = frechet_distance(reference_features, features)
        figures |= confidence_figures(probabilities[:JUDGED], f"mynet_{name}")
        figures[f"mynet_{name}_n"] = len(probabilities[:JUDGED])
    return figures


def _sets(
    decoder: Decoder, rebuilt: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """As many pictures of each kind: from the prior, from the mixture, from the classes' Gaussians, rebuilt, and real.

    Beside them as many training pictures, which the distances are from; that of the real ones is what to compare with.
    """
    count = min(FRECHET_PICTURES, len(train), len(test))
    generator = np.random.default_rng(seed)
    drawn = _some(len(test), count, seed)
    sets = {"samples": decoder.images(decoder.prior.sample(count, generator))}
    sets["mixture_samples"] = decoder.images(decoder.mixture().sample(count, generator))
    if classes := len(decoder.class_names):
        alike = Mixture(np.full(classes, 1 / classes), decoder.gaussians())
        sets["class_samples"] = decoder.images(alike.sample(count, generator))
    sets |= {"reconstructions": rebuilt[drawn], "test_pictures": test[drawn]}
    return sets, train[_some(len(train), count, seed)]


def _look(judge: Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A classifier's calibrated probabilities [n, classes] and features [n, d]."""
    parts = list(judge.outputs(images, ("logits", TAP)))
    logits, features = (np.concatenate([part[name] for part in parts]) for name in ("logits", TAP))
    return judge.probabilities(logits), features.reshape(len(features), -1)


def _some(total: int, count: int, seed: int) -> np.ndarray:
    """At most `count` indices below `total` in random order, drawn with `seed`."""
    return choose(np.random.default_rng(seed), total, min(count, total))
