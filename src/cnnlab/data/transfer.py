"""Bytes from elsewhere, kept under data/raw/ only when they are the published file."""

import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cnnlab.core import artifacts
from cnnlab.data.catalogue import GZIP, DataFile, DataSet
from cnnlab.data.checks import RejectedError, set_aside, verify

TIMEOUT = 10  # seconds to connect, and for each read
SLOWEST = 4_000  # bytes a second, over the first PATIENCE seconds or more
PATIENCE = 30  # seconds
CHUNK = 2**16  # bytes


class UnreachableError(Exception):
    """A server that does not answer; the message is a phrase that says how."""


def raw_dir(entry: DataSet) -> Path:
    """Where fetched files are kept: outside DVC's outs, which it deletes before each run."""
    return artifacts.dataset_dir("raw") / entry.name


def addresses(entry: DataSet) -> list[str]:
    """The publisher's mirrors as torchvision knows them, each ending in a slash; none of a set it does not know."""
    if not entry.torchvision:
        return []
    from torchvision import datasets  # costs seconds, so only where a download is needed

    known = getattr(datasets, entry.torchvision)
    mirrors = getattr(known, "mirrors", None) or [known.url.rpartition("/")[0]]
    return [mirror.rstrip("/") + "/" for mirror in mirrors]


def download(url: str, file: DataFile, target: Path) -> None:
    """Download `file` to `target`, with a progress bar.

    Raises UnreachableError where the server does not answer, RejectedError for a refusal or a wrong or
    cut-off answer, UserError for a disk that is full or cannot be written.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "cnnlab"})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        raise RejectedError(f"is refused: HTTP {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnreachableError(_phrase(error)) from None
    with response:
        store(response, file, target, _length(response))


def store(stream: Any, file: DataFile, target: Path, length: int | None) -> None:
    """Write a stream to `target` if it is `file`; a wrong one is set aside, a cut-off one removed.

    `length` is how many bytes are promised, where that is known.
    """
    with artifacts.atomic_write(target) as temporary:
        count = _copy(stream, file, temporary, length)
        if length is not None and count < length:
            raise RejectedError(f"broke off after {count:,} of {length:,} bytes")
        try:
            verify(temporary, file, packed=target.suffix == GZIP)
        except RejectedError as error:
            raise RejectedError(f"{error} ({set_aside(temporary, target)})") from None


def _copy(stream: Any, file: DataFile, temporary: Path, length: int | None) -> int:
    """Copy no more than the file may have; returns the number of bytes."""
    read = getattr(stream, "read1", stream.read)  # read1 returns what has come, it waits for no whole chunk
    count, begun = 0, time.monotonic()
    bar = tqdm(total=length, desc=file.name, unit="B", unit_scale=True, mininterval=0.5)
    with temporary.open("wb") as out, bar:
        while True:
            try:
                chunk = read(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise RejectedError(f"broke off after {count:,} bytes: {_phrase(error)}") from None
            if not chunk:
                return count
            count += len(chunk)
            if count > file.largest:
                raise RejectedError(f"is longer than the {file.largest:,} bytes it may have")
            seconds = time.monotonic() - begun
            if seconds > PATIENCE and count < SLOWEST * seconds:
                raise RejectedError(f"comes too slowly: {count:,} bytes in {seconds:.0f} s")
            out.write(chunk)
            bar.update(len(chunk))


def _length(response: Any) -> int | None:
    text = response.headers.get("Content-Length") or ""
    return int(text) if text.isdecimal() and len(text) < 16 else None


def _phrase(error: Exception) -> str:
    """Why a connection failed."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT} s"
    return str(getattr(reason, "strerror", None) or reason or type(reason).__name__)
