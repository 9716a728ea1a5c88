"""A data set's Debian package, fetched with apt-get and unpacked with dpkg-deb: neither needs root.

Package mirrors are reached from many machines that reach nothing else.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT = 600  # seconds for one command
OPTIONS = ("-o", "Acquire::http::Timeout=10", "-o", "Acquire::Retries=0", "-o", "APT::Sandbox::User=root")


class PackageError(Exception):
    """The package cannot be fetched; the message is a phrase that says why."""


@contextmanager
def unpacked(package: str) -> Iterator[Path]:
    """Download and unpack a package into a temporary folder, which is removed afterwards.

    Raises PackageError when apt-get or dpkg-deb is missing or fails, with its own reason.
    """
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise PackageError(f"{program} is not on this machine")
    with tempfile.TemporaryDirectory(prefix="cnnlab-apt-", ignore_cleanup_errors=True) as name:
        work = Path(name)
        try:
            _run(work, "apt-get", *OPTIONS, "download", package)
        except (
            PackageError
        ):  # this machine's package lists may be missing or old: fetch lists into the temporary folder
            options = (*OPTIONS, *_own_lists(work))
            warnings = _run(work, "apt-get", *options, "update")
            try:
                _run(work, "apt-get", *options, "download", package)
            except PackageError as error:  # an update that reached no server only warns
                raise PackageError(_line(warnings, "W: ") or str(error)) from None
        for file in work.glob("*.deb"):
            _run(work, "dpkg-deb", "-x", str(file), "unpacked")
        yield work / "unpacked"


def _own_lists(work: Path) -> tuple[str, ...]:
    """Options that keep package lists in `work`: the machine's own can only be written by root."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    settings = (f"Dir::State::lists={work}/lists", f"Dir::Cache={work}/cache", "Acquire::Languages=none")
    return tuple(word for setting in settings for word in ("-o", setting))


def _run(work: Path, *command: str) -> str:
    """Run a command in `work`, its progress on stderr; returns its warnings."""
    action = " ".join(word for word in command if word in ("apt-get", "dpkg-deb", "update", "download"))
    try:
        done = subprocess.run(
            command, cwd=work, env={**os.environ, "LC_ALL": "C"}, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(),
            stderr=subprocess.PIPE, timeout=LIMIT, errors="replace", check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise PackageError(f"{action} took over {LIMIT} s") from None
    if done.returncode:
        raise PackageError(
            f"{action} failed: {_line(done.stderr, 'E: ') or done.stderr.strip() or 'it gave no reason'}"
        )
    return done.stderr


def _line(text: str, mark: str) -> str:
    """The first line that begins with `mark`, without it; "" where there is none."""
    lines = (line.strip() for line in text.splitlines())
    return next((line.removeprefix(mark).rstrip(".") for line in lines if line.startswith(mark)), "")
