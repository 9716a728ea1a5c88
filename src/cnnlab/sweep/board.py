"""What a sweep shows: a live table (or lines, where there is no terminal) while it runs, and its results at the end."""

import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cnnlab.sweep.grid import SEED, Point

Figures = Mapping[str, Mapping[str, float]]  # by experiment, then by what was measured
WIDE = 200  # columns of a table that goes to a file
SHOWN = 30  # running points that fit on a screen


@dataclass
class Row:
    """One point on the board."""

    state: Literal["queued", "running", "done", "failed"] = "queued"
    where: str = ""
    since: float = 0.0


@dataclass
class Board(AbstractContextManager["Board"]):
    """Progress of a sweep: a live table on a terminal, a line for each event anywhere else."""

    name: str
    rows: dict[str, Row]
    workers: int
    dashboard: str
    lower: bool = False  # whether the best figure is the lowest
    seconds: list[float] = field(default_factory=list)  # of each finished point
    best: dict[str, tuple[float, str]] = field(default_factory=dict)  # by what was measured: the figure and its point
    logs: dict[str, Path] = field(default_factory=dict)  # of the failed points
    console: Console = field(default_factory=Console)

    def __enter__(self) -> "Board":
        self.live = Live(self.table(), console=self.console, auto_refresh=False, transient=True)
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def running(self, name: str, where: str) -> None:
        """A point has begun."""
        row = self.rows.get(name)
        if row and row.state in ("queued", "running"):
            self.rows[name] = Row("running", where, time.monotonic())

    def done(self, name: str, seconds: float | None) -> None:
        """A point has finished; `seconds` is how long it took, if it ran in this sweep."""
        self.rows[name] = Row("done")
        if seconds is not None:
            self.seconds.append(seconds)
            self.line(f"done    {name} in {seconds:.1f} s ({self.summary()})")

    def failed(self, name: str, log: Path) -> None:
        """A point has failed and is not tried again."""
        self.rows[name], self.logs[name] = Row("failed"), log
        self.line(f"failed  {name}: see {log}")

    def figures(self, figures: Figures) -> None:
        """Update the best figures with those of finished points."""
        for name, measured in figures.items():
            for what, value in measured.items():
                best = self.best.get(what)
                if best is None or (value < best[0] if self.lower else value > best[0]):
                    self.best[what] = value, name

    def note(self, text: str) -> None:
        """Print a line, above the live table if there is one."""
        self.console.print(Text(text), highlight=False, soft_wrap=True)

    def line(self, text: str) -> None:
        """Print a line if there is no live table."""
        if not self.console.is_terminal:
            self.note(text)

    def show(self) -> None:
        """Redraw the live table."""
        if self.console.is_terminal:
            self.live.update(self.table(), refresh=True)

    def count(self, state: str) -> int:
        """How many points are in a state."""
        return sum(row.state == state for row in self.rows.values())

    def summary(self) -> str:
        """Counts and estimated time left, in one line."""
        counts = ", ".join(f"{self.count(state)} {state}" for state in ("queued", "running", "done", "failed"))
        open_points = self.count("queued") + self.count("running")
        if not self.seconds or not open_points:
            return counts
        rounds = open_points / min(self.workers, open_points)
        return f"{counts}; about {_duration(statistics.mean(self.seconds) * rounds)} left"

    def table(self) -> Group:
        """The live view."""
        table = Table("running", "where", "for", box=None)
        now = time.monotonic()
        busy = [(name, row) for name, row in self.rows.items() if row.state == "running"]
        for name, row in busy[:SHOWN]:
            table.add_row(Text(name), row.where, _duration(now - row.since))
        lines = [f"{self.name}: {self.summary()}", f"Dask's dashboard: {self.dashboard}"]
        lines += [f"best {what}: {value:.4g} by {name}" for what, (value, name) in sorted(self.best.items())]
        lines += [f"failed: {name}, see {log}" for name, log in self.logs.items()]
        return Group(*map(Text, lines), *([table] if busy else []))


def summarise(points: Sequence[Point], figures: Figures) -> list[dict[str, Any]]:
    """One row for each setting: the number of seeds, and of every figure the mean, the spread (n − 1) and the range."""
    groups: dict[tuple[tuple[str, str], ...], list[Mapping[str, float]]] = {}
    for point in points:
        setting = tuple((key, value) for key, value in point.settings.items() if key != SEED)
        groups.setdefault(setting, []).append(figures.get(point.name, {}))
    measured = list(dict.fromkeys(what for found in figures.values() for what in found))
    rows = []
    for setting, found in groups.items():
        row: dict[str, Any] = {**dict(setting), "finished": sum(map(bool, found))}
        for what in measured:
            values = [one[what] for one in found if what in one]
            row[what] = statistics.mean(values) if values else ""
            row[f"{what} std"] = statistics.stdev(values) if len(values) > 1 else ""
            row[f"{what} min"], row[f"{what} max"] = (min(values), max(values)) if values else ("", "")
        rows.append(row)
    return rows


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of the same keys as a table."""
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(Text(f"{value:.4f}" if isinstance(value, float) else str(value)) for value in row.values()))
    console = Console()
    console.print(table, width=None if console.is_terminal else WIDE)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
