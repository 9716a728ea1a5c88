"""The training loop: the whole data set on the device, whole batches, no host sync within a segment.

A run is a number of steps cut into segments: epochs where it has ten or more, else tenths of the run (fewer and longer
ones, where a tenth would be under 300 pictures: a point's training figures are means over its segment). After each
segment it measures, writes a row, keeps the best state and, where that costs little, saves a checkpoint. A run resumed
from a checkpoint ends with the bytes of one never stopped.
"""

import copy
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from cnnlab.core.datasets import Split
from cnnlab.core.errors import UserError
from cnnlab.training import graph, parallel
from cnnlab.training.checkpoint import Checkpoint
from cnnlab.training.devices import ADVICE, MEMORY, multiplying, out_of_memory, ran_out_on, room_for
from cnnlab.training.graph import GraphSteps
from cnnlab.training.optimizers import Optimizer
from cnnlab.training.recipe import make_optimizer
from cnnlab.training.steps import (
    Data,
    Job,
    Outcome,
    PlainSteps,
    Plan,
    Row,
    Task,
    check_finite,
    check_row,
    derive_seed,
    epoch_order,
)

FEW_EPOCHS = 10  # with fewer, the curve has a point each tenth of the run
LEAST_SEEN = 300  # pictures in such a tenth, or an epoch where that has fewer
QUICK_VALIDATION = 1000  # pictures, the same at every point of such a curve (measure the whole set once, at the end)
EVALUATION_BATCH = 1000


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
    than two pictures, or when memory does not hold a batch.
    """
    return fit_jobs([Job(task, train, validation, plan, checkpoint, on_rows)])[0]


@room_for("the network's training")
def fit_jobs(jobs: Sequence[Job]) -> list[Progress]:
    """`fit` for several runs: together on a GPU where they can share a graph, else one after the other."""
    runs = [_Run(job) for job in jobs]
    together = len({run.progress.step for run in runs}) == 1 and graph.fit_together(jobs)
    for group in [runs] if together and graph.serves(jobs[0].device) else [[run] for run in runs]:
        _fit(group)
    return [run.progress for run in runs]


class _Run:
    """A job with its optimizer and what it has come to, resumed where it was left."""

    def __init__(self, job: Job) -> None:
        if len(job.train[0]) < 2:
            raise UserError(
                f"{job.plan.name}: {len(job.train[0])} training pictures are too few; at least 2 are needed."
            )
        self.job = job
        self.optimizer = make_optimizer(job.task.module, job.plan.recipe, job.plan.weight_decay, job.plan.momentum)
        self.progress = _resume(job.task, self.optimizer, job.checkpoint)


def _fit(runs: list[_Run]) -> None:
    """Train runs of the same shape, segment by segment."""
    job, progress = runs[0].job, runs[0].progress
    least = min(job.steps_per_epoch, -(-LEAST_SEEN // job.plan.batch_size))
    ends = segment_ends(job.plan.steps, job.steps_per_epoch, job.epochs, least)
    ends = [stop for stop in ends if stop > progress.step]
    with torch.random.fork_rng(devices=_cuda_devices(job.train[0])), _bar(runs) as bar:
        for run in runs:
            if run.progress.rows and parallel.rank() == 0:
                run.job.on_rows(run.progress.rows)
        steps = _prepared(runs) if ends else None
        for stop in ends:
            assert steps is not None
            for run, row in zip(runs, _train_segment(runs, steps, stop, bar), strict=True):
                row |= _validate(run.job) | run.job.measure(run.job.task)
                check_row(run.job, row)
                _keep(run.job.task, run.progress, row, run.job.plan)
                if parallel.rank() == 0:
                    run.job.on_rows(run.progress.rows)
                    if run.job.checkpoint and (stop == job.plan.steps or run.job.checkpoint.is_due()):
                        _save(run.job.task, run.optimizer, run.progress, run.job.checkpoint)
    for run in runs:
        run.job.task.module.load_state_dict(run.progress.best_state)


def _prepared(runs: list[_Run]) -> PlainSteps | GraphSteps:
    """The form of the steps that the device takes, warmed up."""
    jobs, optimizers = [run.job for run in runs], [run.optimizer for run in runs]
    for job in jobs:
        job.task.module.train()
    steps = GraphSteps(jobs, optimizers) if graph.serves(jobs[0].device) else PlainSteps(jobs[0], optimizers[0])
    with multiplying(jobs[0].task.precision, jobs[0].device):
        _or_advice(runs, steps.prepare)
    return steps


def _or_advice(runs: list[_Run], work: Callable[[], Any]) -> Any:
    """What `work` gives; where memory does not hold its batches, UserError with the batch that fits."""
    try:
        return work()
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        kind = ran_out_on(error)
    # Only here, outside `except`, is the traceback gone, and with it the failed step's tensors.
    raise UserError(_out_of_memory(runs[0].job, MEMORY[kind], ADVICE[kind]))


def segment_ends(steps: int, steps_per_epoch: int, epochs: float, least: int = 1) -> list[int]:
    """The steps after which a run is measured: epochs where it has ten or more, else tenths of `least` steps or more.

    What is left of an epoch at the end is measured with the one before, where it is less than half.
    """
    if epochs >= FEW_EPOCHS:
        ends = [*range(steps_per_epoch, steps - steps_per_epoch // 2, steps_per_epoch), steps]
    else:
        points = min(10, max(1, steps // least))
        ends = [round(steps * point / points) for point in range(1, points + 1)]
    return sorted(set(ends) - {0})


def _train_segment(runs: list[_Run], steps: PlainSteps | GraphSteps, stop: int, bar: tqdm) -> list[Row]:
    """Make the steps up to `stop` of every run; returns the means over them, in training mode."""
    first = runs[0]
    start, began = first.progress.step, time.perf_counter()
    for run in runs:
        run.job.task.module.train()
    with multiplying(first.job.task.precision, first.job.device):
        outcomes = _or_advice(runs, lambda: steps.make(start, stop, bar.update))
    rows = [_count(run, outcome, stop) for run, outcome in zip(runs, outcomes, strict=True)]
    for run in runs:
        run.progress.seconds += (time.perf_counter() - began) / len(runs)
    bar.set_postfix(
        {name: f"{value:.3f}" for name, value in rows[-1].items() if name.startswith("train_")}, refresh=False
    )
    return rows


def _count(run: _Run, outcome: Outcome, stop: int) -> Row:
    """Add a segment's steps to the run's progress; its row of the curve."""
    job, progress = run.job, run.progress
    check_finite(job, outcome.losses, progress.step)
    seen = torch.tensor(float(outcome.pictures), device=job.device)
    totals = parallel.summed({name: value.clone() for name, value in outcome.totals.items()} | {"pictures": seen})
    pictures = int(totals.pop("pictures"))
    progress.step, progress.pictures = stop, progress.pictures + pictures
    means = {f"train_{name}": float(value) / pictures for name, value in totals.items()}
    return {"epoch": stop / job.steps_per_epoch, "learning_rate": job.rate_at(stop - 1), **means}


def _out_of_memory(job: Job, whose: str, advice: str) -> str:
    """What to say when a batch did not fit: the largest half, quarter, … of it that does, tried out."""
    plan, task, images = job.plan, job.task, job.train[0]
    if parallel.processes() > 1:  # a try would wait for the other processes, which are in the middle of a step
        return f"{plan.name}: a batch of {plan.batch_size} does not fit into {whose}; choose a smaller batch_size."
    size, generator = plan.batch_size, torch.Generator(job.device)
    gc.collect()
    while size > 2:
        size //= 2
        task.module.zero_grad(set_to_none=True)
        if job.device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            some = task.augment(images[:size], generator)
            task.objective(some, job.train[1][:size], 0.0, generator)[0].backward()
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            continue
        return f"{plan.name}: a batch of {plan.batch_size} does not fit into {whose}; batch_size {size} does."
    return f"{plan.name}: {whose} is full, even for a batch of 2; {advice}."


def _validate(job: Job) -> Row:
    """Validation figures: of the whole set, or of its fixed 1,000 pictures within a run of few epochs."""
    if job.validation is None:
        return {}
    images, labels = job.validation
    if job.epochs < FEW_EPOCHS:
        some = epoch_order(len(images), job.plan.seed, 0)[:QUICK_VALIDATION].to(images.device)
        images, labels = images[some], labels[some]
    figures = evaluate(job.task, (images, labels), job.plan.seed)
    return {f"validation_{name}": value for name, value in figures.items()}


@room_for(f"{EVALUATION_BATCH:,} pictures in the network")
@torch.inference_mode()
def evaluate(task: Task, data: Data, seed: int) -> Row:
    """The task's figures, averaged over the pictures."""
    images, labels = data
    task.module.eval()
    generator = torch.Generator(images.device).manual_seed(derive_seed(seed, "measure", 0))
    totals: dict[str, Tensor] = {}
    with multiplying("float32", images.device):
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
        score = np.mean([point[f"validation_{name}"] for point in progress.rows[-plan.averaged :]]).item()
        score *= 1 if direction == "max" else -1
    if plan.keep is None or score >= progress.best_score:
        progress.best_score, progress.best_row = score, len(progress.rows) - 1
        progress.best_state = copy.deepcopy(task.module.state_dict())


def _save(task: Task, optimizer: Optimizer, progress: Progress, checkpoint: Checkpoint) -> None:
    state: dict[str, Any] = {"progress": vars(progress), "module": task.module.state_dict()}
    checkpoint.save(state | {"optimizer": optimizer.state_dict()})


def _resume(task: Task, optimizer: Optimizer, checkpoint: Checkpoint | None) -> Progress:
    state = checkpoint.load() if checkpoint else None
    if state is None:
        return Progress()
    task.module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


def _bar(runs: list[_Run]) -> tqdm:
    job = runs[0].job
    total = round(job.plan.steps * len(job.train[0]) / job.steps_per_epoch)
    name = job.plan.name if len(runs) == 1 else f"{job.plan.name} to {runs[-1].job.plan.name}"
    return tqdm(
        total=total * len(runs), initial=sum(run.progress.pictures for run in runs), desc=f"{name} on {job.device}",
        unit=" pictures", unit_scale=True, mininterval=0.5, disable=True if parallel.rank() else None,
    )  # fmt: skip


def _cuda_devices(images: Tensor) -> list[torch.device]:
    return [images.device] if images.device.type == "cuda" else []
