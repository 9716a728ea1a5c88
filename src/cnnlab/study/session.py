"""One call of `cnnlab study`: make what is planned and not yet recorded, run by run, for as long as there is time."""

import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cnnlab.core import datasets
from cnnlab.core.params import Params
from cnnlab.study import records
from cnnlab.study.claims import CLAIMS
from cnnlab.study.evidence import find, planned_seeds, spread
from cnnlab.study.make import Place, make
from cnnlab.study.plan import Planned, choose, plan
from cnnlab.training import graph
from cnnlab.training.devices import choose_device, tune_process
from cnnlab.training.steps import DivergenceError


class TimeIsUp(KeyboardInterrupt):
    """The minutes that the user gave are over; unfinished training has its checkpoint."""


def run_study(settings: Params, names: Sequence[str], device_name: str, minutes: float) -> int:
    """Make what is missing of the runs named, all of them without names; returns how many seeds are left.

    Each finished seed is a record at once. A run of which a seed diverges is left for the next call: a mean over its
    other seeds would flatter it. UserError, before any work, for an unknown run, a device that cannot train, and a
    record that is not of its run as declared.
    """
    runs = plan(settings)
    chosen = choose(runs, names) if names else list(runs.values())
    device = choose_device(device_name)
    tune_process(device)
    todo, diverged = missing(chosen, runs), set[str]()
    if not todo:
        return 0
    name = settings.study.dataset
    place = Place(
        datasets.load_info(name), datasets.load_split(name, "train"), datasets.load_split(name, "test"),
        settings.study.precision, device,
    )  # fmt: skip
    try:
        with _time_limit(60 * minutes):
            while todo:
                run, seeds = todo[0]
                try:
                    _make_and_keep(run, seeds if graph.serves(device) else seeds[:1], place)
                except DivergenceError as error:
                    print(f"Warning: {error}", file=sys.stderr)
                    diverged.add(run.name)
                todo = [each for each in missing(chosen, runs) if each[0].name not in diverged]
    except TimeIsUp:
        print(f"{minutes:g} minutes are over.", file=sys.stderr)
    return sum(len(seeds) for _, seeds in missing(chosen, runs))


def missing(chosen: Sequence[Planned], runs: Mapping[str, Planned]) -> list[tuple[Planned, list[int]]]:
    """The seeds that are planned and have no record, run by run: those of a second look come last."""
    recorded = records.read(runs)
    planned = planned_seeds(find(CLAIMS, runs, recorded), runs, recorded)
    todo = [
        (run, [seed for seed in range(planned[run.name]) if seed not in recorded.get(run.name, {})]) for run in chosen
    ]
    first = [(run, seeds) for run, seeds in todo if seeds and seeds[0] < run.seeds]
    return first + [(run, seeds) for run, seeds in todo if seeds and seeds[0] >= run.seeds]


def summary(run: Planned) -> str:
    """Mean, spread and n of a run's test accuracy, in one line."""
    values = [record["test_accuracy"] for record in records.read_run(run).values()]
    return f"{run.name}: test accuracy {spread(values, 4)}" if values else f"{run.name}: no seed yet"


def _make_and_keep(run: Planned, seeds: list[int], place: Place) -> None:
    for record, checkpoint in make(run, seeds, place):
        path = records.write(record)
        checkpoint.remove()
        print(
            f"{path}: test accuracy {record['test_accuracy']:.4f}, mean of the last epochs "
            f"{record['tail_test_accuracy']:.4f}; {record['seconds']:.0f} s, "
            f"{record['examples_per_second']:,.0f} pictures a second in training.",
            flush=True,
        )


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeIsUp in the block after that time; 0: never."""

    def ring(*_: Any) -> None:
        raise TimeIsUp

    if not seconds:
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
