"""What is trained, in which steps, and the plain form of a step: each operation launched by itself.

All randomness is drawn from the seed and from the step or the epoch, so that a run resumed from a checkpoint ends with
the bytes of one never stopped.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.core.errors import UserError
from cnnlab.core.schema import Recipe, steps_in_pass
from cnnlab.training import parallel
from cnnlab.training.checkpoint import Checkpoint
from cnnlab.training.devices import Multiplied
from cnnlab.training.optimizers import Optimizer
from cnnlab.training.recipe import rate_at

Row = dict[str, float]
Data = tuple[Tensor, Tensor]  # images uint8 [n, c, h, w], labels int64 [n], on the training device
WARM_UP = 3  # steps before the clock and before a capture: libraries load, kernels are chosen, workspaces are made
PART = 8192  # pictures that are augmented at once: a move's index takes eight bytes a pixel


class DivergenceError(UserError):
    """The loss is not finite any more."""


class Task(Protocol):
    """What is trained: a module, its objective on a batch, and the figures that its curve shows."""

    @property
    def module(self) -> nn.Module:
        """What is trained and kept."""
        ...

    @property
    def precision(self) -> Multiplied:
        """What the objective multiplies in; measurements are always float32."""
        ...

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Training pictures as the objective takes them, each changed by its own draw; uint8 [n, c, h, w]."""
        ...

    def objective(
        self, images: Tensor, labels: Tensor, progress: float | Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise and figures summed over the batch; images uint8 [n, c, h, w], labels int64 [n].

        progress is the share of the steps already made (a number or a scalar tensor), generator the source of noise.
        On a GPU nothing here may ask the host for a value or copy from it: the step is captured as a CUDA graph.
        """
        ...

    def measure(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The same figures, summed over the batch, in evaluation mode."""
        ...


@dataclass(frozen=True)
class Plan:
    """How long, in what steps and by which recipe a task is trained.

    keep: the validation figure that chooses the kept state, the mean over the last `averaged` points of the curve; None
    keeps the last one.
    """

    name: str
    steps: int
    batch_size: int
    peak_rate: float
    recipe: Recipe
    seed: int
    weight_decay: float = 0.0
    momentum: float = 0.0
    keep: tuple[str, Literal["max", "min"]] | None = None
    averaged: int = 1


@dataclass(frozen=True)
class Job:
    """One run for the training loop: the task, its data and plan, where it is saved and who is told of its curve.

    `measure` gives further figures for each point of the curve, in evaluation mode. They choose nothing.
    """

    task: Task
    train: Data
    validation: Data | None
    plan: Plan
    checkpoint: Checkpoint | None = None
    on_rows: Callable[[list[Row]], None] = field(default=lambda rows: None)
    measure: Callable[[Task], Row] = field(default=lambda task: {})

    @property
    def device(self) -> torch.device:
        return self.train[0].device

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, with as many processes as train now."""
        return steps_in_pass(len(self.train[0]), self.plan.batch_size, parallel.processes())

    @property
    def epochs(self) -> float:
        return self.plan.steps / self.steps_per_epoch

    def rate_at(self, step: int) -> float:
        """The learning rate of one of the steps."""
        return rate_at(step, self.plan.steps, self.plan.peak_rate, self.plan.recipe)


@dataclass(frozen=True)
class Outcome:
    """What some steps came to: each one's loss [steps], the figures summed, and how many pictures they saw."""

    losses: Tensor
    totals: dict[str, Tensor]
    pictures: int


def derive_seed(seed: int, purpose: str, index: int) -> int:
    """An independent seed for each purpose and index: what was drawn before never matters."""
    return int(np.random.SeedSequence([seed, *purpose.encode(), index]).generate_state(1, np.uint64)[0] >> 1)


def epoch_order(pictures: int, seed: int, epoch: int) -> Tensor:
    """The order of the pictures in an epoch, drawn on the CPU so that every device sees the same."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    return torch.randperm(pictures, generator=generator)


def augment_epoch(job: Job, epoch: int, images: Tensor, labels: Tensor) -> None:
    """Write the training pictures of an epoch, in its order and augmented, and their labels into the two tensors.

    The draws come from the seed and the epoch alone. Only a GPU trains so: a step there saves the 14 to 48 kernels of
    augmentation. A CPU has no launches to save and would lose the batch from its cache, so it keeps its draws by batch.
    """
    order = epoch_order(len(images), job.plan.seed, epoch).to(job.device)
    generator = torch.Generator(job.device).manual_seed(derive_seed(job.plan.seed, "augment epoch", epoch))
    for start in range(0, len(images), PART):
        part = order[start : start + PART]
        images[start : start + PART].copy_(job.task.augment(job.train[0][part], generator))
    torch.index_select(job.train[1], 0, order, out=labels)


def seed_draws(job: Job, step: int, generator: torch.Generator) -> None:
    """Seed what is drawn from a step on: noise and augmentation by the generator, dropout by torch's own."""
    draw = step * parallel.processes() + parallel.rank()  # each process draws its own
    generator.manual_seed(derive_seed(job.plan.seed, "augment", draw))
    torch.manual_seed(derive_seed(job.plan.seed, "dropout", draw))


def check_finite(job: Job, losses: Tensor, first_step: int) -> None:
    """DivergenceError where a loss is not finite, naming run, epoch, step and learning rate."""
    finite = losses.isfinite().tolist()
    if not all(finite):
        step, length = first_step + finite.index(False), job.steps_per_epoch
        raise DivergenceError(
            f"{job.plan.name}: the loss is not finite in epoch {step // length + 1}, step {step % length + 1} of "
            f"{length}, at a peak learning rate of {job.plan.peak_rate:g}; try a smaller learning_rate."
        )


def check_row(job: Job, row: Row) -> None:
    """DivergenceError where a figure of the curve is not finite: the last step of all is seen by no other check."""
    wrong = [name for name, value in row.items() if not math.isfinite(value)]
    if wrong:
        raise DivergenceError(
            f"{job.plan.name}: {wrong[0]} is not finite after epoch {row['epoch']:.3g}, at a peak learning rate of "
            f"{job.plan.peak_rate:g}; try a smaller learning_rate."
        )


def undone(job: Job, optimizer: Optimizer, step: Callable[[], object]) -> None:
    """Make a step WARM_UP times and put weights, statistics and optimizer back, each in its place."""
    tensors = [*job.task.module.state_dict().values(), *optimizer.tensors()]
    before = [tensor.clone() for tensor in tensors]
    for _ in range(WARM_UP):
        step()
    optimizer.zero_grad()
    with torch.no_grad():
        for tensor, old in zip(tensors, before, strict=True):
            tensor.copy_(old)


class PlainSteps:
    """Steps launched operation by operation: on CPUs, Apple's GPUs, and where several processes share a run."""

    def __init__(self, job: Job, optimizer: Optimizer) -> None:
        self.job, self.optimizer = job, optimizer
        self.generator = torch.Generator(job.device)

    def prepare(self) -> None:
        """Load a GPU's libraries before the clock of the first step."""
        if self.job.device.type != "cpu":
            batch = torch.arange(min(len(self.job.train[0]), self.job.plan.batch_size), device=self.job.device)
            undone(self.job, self.optimizer, lambda: self._step(batch, 0.0, 0.0))

    def make(self, start: int, stop: int, tick: Callable[[int], object]) -> list[Outcome]:
        """The steps from `start` up to `stop`; tells `tick` the pictures of each."""
        job = self.job
        seed_draws(job, start, self.generator)
        losses, totals, seen, epoch, order = [], {}, 0, -1, torch.empty(0)
        for step in range(start, stop):
            if step // job.steps_per_epoch != epoch:
                epoch = step // job.steps_per_epoch
                order = epoch_order(len(job.train[0]), job.plan.seed, epoch).to(job.device)
            first = (step % job.steps_per_epoch) * job.plan.batch_size
            batch = order[first : first + job.plan.batch_size]
            loss, sums = self._step(batch, job.rate_at(step), step / job.plan.steps)
            losses.append(loss)
            for name, value in sums.items():
                totals[name] = totals[name] + value.detach() if name in totals else value.detach()
            seen += len(batch[parallel.rank() :: parallel.processes()])
            if job.device.type == "cpu":
                check_finite(job, loss[None], step)
            tick(len(batch))
        return [Outcome(torch.stack(losses), totals, seen)]

    def _step(self, batch: Tensor, rate: float, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        images, labels = self.job.train
        batch, weight = parallel.share(batch)
        some = self.job.task.augment(images[batch], self.generator)
        loss, sums = self.job.task.objective(some, labels[batch], progress, self.generator)
        self.optimizer.zero_grad()
        (loss if weight == 1 else loss * weight).backward()
        self.optimizer.step(rate)
        return loss.detach(), sums
