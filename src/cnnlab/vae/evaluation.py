"""All figures of an exported VAE on the test set, and what had to be left out."""

from typing import Any

import numpy as np

from cnnlab.artifacts import Split
from cnnlab.data.split import choose
from cnnlab.inference import Model
from cnnlab.vae.codec import Decoder, Encoder
from cnnlab.vae.frechet import frechet_distance
from cnnlab.vae.latent import prior
from cnnlab.vae.measure import bounds, confidence_figures, neighbour_accuracy, reconstruction_errors

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
    seed: int,
) -> tuple[dict[str, Any], list[str]]:
    """Flat figures and notes on what was left out.

    judge: mynet's features file, trained on the same pictures; None where there is no such classifier. Training pictures
    serve as neighbours and as the reference of the Fréchet distances; everything else is of the test set.
    """
    figures: dict[str, Any] = {"seed": seed}
    figures |= bounds(encoder, decoder, test.images, bound_pictures=bound_pictures, seed=seed)
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
        z = prior(max(JUDGED, FRECHET_PICTURES), int(decoder.meta["z_dim"]), np.random.default_rng(seed))
        figures |= judged(judge, decoder.images(z), rebuilt, train.images, test.images, seed)
    return figures, notes


def judged(
    judge: Model, samples: np.ndarray, rebuilt: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int
) -> dict[str, Any]:
    """What a classifier makes of samples, reconstructions (of all test pictures) and real pictures, uint8 [n, c, h, w].

    Confidence is the calibrated probability of the likeliest class. Every Fréchet distance is to the same training
    pictures, with as many pictures in each set; that of test pictures is the reference.
    """
    count = min(FRECHET_PICTURES, len(samples), len(train), len(test))
    drawn = _some(len(test), count, seed)
    sets = {"samples": samples[:count], "reconstructions": rebuilt[drawn], "test_pictures": test[drawn]}
    _, reference = _look(judge, train[_some(len(train), count, seed)])
    figures: dict[str, Any] = {"mynet_frechet_n": count}
    for name, images in sets.items():
        probabilities, features = _look(judge, images)
        figures[f"mynet_frechet_{name}"] = frechet_distance(reference, features)
        if name != "reconstructions":
            figures |= confidence_figures(probabilities[:JUDGED], f"mynet_{name}")
            figures[f"mynet_{name}_n"] = len(probabilities[:JUDGED])
    return figures


def _look(judge: Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A classifier's calibrated probabilities [n, classes] and features [n, d]."""
    parts = list(judge.outputs(images, ("logits", TAP)))
    logits, features = (np.concatenate([part[name] for part in parts]) for name in ("logits", TAP))
    return judge.probabilities(logits), features.reshape(len(features), -1)


def _some(total: int, count: int, seed: int) -> np.ndarray:
    """At most `count` indices below `total`, sorted, drawn with `seed`."""
    return np.sort(choose(np.random.default_rng(seed), total, min(count, total)))
