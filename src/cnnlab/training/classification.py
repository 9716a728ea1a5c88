"""Training a classifier: its objective, and one run from pictures to the kept weights."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cnnlab import models
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.schema import ClassWeights, Precision, Recipe, Run
from cnnlab.core.split import stratified_split
from cnnlab.models.blocks import initialise_xavier, standardise
from cnnlab.models.classifier import Classifier
from cnnlab.training import parallel
from cnnlab.training.augment import augment
from cnnlab.training.checkpoint import Checkpoint
from cnnlab.training.devices import Multiplied, choose_precision, describe, memory_format, room_for
from cnnlab.training.loop import EVALUATION_BATCH, Progress, evaluate, fit_jobs, resident
from cnnlab.training.recipe import peak_rate
from cnnlab.training.steps import Data, Job, Plan, Row, Task, derive_seed, epoch_order
from cnnlab.training.trained import Trained

STANDARDISED_OVER = 256  # training pictures that set the scale of the first weights

# The best of many points on few validation pictures is a lucky one: with fewer than FEW, the point is kept whose
# accuracy, averaged with that of the points before it, is the best.
FEW, AVERAGED = 1000, 3


class ClassifierTask:
    """Cross-entropy on augmented batches, of classes that weigh as `weights` [classes] say.

    The curve shows loss and accuracy, unweighted in validation.
    """

    def __init__(
        self, classifier: Classifier, run: Run, precision: Multiplied = "float32", weights: Tensor | None = None
    ) -> None:
        self.module = classifier
        self.weights = weights
        self.run = run
        self.precision: Multiplied = precision
        self._replica = parallel.replicate(classifier)

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The pictures flipped, moved and erased as the run says."""
        return augment(images, self.run, generator)

    def objective(
        self, images: Tensor, labels: Tensor, progress: float | Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cross-entropy (smoothed as the run says) of the batch, and the summed figures."""
        pictures = images.contiguous(memory_format=memory_format(images.device))
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits = self._replica(pictures)
        logits = logits.float()
        smoothing = self.run.label_smoothing
        if self.weights is None:
            loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        else:  # weights are 1 on average; a division by those of the batch would not suit its shares on several GPUs
            loss = F.cross_entropy(logits, labels, self.weights, label_smoothing=smoothing, reduction="none").mean()
        return loss, {"loss": loss * len(labels), "accuracy": (logits.argmax(1) == labels).sum()}

    def measure(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy and hits, summed."""
        logits = self.module(images.contiguous(memory_format=memory_format(images.device)))
        loss = F.cross_entropy(logits, labels, reduction="sum")
        return {"loss": loss, "accuracy": (logits.argmax(1) == labels).sum()}


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
    class_weights: ClassWeights = "none",
    validate: bool | None = None,
    name: str | None = None,
    on_rows: Callable[[list[Row]], None] = lambda rows: None,
) -> Trained[Classifier]:
    """Train one architecture on the training part of a data set; resumes its own unfinished run.

    Under the recipe modern the share `held_out` of each class validates and chooses the best point of the curve;
    under plain every picture trains, unless `validate` says otherwise, and the last epoch is kept, as under modern with
    `validate=False`. UserError for an unknown architecture or option, a loss that is not finite, or too little memory.
    """
    (trained,) = train_seeds(
        architecture, options, info, split, run, recipe=recipe, names={seed: name or architecture}, held_out=held_out,
        device=device, precision=precision, class_weights=class_weights, validate=validate, on_rows=on_rows,
    )  # fmt: skip
    return trained


@room_for("the network and its training")
def train_seeds(
    architecture: str,
    options: Mapping[str, Any],
    info: DatasetInfo,
    split: Split,
    run: Run,
    *,
    recipe: Recipe,
    names: Mapping[int, str],
    held_out: float,
    device: torch.device,
    precision: Precision = "auto",
    class_weights: ClassWeights = "none",
    validate: bool | None = None,
    on_rows: Callable[[list[Row]], None] = lambda rows: None,
    measure: Callable[[Task], Row] = lambda task: {},
) -> list[Trained[Classifier]]:
    """`train_classifier` for several seeds, each under its name; on a GPU they may share each launch.

    `measure` adds figures to each point of the curve.
    """
    validate = recipe == "modern" if validate is None else validate
    jobs = []
    for seed, name in names.items():
        train, validation = _parts(split, held_out if validate else None, seed, device)
        classifier = _build(architecture, options, info, train, recipe, seed, device)
        rate = peak_rate(run, recipe, options)
        fitted = run.model_copy(update={"learning_rate": rate}).fitted(len(train[0]))
        multiplied = choose_precision(precision, device, classifier.network.gains_from_bfloat16)
        settings = fitted.model_dump() | {"recipe": recipe, "precision": multiplied, "class_weights": class_weights}
        classifier.meta |= {"settings": settings, "seed": seed, "validation_share": held_out}
        surroundings = {"architecture": architecture, "options": dict(options), "seed": seed, "held_out": held_out}
        surroundings |= {"validate": validate, "device": describe(device), "processes": parallel.processes()}
        checkpoint = Checkpoint(name, settings | surroundings | asdict(info), [split.images, split.labels])
        weights = _balanced(train[1], len(info.class_names)) if class_weights == "balanced" else None
        task = ClassifierTask(classifier, fitted, multiplied, weights)
        plan = _plan(name, fitted, recipe, seed, validation)
        jobs.append(Job(task, train, validation, plan, checkpoint, on_rows, measure))
    return [_trained(job, progress) for job, progress in zip(jobs, fit_jobs(jobs), strict=True)]


def _parts(split: Split, held_out: float | None, seed: int, device: torch.device) -> tuple[Data, Data | None]:
    """The pictures that train and, where a share is held out, those that validate, on the device."""
    if held_out is None:
        return resident(split, np.arange(len(split.labels)), device), None
    train, validation = stratified_split(split.labels, held_out, seed)
    return resident(split, train, device), resident(split, validation, device)


def _plan(name: str, run: Run, recipe: Recipe, seed: int, validation: Data | None) -> Plan:
    """How a run that is fitted to its pictures, and has a learning rate, is trained and what is kept of it."""
    assert run.learning_rate is not None
    return Plan(
        name, run.steps, run.batch_size, run.learning_rate, recipe, seed, run.weight_decay, run.momentum,
        keep=("accuracy", "max") if recipe == "modern" and validation else None,
        averaged=AVERAGED if validation is None or len(validation[0]) < FEW else 1,
    )  # fmt: skip


def _trained(job: Job, progress: Progress) -> Trained[Classifier]:
    """Measure the kept weights on the validation part, if there is one."""
    classifier, n_validation = job.task.module, len(job.validation[0]) if job.validation else 0
    assert isinstance(classifier, Classifier)
    assert job.checkpoint is not None
    figures = evaluate(job.task, job.validation, job.plan.seed) if job.validation else {}
    if job.validation:
        figures["answers_one_class"] = answers_one_class(classifier, job.validation[0])
    classifier.meta["validation_accuracy"] = figures.get("accuracy")
    classifier.meta["validation_loss"] = figures.get("loss")
    return Trained(
        classifier.eval(), classifier.meta, progress, figures, len(job.train[0]), n_validation, job.checkpoint
    )


def _balanced(labels: Tensor, classes: int) -> Tensor | None:
    """Weights [classes] that give every class the same part in the loss, on average 1; None where classes are equal."""
    counts = torch.bincount(labels, minlength=classes)
    return None if (counts == counts[0]).all() else len(labels) / (classes * counts.float())


@torch.inference_mode()
def answers_one_class(classifier: Classifier, images: Tensor) -> bool:
    """Whether every picture of uint8 [n, c, h, w] gets the same answer, so that nothing was learnt.

    A second answer ends the search, which is one batch for a network that has learnt something.
    """
    classifier.eval()
    seen: set[int] = set()
    for start in range(0, len(images), EVALUATION_BATCH):
        seen.update(classifier(images[start : start + EVALUATION_BATCH]).argmax(1).tolist())
        if len(seen) > 1:
            return False
    return True


def _moments(train: Data, recipe: Recipe) -> tuple[list[float], list[float]]:
    """Each channel's mean and standard deviation over the training pictures, of pixels in [0, 1]; plain: none."""
    channels = train[0].shape[1]
    if recipe == "plain":
        return [0.0] * channels, [1.0] * channels
    counts = [torch.bincount(train[0][:, c].flatten(), minlength=256).cpu().numpy() for c in range(channels)]
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
    train: Data,
    recipe: Recipe,
    seed: int,
    device: torch.device,
) -> Classifier:
    """A classifier with its first weights, on the device; the training pictures set its mean, deviation and scale."""
    mean, std = _moments(train, recipe)
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
    classifier = Classifier(network, mean, std, meta)
    classifier = classifier.to(memory_format=memory_format(device)).to(device)  # pyright: ignore[reportCallIssue]
    if recipe == "modern" and network.starts_standardised:
        some = epoch_order(len(train[0]), seed, 0)[:STANDARDISED_OVER].to(device)
        standardise(network, classifier.preprocess(train[0][some]))
    return classifier
