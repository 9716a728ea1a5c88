"""Is a file what was published? And what happens to one that is not."""

import gzip
import hashlib
import zlib
from pathlib import Path

from cnnlab.data.catalogue import DATA_SETS, GZIP, DataFile

CHUNK = 2**20  # bytes
SPELLED = {"sha256": "SHA-256", "md5": "MD5"}


class RejectedError(Exception):
    """A source or a file that will not do; the message is a phrase that says why."""


def verify(path: Path, file: DataFile, *, packed: bool | None = None) -> None:
    """Raise RejectedError unless `path` holds `file`, whole; reads no more than its size and one byte.

    `packed` tells whether the content lies there as gzip; where it is None the name tells.
    """
    if not path.is_file():
        raise RejectedError("is not a regular file")
    packed = path.suffix == GZIP if packed is None else packed
    algorithm, expected = file.checksum.split(":")
    digest, count = hashlib.new(algorithm, usedforsecurity=False), 0
    try:
        with gzip.open(path, "rb") if packed and file.of_content else path.open("rb") as stream:
            while chunk := stream.read(min(CHUNK, file.size + 1 - count)):
                digest.update(chunk)
                count += len(chunk)
    except EOFError:
        raise RejectedError("is cut off: its gzip stream has no end") from None
    except (gzip.BadGzipFile, zlib.error):
        raise RejectedError("is not a whole gzip file") from None
    except OSError as error:
        raise RejectedError(f"cannot be read: {error.strerror or error}") from None
    if count < file.size:
        raise RejectedError(f"is cut off: {count:,} bytes of {file.size:,}")
    if count > file.size:
        raise RejectedError(f"is longer than {file.size:,} bytes")
    if digest.hexdigest() != expected:
        raise RejectedError(f"has the wrong {SPELLED[algorithm]}")


def identify(path: Path) -> tuple[str, str] | None:
    """The data set and file that lie at `path` under a wrong name, or None."""
    for entry in DATA_SETS.values():
        for file in entry.files:
            try:
                verify(path, file)
            except RejectedError:
                continue
            return entry.name, file.name
    return None


def set_aside(path: Path, target: Path | None = None) -> str:
    """Rename a wrong file to NAME.bad (NAME.bad2 and so on where that is taken); a phrase that says so.

    `target` is the name it was meant for, where that is not its own.
    """
    target = target or path
    names = (target.with_name(f"{target.name}.bad{number or ''}") for number in (0, *range(2, 1000)))
    try:
        aside = next(name for name in names if not name.exists() and not name.is_symlink())
        path.rename(aside)
    except (OSError, StopIteration):
        return "left where it is"
    return f"set aside as {aside.name}"
