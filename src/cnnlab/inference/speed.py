"""Speed of an exported file on this machine, for metrics/timing. benchmarks/inference.py measures properly."""

import time

import numpy as np

from cnnlab.inference.session import Model

SINGLE, BATCH, SECONDS = 50, 256, 0.3


def speed(model: Model, images: np.ndarray) -> dict[str, float]:
    """Median milliseconds for one picture, and pictures a second in batches of 256, on the model's threads."""
    _seconds(model, images[:1])
    single = [_seconds(model, images[:1]) for _ in range(SINGLE)]
    batch = images[:BATCH]
    rounds = [_seconds(model, batch)]
    while sum(rounds) < SECONDS:
        rounds.append(_seconds(model, batch))
    return {
        "milliseconds_batch_1": 1000 * float(np.median(single)),
        "pictures_per_second": len(batch) / float(np.median(rounds)),
    }


def _seconds(model: Model, images: np.ndarray) -> float:
    started = time.perf_counter()
    model.logits(images)
    return time.perf_counter() - started
