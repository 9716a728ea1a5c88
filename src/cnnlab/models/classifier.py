"""A network together with its preprocessing, and the file that stores both."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab import models
from cnnlab.models import weights
from cnnlab.models.blocks import Network


class Classifier(nn.Module):
    """uint8 pixels [n, c, h, w] → logits float32 [n, classes]: scaling and normalising, then the network."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, mean: list[float], std: list[float], meta: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.meta = dict(meta)

    def preprocess(self, images: Tensor) -> Tensor:
        """Scale to [0, 1] and normalise by the training pictures' mean and standard deviation, channel by channel."""
        return (images.to(torch.float32) / 255 - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Logits of uint8 pictures."""
        return self.network(self.preprocess(images))

    def taps(self, images: Tensor) -> dict[str, Tensor]:
        """Every named intermediate output."""
        return self.network.taps(self.preprocess(images))


def save_classifier(path: str | Path, classifier: Classifier) -> None:
    """Write weights and metadata as one .pt file, completely or not at all."""
    weights.save(path, classifier, classifier.meta)


def load_classifier(path: str | Path) -> Classifier:
    """Read a .pt file back, in evaluation mode; UserError where it is missing or damaged. Runs no pickled code."""
    return weights.load(path, _build)[0]


def _build(meta: Mapping[str, Any]) -> Classifier:
    network = models.build(meta["architecture"], meta["shape"], len(meta["class_names"]), meta["options"])
    return Classifier(network, meta["mean"], meta["std"], meta)
