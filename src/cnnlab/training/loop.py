"""The training loop: the whole data set on the device, whole batches, no host sync within a segment.

A run is a number of steps cut into segments: epochs where it has ten or more, else tenths of the run. After each
segment it measures, writes a row and keeps the best state; after an epoch, and within one where that costs little, it
saves a checkpoint. All randomness is drawn from the seed and the step, so that a run resumed from a checkpoint ends
with the bytes of one never stopped.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cnnlab.core.datasets import Split
from cnnlab.core.errors import UserError
from cnnlab.core.params import Recipe
from cnnlab.training import parallel
from cnnlab.training.checkpoint import Checkpoint
from cnnlab.training.devices import room_for
from cnnlab.training.recipe import make_optimizer, rate_at

Row = dict[str, float]
FEW_EPOCHS = 10  # with fewer, the curve has a point each tenth of the run
QUICK_VALIDATION = 1000  # pictures, the same at every point of such a curve (measure the whole set once, at the end)
EVALUATION_BATCH = 1000


class Task(Protocol):
    """What is trained: a module, its objective on a batch, and the figures that its curve shows."""

    @property
    def module(self) -> nn.Module:
        """What is trained and kept."""
        ...

    def objective(
        self, images: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise and figures summed over the batch; images uint8 [n, c, h, w], labels int64 [n].

        progress is the share of the steps already made, generator the source of augmentation and noise.
        """
        ...

    def measure(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The same figures, summed over the batch, in evaluation mode."""
        ...


@dataclass(frozen=True)
class Plan:
    """How long, in what steps and by which recipe a task is trained."""

    name: str
    epochs: float
    batch_size: int
    peak_rate: float
    recipe: Recipe
    seed: int
    weight_decay: float = 0.0
    keep: tuple[str, Literal["max", "min"]] | None = (
        None  # the validation figure that chooses the state; None: the last
    )


@dataclass
class Progress:
    """What a run has come to: rows of the curve, the best state so far, seconds spent in training steps."""

    step: int = 0
    rows: list[Row] = field(default_factory=list)
    best_row: int = -1
    best_score: float = -float("inf")
    best_state: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    pictures: int = 0

    def timing(self) -> dict[str, float]:
        """Seconds in training steps and pictures a second: wall-clock figures, kept apart from all others."""
        return {"train_seconds": self.seconds, "examples_per_second": self.pictures / self.seconds}


Data = tuple[Tensor, Tensor]  # images uint8 [n, c, h, w], labels int64 [n], on the training device


@room_for("the pictures")
def resident(split: Split, index: np.ndarray, device: torch.device) -> Data:
    """The pictures of `index` with their labels, on the device as they are, uint8."""
    images = torch.from_numpy(np.ascontiguousarray(split.images[index]))
    return images.to(device), torch.from_numpy(np.ascontiguousarray(split.labels[index])).to(device)


def fit(
    task: Task,
    train: Data,
    validation: Data | None,
    plan: Plan,
    *,
    checkpoint: Checkpoint | None = None,
    on_rows: Callable[[list[Row]], None] = lambda rows: None,
) -> Progress:
    """Train `task.module` in place and leave the kept state in it; returns the curve and what was kept.

    UserError when the loss is not finite, naming run, epoch, step and learning rate, when the data are fewer
    than two pictures, or when the GPU's memory does not hold a batch.
    """
    if len(train[0]) < 2:
        raise UserError(f"{plan.name}: {len(train[0])} training pictures are too few; at least 2 are needed.")
    steps_per_epoch = steps_in_epoch(len(train[0]), plan.batch_size)
    steps = max(1, round(plan.epochs * steps_per_epoch))
    optimizer = make_optimizer(task.module, plan.recipe, plan.weight_decay)
    progress = _resume(task, optimizer, checkpoint)
    with torch.random.fork_rng(devices=_cuda_devices(train[0])), _bar(plan, train, steps, progress) as bar:
        if progress.rows and parallel.rank() == 0:
            on_rows(progress.rows)
        for stop in segment_ends(steps, steps_per_epoch, plan.epochs):
            if stop <= progress.step:
                continue
            began = progress.step
            try:
                row = _train_segment(task, optimizer, train, plan, progress, stop, steps, steps_per_epoch, bar)
            except torch.OutOfMemoryError:
                raise UserError(_out_of_memory(task, train, plan)) from None
            row |= _validate(task, validation, plan)
            _keep(task, progress, row, plan)
            if parallel.rank() == 0:
                on_rows(progress.rows)
            ends_epoch = stop == steps or stop // steps_per_epoch > began // steps_per_epoch
            if checkpoint and parallel.rank() == 0 and (ends_epoch or checkpoint.is_due()):
                _save(task, optimizer, progress, checkpoint)
    task.module.load_state_dict(progress.best_state)
    return progress


def steps_in_epoch(pictures: int, batch_size: int) -> int:
    """Batches in an epoch; a last one of a single picture (a process) is left out: batch normalisation can't use it."""
    whole, rest = divmod(pictures, batch_size)
    return whole + (rest >= 2 * parallel.processes())


def segment_ends(steps: int, steps_per_epoch: int, epochs: float) -> list[int]:
    """The steps after which a run is measured: epochs where it has ten or more, else tenths of the run."""
    if epochs >= FEW_EPOCHS:
        ends = [*range(steps_per_epoch, steps, steps_per_epoch), steps]
    else:
        ends = [round(steps * tenth / 10) for tenth in range(1, 11)]
    return sorted(set(ends) - {0})


def derive_seed(seed: int, purpose: str, index: int) -> int:
    """An independent seed for each purpose and index: what was drawn before never matters."""
    return int(np.random.SeedSequence([seed, *purpose.encode(), index]).generate_state(1, np.uint64)[0] >> 1)


def _train_segment(
    task: Task,
    optimizer: torch.optim.Optimizer,
    train: Data,
    plan: Plan,
    progress: Progress,
    stop: int,
    steps: int,
    steps_per_epoch: int,
    bar: tqdm,
) -> Row:
    """Make the steps up to `stop`; returns the means over them, in training mode."""
    images, labels = train
    start, began = progress.step, time.perf_counter()
    draw = start * parallel.processes() + parallel.rank()  # each process draws its own
    generator = torch.Generator(images.device).manual_seed(derive_seed(plan.seed, "augment", draw))
    torch.manual_seed(derive_seed(plan.seed, "dropout", draw))
    task.module.train()
    objectives, totals, seen, epoch, order = [], {}, 0, -1, torch.empty(0)
    rate = plan.peak_rate
    for step in range(start, stop):
        if step // steps_per_epoch != epoch:
            epoch = step // steps_per_epoch
            order = _order(len(images), plan.seed, epoch).to(images.device)
        first = (step % steps_per_epoch) * plan.batch_size
        batch, weight = parallel.share(order[first : first + plan.batch_size])
        rate = rate_at(step, steps, plan.peak_rate, plan.recipe)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, sums = task.objective(images[batch], labels[batch], step / steps, generator)
        optimizer.zero_grad(set_to_none=True)
        (loss if weight == 1 else loss * weight).backward()
        optimizer.step()
        objectives.append(loss.detach())
        for name, value in sums.items():
            totals[name] = totals[name] + value.detach() if name in totals else value.detach()
        seen += len(batch)
        if images.device.type == "cpu":
            _check_finite(objectives[-1:], step, steps_per_epoch, plan)
        bar.update(len(batch))
    _check_finite(objectives, start, steps_per_epoch, plan)
    totals = parallel.summed(totals | {"pictures": torch.tensor(float(seen), device=images.device)})
    seen = int(totals.pop("pictures"))
    means = {f"train_{name}": float(value) / seen for name, value in totals.items()}
    bar.set_postfix({name: f"{value:.3f}" for name, value in means.items()}, refresh=False)
    progress.step, progress.pictures = stop, progress.pictures + seen
    progress.seconds += time.perf_counter() - began
    return {"epoch": stop / steps_per_epoch, "learning_rate": rate, **means}


def _check_finite(objectives: list[Tensor], first_step: int, steps_per_epoch: int, plan: Plan) -> None:
    finite = torch.stack(objectives).isfinite().tolist()
    if not all(finite):
        step = first_step + finite.index(False)
        raise UserError(
            f"{plan.name}: the loss is not finite in epoch {step // steps_per_epoch + 1}, "
            f"step {step % steps_per_epoch + 1} of {steps_per_epoch}, at a peak learning rate of {plan.peak_rate:g}; "
            "try a smaller learning_rate."
        )


def _out_of_memory(task: Task, train: Data, plan: Plan) -> str:
    """What to tell when a batch did not fit: the largest halving of it that does, tried out."""
    size, generator = plan.batch_size, torch.Generator(train[0].device)
    while size > 2:
        size //= 2
        task.module.zero_grad(set_to_none=True)
        if train[0].device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            task.objective(train[0][:size], train[1][:size], 0.0, generator)[0].backward()
        except torch.OutOfMemoryError:
            continue
        return f"{plan.name}: a batch of {plan.batch_size} does not fit into the GPU's memory; batch_size {size} does."
    return f"{plan.name}: the GPU's memory is full, even for a batch of 2; free it, or say `device: cpu`."


def _order(pictures: int, seed: int, epoch: int) -> Tensor:
    """The order of the pictures in an epoch, drawn on the CPU so that every device sees the same."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    return torch.randperm(pictures, generator=generator)


def _validate(task: Task, validation: Data | None, plan: Plan) -> Row:
    """Validation figures: of the whole set, or of its fixed 1,000 pictures within a run of few epochs."""
    if validation is None:
        return {}
    images, labels = validation
    if plan.epochs < FEW_EPOCHS:
        some = _order(len(images), plan.seed, 0)[:QUICK_VALIDATION].to(images.device)
        images, labels = images[some], labels[some]
    return {f"validation_{name}": value for name, value in evaluate(task, (images, labels), plan.seed).items()}


@room_for(f"{EVALUATION_BATCH:,} pictures in the network")
@torch.inference_mode()
def evaluate(task: Task, data: Data, seed: int) -> Row:
    """The task's figures, averaged over the pictures."""
    images, labels = data
    task.module.eval()
    generator = torch.Generator(images.device).manual_seed(derive_seed(seed, "measure", 0))
    totals: dict[str, Tensor] = {}
    for start in range(0, len(images), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        for name, value in task.measure(images[part], labels[part], generator).items():
            totals[name] = totals[name] + value if name in totals else value
    return {name: float(value) / len(images) for name, value in totals.items()}


def _keep(task: Task, progress: Progress, row: Row, plan: Plan) -> None:
    """Add the row; keep the state if it is the best so far (the later of equals), or in any case if the last counts."""
    progress.rows.append(row)
    score = 0.0
    if plan.keep is not None:
        name, direction = plan.keep
        score = row[f"validation_{name}"] * (1 if direction == "max" else -1)
    if plan.keep is None or score >= progress.best_score:
        progress.best_score, progress.best_row = score, len(progress.rows) - 1
        progress.best_state = copy.deepcopy(task.module.state_dict())


def _save(task: Task, optimizer: torch.optim.Optimizer, progress: Progress, checkpoint: Checkpoint) -> None:
    state: dict[str, Any] = {"progress": vars(progress), "module": task.module.state_dict()}
    checkpoint.save(state | {"optimizer": optimizer.state_dict()})


def _resume(task: Task, optimizer: torch.optim.Optimizer, checkpoint: Checkpoint | None) -> Progress:
    state = checkpoint.load() if checkpoint else None
    if state is None:
        return Progress()
    task.module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


def _bar(plan: Plan, train: Data, steps: int, progress: Progress) -> tqdm:
    total = round(steps * len(train[0]) / steps_in_epoch(len(train[0]), plan.batch_size))
    return tqdm(
        total=total, initial=progress.pictures, desc=plan.name, unit=" pictures", unit_scale=True, mininterval=0.5,
        disable=True if parallel.rank() else None,
    )  # fmt: skip


def _cuda_devices(images: Tensor) -> list[torch.device]:
    return [images.device] if images.device.type == "cuda" else []
