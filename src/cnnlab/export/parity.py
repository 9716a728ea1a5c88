"""Does the exported file answer as torch does? Measured on pictures, at several batch sizes; a miss is an error."""

import copy

import numpy as np
import torch

from cnnlab.core.errors import UserError
from cnnlab.inference import Model
from cnnlab.models.classifier import Classifier
from cnnlab.models.summary import layer_table

TOLERANCE = 1e-4  # times max(1, |logit|)
CLEAR = 1e-4  # the winner must be the same wherever the top two differ by more
SMALL_BATCHES = (1, 3, 64)
SMALL_PICTURES = 200
TAP_PICTURES = 64
LARGE_BATCH_BYTES = 2e9  # of the largest layer's output, for the one large batch
TORCH_BATCH = 256


def check_parity(
    classifier: Classifier, lean: Model, features: Model, images: np.ndarray
) -> tuple[np.ndarray, dict[str, float | int]]:
    """The lean model's logits for uint8 images [n, c, h, w], and figures of how near both models come to torch.

    All pictures in one batch (fewer at a time where the largest layer would pass 2 GB), 200 of them at batch 1, 3 and
    64; the features file's logits and taps on 64. UserError where the winner or a logit differs.
    """
    # A copy with channels innermost, which is fastest; the classifier itself is left as it is.
    classifier = copy.deepcopy(classifier).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    expected = _torch_logits(classifier, images)
    logits = lean.logits(images, batch=large_batch(classifier))
    worst = _compare("the whole of validation in one batch", expected, logits)
    few = images[:SMALL_PICTURES]
    for batch in SMALL_BATCHES:
        small = lean.logits(few, batch=batch)
        worst = max(worst, _compare(f"batch {batch}", expected[: len(few)], small))
    few = images[:TAP_PICTURES]
    worst_features = _compare("the features file", expected[: len(few)], features.logits(few))
    worst_tap = _compare_taps(classifier, features, few)
    return logits, {
        "parity_pictures": len(images),
        "parity_largest_difference": worst,
        "parity_features_largest_difference": worst_features,
        "parity_taps_largest_difference": worst_tap,
    }


def large_batch(classifier: Classifier) -> int:
    """As many pictures as keep the largest layer's float32 output under 2 GB."""
    rows = layer_table(classifier.network, tuple(classifier.meta["shape"]))
    largest = 4 * max(int(np.prod(row.output_shape)) for row in rows)
    return max(1, int(LARGE_BATCH_BYTES // largest))


def _torch_logits(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        parts = [
            classifier(torch.from_numpy(np.array(images[start : start + TORCH_BATCH]))).numpy()
            for start in range(0, len(images), TORCH_BATCH)
        ]
    return np.concatenate(parts)


def difference(expected: np.ndarray, found: np.ndarray) -> float:
    """The largest difference, relative to max(1, |expected|); NaN where there is one."""
    return float((np.abs(expected - found) / np.maximum(1, np.abs(expected))).max())


def other_winners(expected: np.ndarray, found: np.ndarray, clear: float) -> int:
    """How many rows have their largest value elsewhere, of those whose top two expected values differ by more."""
    top = np.sort(expected, axis=1)
    sure = top[:, -1] - top[:, -2] > clear
    return int((expected.argmax(axis=1) != found.argmax(axis=1))[sure].sum())


def _compare(where: str, expected: np.ndarray, found: np.ndarray) -> float:
    """The largest difference of a logit; UserError where it or a clear winner is off."""
    worst, others = difference(expected, found), other_winners(expected, found, CLEAR)
    if others or not worst < TOLERANCE:  # a comparison with NaN is false
        raise UserError(
            f"the exported file does not answer as torch does ({where}): logits differ by up to "
            f"{worst:.2g} of max(1, |logit|), {TOLERANCE:g} is allowed, and {others} of {len(found)} "
            "pictures get another class; export with the versions in constraints.txt."
        )
    return worst


def _compare_taps(classifier: Classifier, features: Model, images: np.ndarray) -> float:
    """The largest difference of any tap, relative to its largest value; UserError where it is too large."""
    with torch.inference_mode():
        taps = {name: tap.numpy() for name, tap in classifier.taps(torch.from_numpy(np.array(images))).items()}
    (found,) = features.outputs(images, list(taps), batch=len(images))
    worst = 0.0
    for name, expected in taps.items():
        scale = max(1.0, float(np.abs(expected).max()))
        largest = float(np.abs(expected - found[name]).max()) / scale
        if not largest < TOLERANCE:
            raise UserError(
                f"the features file's {name} differs from torch's by {largest:.2g} of its largest value, "
                f"{TOLERANCE:g} is allowed; export with the versions in constraints.txt."
            )
        worst = max(worst, largest)
    return worst
