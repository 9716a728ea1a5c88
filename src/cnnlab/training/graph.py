"""Training steps as CUDA graphs: recorded once, then replayed with one launch a step. NOT YET RUN ON A GPU.

A small network's step is a hundred kernels of a few microseconds each; launching them one by one takes the host longer
than the GPU computes. A replay launches all of them at once. What a step reads and writes therefore stays in its place:
an epoch's pictures, a cursor that the graph itself moves on, a table of rates, the losses and the figures.

Several runs of the same shape, such as the seeds of an ablation, are recorded as parallel branches of one graph. Each
has its own weights, pictures and draws, so that it gets the bytes that it would get alone.

`CNNLAB_EAGER=1` makes the same steps without recording them: for debuggers and profilers.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.training import parallel
from cnnlab.training.optimizers import Optimizer
from cnnlab.training.steps import Job, Outcome, augment_epoch, seed_draws, undone


def serves(device: torch.device) -> bool:
    """Whether runs on the device are made of these steps: on the present CUDA device, where one process trains."""
    return device.type == "cuda" and parallel.processes() == 1 and device.index in (None, torch.cuda.current_device())


def fit_together(jobs: Sequence[Job]) -> bool:
    """Whether runs can share a graph: the same number of the same steps, and no dropout.

    Dropout draws from torch's one generator, so that parallel branches would take each other's draws.
    """
    shapes = {(job.train[0].shape, job.plan.batch_size, job.plan.steps, job.device, job.task.precision) for job in jobs}
    modules = [module for job in jobs for module in job.task.module.modules()]
    return len(shapes) == 1 and not any(isinstance(module, nn.modules.dropout._DropoutNd) for module in modules)


class GraphSteps:
    """The steps of one run, or of several that fit together, on static memory; `record` makes them CUDA graphs."""

    def __init__(self, jobs: Sequence[Job], optimizers: Sequence[Optimizer], record: bool | None = None) -> None:
        self.branches = [_Branch(job, optimizer) for job, optimizer in zip(jobs, optimizers, strict=True)]
        self.record = not os.environ.get("CNNLAB_EAGER") if record is None else record
        self.graphs: dict[int, Any] = {}  # by batch size: an epoch's whole batches, and its shorter last one

    def prepare(self) -> None:
        """Warm up and record, before the clock of the first step; weights, statistics and draws stay as they were."""
        job = self.branches[0].job
        rest = len(job.train[0]) % job.plan.batch_size
        is_used = job.steps_per_epoch * job.plan.batch_size > len(job.train[0])  # a small rest is left out
        sizes = [size for size in (job.plan.batch_size, rest) if size <= len(job.train[0])]
        for size in sizes if is_used else sizes[:1]:
            for branch in self.branches:
                with _side_stream(job.device):
                    undone(branch.job, branch.optimizer, partial(branch.try_out, size))
            self.graphs[size] = self._recorded(size) if self.record else None

    def _recorded(self, size: int) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        for branch in self.branches:
            graph.register_generator_state(branch.generator)  # torch's own generator is registered already
        pool = next(iter(self.graphs.values())).pool() if self.graphs else None
        with torch.cuda.graph(graph, pool=pool):
            self._fork(size)
        return graph

    def _fork(self, size: int) -> None:
        """The step of every branch, each on a stream of its own, between a common start and end."""
        main = torch.cuda.current_stream()
        streams = [torch.cuda.Stream() for _ in self.branches]
        for branch, stream in zip(self.branches, streams, strict=True):
            stream.wait_stream(main)
            with torch.cuda.stream(stream):
                branch.step(size)
        for stream in streams:
            main.wait_stream(stream)

    def make(self, start: int, stop: int, tick: Callable[[int], object]) -> list[Outcome]:
        """The steps from `start` up to `stop` of every run; tells `tick` the pictures of each."""
        first = self.branches[0].job
        length, count, batch = first.steps_per_epoch, len(first.train[0]), first.plan.batch_size
        epoch, seen, last = -1, 0, 0
        for branch in self.branches:
            branch.begin(start)
        for step in range(start, stop):
            if step // length != epoch:
                epoch = step // length
                for branch in self.branches:
                    branch.fill(epoch)
            size = min(batch, count - step % length * batch)
            if size != last or step % length == 0:
                last = size
                for branch in self.branches:
                    branch.point(size, step)
            if self.graphs[size] is not None:
                self.graphs[size].replay()
            else:
                for branch in self.branches:
                    branch.step(size)
            seen += size
            tick(size * len(self.branches))
        return [Outcome(branch.losses[start:stop], dict(branch.totals), seen) for branch in self.branches]


class _Branch:
    """One run's static memory, and its step on it."""

    def __init__(self, job: Job, optimizer: Optimizer) -> None:
        self.job, self.optimizer = job, optimizer
        images, labels = job.train
        self.images, self.labels = torch.zeros_like(images), torch.zeros_like(labels)
        self.generator = torch.Generator(job.device)
        rates = [[job.rate_at(step), step / job.plan.steps] for step in range(job.plan.steps)]
        self.table = torch.tensor(rates, device=job.device)  # float32 [steps, 2]: rate and progress
        self.losses = torch.zeros(job.plan.steps, device=job.device)
        self.totals: dict[str, Tensor] = {}
        self.cursors: dict[int, tuple[Tensor, Tensor]] = {}

    def begin(self, step: int) -> None:
        """Seed the draws of the coming steps and start their sums at zero."""
        seed_draws(self.job, step, self.generator)
        for total in self.totals.values():
            total.zero_()

    def fill(self, epoch: int) -> None:
        """Put an epoch's pictures in place."""
        augment_epoch(self.job, epoch, self.images, self.labels)

    def point(self, size: int, step: int) -> None:
        """Set the cursor of one batch size: the places of a batch's pictures, then the step."""
        if size not in self.cursors:
            advance = torch.full((size + 1,), size, device=self.job.device)
            advance[-1:].fill_(1)
            self.cursors[size] = torch.zeros_like(advance), advance  # and what a step adds to it
        cursor, _ = self.cursors[size]
        first = step % self.job.steps_per_epoch * self.job.plan.batch_size
        torch.arange(first, first + size, out=cursor[:-1])
        cursor[-1:].fill_(step)

    def try_out(self, size: int) -> None:
        """A first step, from the beginning."""
        self.point(size, 0)
        self.step(size)

    def step(self, size: int) -> None:
        """What is recorded: no value is asked of the host, and none comes from it."""
        cursor, advance = self.cursors[size]
        places, now = cursor[:-1], cursor[-1:]
        rate, progress = self.table.index_select(0, now).view(2).unbind()
        images, labels = self.images.index_select(0, places), self.labels.index_select(0, places)
        loss, sums = self.job.task.objective(images, labels, progress, self.generator)
        self.optimizer.zero_grad()  # gradients lie in the graph's own memory, and each replay writes them again
        loss.backward()
        self.optimizer.step(rate)
        with torch.no_grad():
            self.losses.index_copy_(0, now, loss.detach().view(1))
            for name, value in sums.items():
                if name not in self.totals:
                    self.totals[name] = torch.zeros_like(value)
                self.totals[name].add_(value.detach())
            cursor.add_(advance)


@contextmanager
def _side_stream(device: torch.device) -> Iterator[None]:
    """Work before a capture belongs on another stream than the default one (torch's notes on CUDA graphs)."""
    if device.type != "cuda":
        yield
        return
    side, main = torch.cuda.Stream(), torch.cuda.current_stream()
    side.wait_stream(main)
    with torch.cuda.stream(side):
        yield
    main.wait_stream(side)
