"""What a Dask worker runs: a point in its own process and folder."""

import json
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from cnnlab.sweep.clone import Source
from cnnlab.sweep.grid import Point

TOPIC = "cnnlab-sweep"  # under which a worker announces that a point has begun
FULL = "No space left on device"
LITTLE = 1 << 20  # bytes: a disk with less free space counts as full
LOG_LINES = 5_000  # at the end of a log, that are sent back


@dataclass(frozen=True)
class Outcome:
    """How a point ended: `failed` is the point's fault, `unfit` the worker's (another version, a full disk)."""

    kind: Literal["done", "failed", "unfit"]
    text: str  # the log, or why the worker is unfit
    worker: str
    seconds: float


def run_point(point: Point, source: Source, targets: tuple[str, ...], wanted: Mapping[str, str]) -> Outcome:
    """Run one point on this worker; a fault of the point or the machine is an outcome, not an exception."""
    from distributed import get_worker

    worker, begun = get_worker(), time.monotonic()
    worker.log_event(TOPIC, (point.name, f"{worker.address} on {socket.gethostname()}"))

    def outcome(kind: Literal["done", "failed", "unfit"], text: str) -> Outcome:
        return Outcome(kind, text, worker.address, time.monotonic() - begun)

    if other := difference(wanted, versions()):
        return outcome("unfit", other)
    scratch = Path(worker.local_directory)
    try:
        folder = Path(tempfile.mkdtemp(prefix="point-", dir=scratch))
    except OSError as error:
        return outcome("unfit", f"{scratch} cannot be written: {error.strerror}")
    try:
        code, log = _in_process(source, point, targets, folder, scratch.parent / "cnnlab")
    except OSError as error:
        return outcome("unfit", f"{scratch}: {error.strerror}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if code and (FULL in log or shutil.disk_usage(scratch).free < LITTLE):
        return outcome("unfit", f"the disk of {scratch} is full")
    return outcome("failed" if code else "done", log)


def _in_process(source: Source, point: Point, targets: tuple[str, ...], folder: Path, keep: Path) -> tuple[int, str]:
    order = {"source": asdict(source), **asdict(point), "targets": targets, "keep": str(keep)}
    process = subprocess.Popen(
        [sys.executable, "-m", "cnnlab.sweep.point"], cwd=folder, text=True, errors="replace", start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    # The pipe stays open as long as this worker lives; the point dies with it.
    with process, process.stdin as line:
        with suppress(BrokenPipeError):
            line.write(json.dumps(order) + "\n")
            line.flush()
        log = deque(process.stdout, maxlen=LOG_LINES)  # in memory, so that a full disk loses none of it
        return process.wait(), "".join(log)


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that cnnlab needs, without build numbers."""
    needed = [one for one in metadata.requires("cnnlab") or [] if "extra ==" not in one]
    names = {"cnnlab", "dask", "distributed", *(re.split(r"[^\w.-]", one)[0] for one in needed)}
    found = {name: metadata.version(name).partition("+")[0] for name in sorted(names)}
    return {"Python": ".".join(platform.python_version_tuple()[:2]), **found}


def difference(wanted: Mapping[str, str], has: Mapping[str, str]) -> str:
    """How a worker's versions differ, or ''."""
    other = [f"{name} {has.get(name, 'none')}, not {version}" for name, version in wanted.items()
             if has.get(name) != version]  # fmt: skip
    return f"it has {'; '.join(other)}" if other else ""
