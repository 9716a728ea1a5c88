"""Debian's package of a data set, fetched with apt-get and read with dpkg-deb: neither needs root."""

import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from cnnlab.core.errors import UserError
from cnnlab.data.catalogue import DataFile, DataSet
from cnnlab.data.checks import RejectedError
from cnnlab.data.transfer import TIMEOUT, raw_dir, store

UPDATE_LIMIT = 90  # seconds for the package lists, where the machine has none
DOWNLOAD_LIMIT = 600  # seconds for the package
OPTIONS = (
    *("-q", "-o", f"Acquire::http::Timeout={TIMEOUT}", "-o", f"Acquire::https::Timeout={TIMEOUT}"),
    *("-o", "Acquire::Retries=0", "-o", "APT::Sandbox::User=root"),
)


def fetch_package(entry: DataSet, files: Sequence[DataFile]) -> dict[str, Path]:
    """Download the package and keep `files` of it under data/raw/; returns their paths by file name.

    Raises RejectedError where apt-get or dpkg-deb is missing or fails or a file is wrong, UserError for a
    disk that is full or cannot be written.
    """
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise RejectedError(f"{program} is not on this machine")
    folder = raw_dir(entry)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".apt-", ignore_cleanup_errors=True) as work:
            return _unpack(_package(entry.debian_package, Path(work)), entry, files)
    except OSError as error:
        raise UserError(f"{folder} could not be written: {error.strerror or error}.") from None


def _package(name: str, work: Path) -> Path:
    """The .deb file, in `work`."""
    try:
        _download(name, work, OPTIONS)
    except RejectedError:  # the machine's package lists may be missing or old: fetch some of our own
        options = (*OPTIONS, *_own_lists(work))
        text = _run(["apt-get", *options, "update"], work, UPDATE_LIMIT, "package lists")
        try:
            _download(name, work, options)
        except RejectedError as error:  # an update that reached no server is no failure to apt-get
            raise RejectedError(_first_line(text, "W: ") or str(error)) from None
    found = sorted(work.glob("*.deb"))
    if not found:
        raise RejectedError("apt-get brought no package")
    return found[0]


def _download(name: str, work: Path, options: Sequence[str]) -> None:
    command = ["apt-get", *options, "download", name]
    listing = _run([*command, "--print-uris"], work, UPDATE_LIMIT)
    sizes = [int(word) for line in listing.splitlines() if line.startswith("'") for word in line.split()[2:3]]
    _run(command, work, DOWNLOAD_LIMIT, name, sum(sizes) or None)


def _own_lists(work: Path) -> tuple[str, ...]:
    """Options that keep package lists in `work`, where the machine's own cannot be written without root."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    settings = (f"Dir::State::lists={work.resolve()}/lists", f"Dir::Cache={work.resolve()}/cache")
    return tuple(word for setting in (*settings, "Acquire::Languages=none") for word in ("-o", setting))


def _run(command: list[str], work: Path, limit: float, label: str = "", total: int | None = None) -> str:
    """Run a command in `work` and return its output; `label` names a bar of what it writes there."""
    log, deadline = work / "log", time.monotonic() + limit
    bar = tqdm(total=total, desc=label, unit="B", unit_scale=True, mininterval=0.5, disable=not label)
    with log.open("wb") as out, bar:
        process = subprocess.Popen(
            command, cwd=work, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"}, start_new_session=True,
        )  # fmt: skip
        try:
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
                bar.update(_written(work) - bar.n)
        finally:
            late = process.poll() is None
            if late:  # out of time, or interrupted: apt-get's helpers end with it
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        bar.update(_written(work) - bar.n)
    text = log.read_text(errors="replace")
    if late or process.returncode:
        action = "update" if "update" in command else "download"
        fault = f"took over {limit:.0f} s" if late else f"failed: {_first_line(text, 'E: ') or 'it gave no reason'}"
        raise RejectedError(f"apt-get {action} {fault}")
    return text


def _written(work: Path) -> int:
    """Bytes of packages and package lists in `work`, whole or partial."""
    total = 0
    for pattern in ("*.deb", "lists/*", "lists/partial/*"):
        for path in work.glob(pattern):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:  # renamed by apt-get a moment ago
                continue
    return total


def _first_line(text: str, mark: str) -> str:
    """The first line that begins with `mark`, without it; empty where there is none."""
    lines = (line.strip() for line in text.splitlines())
    return next((line.removeprefix(mark).rstrip(".") for line in lines if line.startswith(mark)), "")


def _unpack(package: Path, entry: DataSet, files: Sequence[DataFile]) -> dict[str, Path]:
    """Copy the wanted files out of the package; nothing else of it is written anywhere."""
    wanted = {PurePosixPath(entry.debian_folder, file.name): file for file in files}
    kept: dict[str, Path] = {}
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    file = wanted.get(PurePosixPath(member.name))
                    stream = archive.extractfile(member) if file and member.isreg() else None
                    if file and stream:
                        target = raw_dir(entry) / file.name
                        store(stream, file, target, member.size)
                        kept[file.name] = target
        except tarfile.TarError:
            raise RejectedError("the package is damaged") from None
        finally:
            process.kill()
    if len(kept) < len(wanted):
        raise RejectedError("the package lacks a file")
    return kept
