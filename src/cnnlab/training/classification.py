"""Training a classifier: its objective, and one run from pictures to the kept weights."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab import models
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.params import Precision, Recipe, Run
from cnnlab.core.split import stratified_split
from cnnlab.models.blocks import initialise_xavier
from cnnlab.models.classifier import Classifier
from cnnlab.training import parallel
from cnnlab.training.augment import augment
from cnnlab.training.checkpoint import Checkpoint
from cnnlab.training.devices import choose_precision, describe
from cnnlab.training.loop import Data, Plan, Row, derive_seed, evaluate, fit, resident
from cnnlab.training.recipe import peak_rate
from cnnlab.training.trained import Trained


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


def train_classifier(
    architecture: str,
    options: Mapping[str, Any],
    info: DatasetInfo,
    split: Split,
    run: Run,
    *,
    recipe: Recipe,
    seed: int,
    held_out: float,
    device: torch.device,
    precision: Precision = "auto",
    validate: bool | None = None,
    name: str | None = None,
    on_rows: Callable[[list[Row]], None] = lambda rows: None,
) -> Trained[Classifier]:
    """Train one architecture on the training part of a data set; resumes its own unfinished run.

    Under the recipe modern the share `held_out` of each class validates and chooses the best point of the curve;
    under plain every picture trains, unless `validate` says otherwise, and the last epoch is kept. UserError for an
    unknown architecture or option, or a loss that is not finite.
    """
    name = name or architecture
    validate = recipe == "modern" if validate is None else validate
    train_index, validation_index = stratified_split(split.labels, held_out, seed)
    if not validate:
        train_index, validation_index = np.arange(len(split.labels)), validation_index[:0]
    train, validation = resident(split, train_index, device), resident(split, validation_index, device)
    mean, std = _moments(train, recipe)
    classifier = _build(architecture, options, info, mean, std, recipe, seed).to(device)
    rate = peak_rate(run, recipe, str(options.get("act", "relu")))
    multiplied_in = choose_precision(precision, device, classifier.network.gains_from_bfloat16)
    settings = run.model_dump() | {"learning_rate": rate, "recipe": recipe, "precision": _word(multiplied_in)}
    surroundings = {"architecture": architecture, "options": dict(options), "seed": seed, "held_out": held_out}
    surroundings |= {"validate": validate, "device": describe(device), "processes": parallel.processes()}
    checkpoint = Checkpoint(name, settings | surroundings | asdict(info), [split.images, split.labels])
    plan = Plan(
        name, run.epochs, run.batch_size, rate, recipe, seed, run.weight_decay,
        keep=("accuracy", "max") if recipe == "modern" else None,
    )  # fmt: skip
    task = ClassifierTask(classifier, run, multiplied_in)
    progress = fit(task, train, validation if validate else None, plan, checkpoint=checkpoint, on_rows=on_rows)
    figures = evaluate(task, validation, seed) if validate else {}
    classifier.meta |= {
        "settings": settings,
        "seed": seed,
        "validation_share": held_out,
        "validation_accuracy": figures.get("accuracy"),
        "validation_loss": figures.get("loss"),
    }
    return Trained(
        classifier.eval(), classifier.meta, progress, figures, len(train_index), len(validation_index), checkpoint
    )


def _word(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


def _moments(train: Data, recipe: Recipe) -> tuple[list[float], list[float]]:
    """Each channel's mean and standard deviation over the training pictures, of pixels in [0, 1]; plain: none."""
    channels = train[0].shape[1]
    if recipe == "plain":
        return [0.0] * channels, [1.0] * channels
    counts = [torch.bincount(train[0][:, c].flatten().long(), minlength=256).cpu().numpy() for c in range(channels)]
    values = np.arange(256) / 255
    means = [float(count @ values / count.sum()) for count in counts]
    spreads = [
        float(np.sqrt(count @ (values - mean) ** 2 / count.sum())) for count, mean in zip(counts, means, strict=True)
    ]
    return means, [spread or 1.0 for spread in spreads]


def _build(
    architecture: str,
    options: Mapping[str, Any],
    info: DatasetInfo,
    mean: list[float],
    std: list[float],
    recipe: Recipe,
    seed: int,
) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights", 0))
        network = models.build(architecture, info.shape, len(info.class_names), options)
    if recipe == "plain":
        initialise_xavier(network, torch.Generator().manual_seed(derive_seed(seed, "xavier", 0)))
    meta = {
        "architecture": architecture,
        "options": dict(options),
        "dataset": info.name,
        "class_names": list(info.class_names),
        "shape": list(info.shape),
        "mean": mean,
        "std": std,
        "licence": info.licence,
        "light_on_dark": info.light_on_dark,
    }
    return _channels_last(Classifier(network, mean, std, meta))


def _channels_last(classifier: Classifier) -> Classifier:
    """Convolutions run fastest with the channels innermost."""
    module: nn.Module = classifier.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    assert isinstance(module, Classifier)
    return module
