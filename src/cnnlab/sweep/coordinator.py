"""The coordinator: hands points to Dask, takes their outcomes, and survives the loss of workers and scheduler."""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cnnlab.core.artifacts import write_text
from cnnlab.core.errors import UserError
from cnnlab.sweep.board import Board
from cnnlab.sweep.clone import Source, experiment_message
from cnnlab.sweep.cluster import connect
from cnnlab.sweep.grid import Point
from cnnlab.sweep.project import Project
from cnnlab.sweep.targets import Work
from cnnlab.sweep.unit import TOPIC, Outcome, run_point, versions

POLL = 0.2  # seconds between looks at the futures
PATIENCE = 600  # seconds to wait for a lost scheduler
BATCH = 2.0  # seconds between two harvests, each of which starts a process
MOVES = 5  # workers that may reject a point before it counts as failed


@dataclass(frozen=True)
class Job:
    """What a sweep runs and where."""

    project: Project
    source: Source
    work: Work
    metric: str

    @property
    def local(self) -> bool:
        """Whether workers push their experiments straight into the coordinator's project."""
        return self.source.git == str(self.project.root)

    def figures(self, names: Iterable[str]) -> dict[str, dict[str, float]]:
        """The figures of experiments in this project, by experiment and then by what was measured."""
        return self.project.figures(self.source, names, self.work.metrics, self.metric)


class Coordinator:
    """Runs points until each is done or has failed. Results are in Git, so nothing in this object must survive."""

    def __init__(
        self, address: str, job: Job, board: Board, harvest: "Harvest", unit: Callable[..., Outcome] = run_point
    ) -> None:
        self.address, self.job, self.board, self.harvest, self.unit = address, job, board, harvest, unit
        self.futures: dict[Any, Point] = {}
        self.moves: dict[str, int] = {}  # how many workers rejected a point
        self.unfit: set[str] = set()  # workers that rejected a point

    def run(self, points: Sequence[Point]) -> None:
        """Run points; UserError if the scheduler does not come back. What still runs at the end is cancelled."""
        from distributed import CancelledError

        client = connect(self.address)
        try:
            self._begin(client, points)
            while self.futures:
                try:
                    gone = client.status != "running" or any(future.status == "cancelled" for future in self.futures)
                    for future, point in [pair for pair in self.futures.items() if not gone and pair[0].done()]:
                        self._take(client, future, point)
                        del self.futures[future]
                except (OSError, CancelledError):  # the scheduler was lost meanwhile
                    gone = True
                if gone:
                    client = self._again(client)
                self.harvest.look()
                self.board.show()
                time.sleep(POLL)
        finally:
            self._stop(client)

    def _begin(self, client: Any, points: Sequence[Point]) -> None:
        client.subscribe_topic(TOPIC, lambda event: self.board.running(*event[1]))
        keys = dict(zip(self._keys(points), points, strict=True))
        for worker, held in client.processing().items():  # an earlier coordinator's points that still run
            for key in set(held) & set(keys):
                self.board.running(keys[key].name, worker)
        self.submit(client, points)

    def _keys(self, points: Sequence[Point]) -> list[str]:
        """Dask's names for points: fixed, so that a restarted coordinator joins those that still run."""
        digest = hashlib.sha256(repr((self.job.source, self.job.work)).encode()).hexdigest()[:8]
        return [f"{point.name}-{digest}-{self.moves.get(point.name, 0)}" for point in points]

    def submit(self, client: Any, points: Sequence[Point], **where: Any) -> None:
        """Hand points to Dask; they run to their end even if this coordinator is gone."""
        from distributed import fire_and_forget

        if not points:
            return
        futures = client.map(
            self.unit, points, source=self.job.source, targets=self.job.work.targets, wanted=versions(),
            key=self._keys(points), pure=False, **where,
        )  # fmt: skip
        fire_and_forget(futures)
        self.futures |= dict(zip(futures, points, strict=True))

    def _take(self, client: Any, future: Any, point: Point) -> None:
        from distributed import KilledWorker

        if future.status == "error":
            error = future.exception()
            lost = "A worker died each time that it ran this point: too little memory?"
            outcome = Outcome("failed", lost if isinstance(error, KilledWorker) else repr(error), "", 0.0)
        else:
            outcome = future.result()
        if outcome.kind == "done":
            self.board.done(point.name, outcome.seconds)
            self.harvest.add(point.name)
        elif outcome.kind == "failed" or not self._move(client, point, outcome):
            log = self.job.project.home / "logs" / f"{point.name}.log"
            write_text(log, outcome.text)
            self.board.failed(point.name, log)

    def _move(self, client: Any, point: Point, outcome: Outcome) -> bool:
        """Hand a point to a worker that has rejected none; False if there is none left."""
        self.board.note(f"{point.name} was rejected by {outcome.worker}: {outcome.text}")
        self.unfit.add(outcome.worker)
        self.moves[point.name] = self.moves.get(point.name, 0) + 1
        others = [worker for worker in client.scheduler_info(n_workers=-1)["workers"] if worker not in self.unfit]
        if not others or self.moves[point.name] > MOVES:
            return False
        # Others are allowed, because a point that is bound to workers that end would wait forever.
        self.submit(client, [point], workers=others, allow_other_workers=True)
        return True

    def _again(self, client: Any) -> Any:
        """A new client after the scheduler was lost, with all unfinished points submitted again."""
        client.close(timeout=1)
        begun, left = time.monotonic(), list(self.futures.values())
        self.board.note(f"The scheduler {self.address} is gone; waiting for it.")
        while True:
            self.board.show()
            try:
                client = connect(self.address)
                break
            except UserError as error:
                if time.monotonic() - begun > PATIENCE:
                    raise UserError(
                        f"{error} Finished points are kept; run the same command again to continue."
                    ) from None
                time.sleep(1)
        self.board.note(f"The scheduler {self.address} is back.")
        names, message = [point.name for point in left], experiment_message(self.job.work.targets)
        there = self.job.project.finished(self.job.source, names, message)
        for name in there:
            self.board.done(name, None)
            self.harvest.add(name)
        self.futures = {}
        self._begin(client, [point for point in left if point.name not in there])
        return client

    def _stop(self, client: Any) -> None:
        try:
            if self.futures:
                client.cancel(list(self.futures), force=True)
            client.close(timeout=5)
        except (OSError, TimeoutError):
            pass  # the scheduler is gone: there is nothing to cancel


class Harvest:
    """Pulls finished experiments in batches, on a thread, and reads their figures."""

    def __init__(self, job: Job, board: Board) -> None:
        self.job, self.board = job, board
        self.waiting: list[str] = []
        self.pool = ThreadPoolExecutor(1)
        self.running = self.pool.submit(lambda: None)
        self.last = time.monotonic()

    def add(self, *names: str) -> None:
        """Queue experiments that are in the Git remote."""
        self.waiting += names

    def look(self) -> None:
        """Start on what is queued, unless a batch runs or has just run."""
        if self.waiting and self.running.done() and time.monotonic() - self.last > BATCH:
            self.last = time.monotonic()
            names, self.waiting = self.waiting, []
            self.running = self.pool.submit(self._collect, names)

    def close(self) -> None:
        """Collect the rest, and try again what could not be pulled."""
        self.pool.shutdown()
        self._collect(self.waiting)

    def _collect(self, names: list[str]) -> None:
        project, source = self.job.project, self.job.source
        fault = project.pull(source, names) if names and not self.job.local else ""
        if fault:
            self.board.note(f"{len(names)} experiments could not be pulled yet: {fault.splitlines()[-1]}")
            self.waiting += names  # with the next batch
        else:
            self.board.figures(self.job.figures(names))
