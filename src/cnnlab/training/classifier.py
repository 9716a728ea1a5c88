"""A network with its preprocessing, its objective, and its file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab import artifacts, models
from cnnlab.errors import UserError
from cnnlab.models.blocks import Network
from cnnlab.params import Run
from cnnlab.training import parallel
from cnnlab.training.augment import augment
from cnnlab.training.checkpoint import serialise


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


class ClassifierTask:
    """Cross-entropy on augmented batches; the curve shows loss and accuracy."""

    def __init__(self, classifier: Classifier, run: Run, precision: torch.dtype = torch.float32) -> None:
        self.module = classifier
        self.run = run
        self.precision = precision
        self._replica = parallel.replicate(classifier)

    def objective(
        self, images: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cross-entropy (smoothed as the run says) of the augmented batch, and the summed figures."""
        pictures = _innermost_channels(augment(images, self.run, generator))
        with torch.autocast(images.device.type, self.precision, enabled=self.precision != torch.float32):
            logits = self._replica(pictures)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.run.label_smoothing)
        return loss, {"loss": loss * len(labels), "accuracy": (logits.argmax(1) == labels).sum()}

    def measure(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy and hits, summed."""
        logits = self.module(_innermost_channels(images))
        loss = F.cross_entropy(logits, labels, reduction="sum")
        return {"loss": loss, "accuracy": (logits.argmax(1) == labels).sum()}


def _innermost_channels(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def save_classifier(path: str | Path, classifier: Classifier) -> None:
    """Write weights and meta as one .pt file, whole or not at all."""
    state = {name: value.cpu().contiguous() for name, value in classifier.state_dict().items()}
    artifacts.write_bytes(path, serialise({"state": state, "meta": json.dumps(classifier.meta, sort_keys=True)}))


def load_classifier(path: str | Path) -> Classifier:
    """Read a .pt file back, in evaluation mode; UserError where it is missing or damaged. Runs no pickled code."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        meta = json.loads(saved["meta"])
        network = models.build(meta["architecture"], meta["shape"], len(meta["class_names"]), meta["options"])
        classifier = Classifier(network, meta["mean"], meta["std"], meta)
        classifier.load_state_dict(saved["state"])
    except FileNotFoundError:
        raise UserError(f"{path} is not here: `dvc repro` trains it.") from None
    except Exception:  # a damaged file raises a dozen kinds
        raise UserError(f"{path} is not a whole cnnlab model: remove it and run `dvc repro`.") from None
    return classifier.eval()
