"""What is measured of one trained network for a comparison over seeds: loss, hits, and ReLUs that never fire."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from cnnlab.core.datasets import Split
from cnnlab.core.split import stratified_split
from cnnlab.models.classifier import Classifier
from cnnlab.training.loop import EVALUATION_BATCH

SAMPLE = 5000  # training pictures: a ReLU that is 0 for all of them counts as dead


def trained_on(labels: np.ndarray, held_out: float | None, seed: int) -> np.ndarray:
    """Indices of the pictures that trained a seed: all but the validation part, if the share `held_out` was one."""
    return stratified_split(labels, held_out, seed)[0] if held_out else np.arange(len(labels))


@torch.inference_mode()
def measure_split(classifier: Classifier, split: Split, device: torch.device) -> tuple[float, np.ndarray]:
    """Mean cross-entropy, and which pictures are right."""
    losses, hits = [], []
    for start in range(0, len(split.labels), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        labels = torch.tensor(split.labels[part], device=device)
        logits = classifier(torch.tensor(split.images[part], device=device))
        losses.append(nn.functional.cross_entropy(logits, labels, reduction="sum"))
        hits.append(logits.argmax(1) == labels)
    return float(torch.stack(losses).sum()) / len(split.labels), torch.cat(hits).cpu().numpy()


@torch.inference_mode()
def dead_rectifiers(classifier: Classifier, images: np.ndarray, device: torch.device) -> dict[str, float]:
    """The share of ReLUs (units, and whole channels of convolutions) that are 0 for every picture; {} without ReLUs.

    images: uint8 [n, c, h, w].
    """
    largest: dict[str, torch.Tensor] = {}

    def remember(name: str, _module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        peak = output.amax(dim=[axis for axis in range(output.ndim) if axis != 1])
        largest[name] = torch.maximum(largest[name], peak) if name in largest else peak

    hooks = [
        module.register_forward_hook(partial(remember, name))
        for name, module in classifier.named_modules()
        if isinstance(module, nn.ReLU)
    ]
    for start in range(0, len(images), EVALUATION_BATCH):
        classifier(torch.tensor(images[start : start + EVALUATION_BATCH], device=device))
    for hook in hooks:
        hook.remove()
    if not largest:
        return {}
    return {"dead_relus": float(torch.cat(list(largest.values())).le(0).float().mean())}
