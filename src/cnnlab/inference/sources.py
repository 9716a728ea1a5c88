"""From what a command line names, files, folders, globs and standard input, to decoded pictures."""

import glob
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO

from PIL import Image

from cnnlab.core.text import printable
from cnnlab.data.files import walk
from cnnlab.data.pictures import MAX_BYTES, SUFFIXES, PictureError, is_picture, read_picture

STANDARD_INPUT = "-"
NAMED = 5  # files that a note names


def find(arguments: Iterable[str], tell: Callable[[str], None]) -> Iterator[str | PictureError]:
    """The pictures that files, folders (with what is below them), globs and "-" name, in order; errors in between.

    A file that is named, or matched by a glob, is taken as a picture. Of a folder's files, those that are no pictures
    are left out, and `tell` gets a sentence on them.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT:
            yield argument
        elif _is_folder(argument):
            yield from _in_folder(Path(argument), tell)
        elif glob.has_magic(argument) and not glob.glob(glob.escape(argument)):  # noqa: PTH207
            matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 (pathlib takes no absolute patterns)
            if not matches:
                yield PictureError(printable(argument), "matches nothing")
            for match in matches:
                if _is_folder(match):
                    yield from _in_folder(Path(match), tell)
                else:  # a file may be called "-" too
                    yield f"./{match}" if match == STANDARD_INPUT else match
        else:
            yield argument


def read_source(source: str | bytes | PictureError) -> Image.Image:
    """Decode one of `find`'s results, or a file's bytes; "-" is standard input. Raises what is wrong."""
    if isinstance(source, bytes):
        return read_picture(io.BytesIO(source))
    if isinstance(source, PictureError):
        raise source
    if source != STANDARD_INPUT and not Path(source).is_relative_to("/dev/fd"):
        return read_picture(source)
    try:
        with _stream(source) as file:
            return read_picture(io.BytesIO(file.read(MAX_BYTES + 1)))
    except PictureError as error:
        raise PictureError(printable(source_name(source)), error.reason) from None
    except OSError as error:
        reason = f"cannot be read ({(error.strerror or str(error)).lower()})"
        raise PictureError(printable(source_name(source)), reason) from None


def _stream(source: str) -> AbstractContextManager[IO[bytes]]:
    """Standard input, or what a shell's <(command) opens."""
    if source != STANDARD_INPUT:
        return Path(source).open("rb")
    if sys.stdin is None:
        raise PictureError(source_name(source), "is closed")
    return nullcontext(sys.stdin.buffer)


def source_name(source: str | bytes | PictureError) -> str:
    """What a source is called in answers: the file's own name, as it must be to open the file again."""
    if isinstance(source, bytes):
        return "the picture"
    return "standard input" if source == STANDARD_INPUT else str(source)


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # such as a name that is too long: reading it will say so
        return False


def _in_folder(folder: Path, tell: Callable[[str], None]) -> Iterator[str | PictureError]:
    """The pictures below a folder, in the order of their names; those that cannot be read are found out later."""
    found, left_out = 0, list[str]()
    for file in walk(folder):
        if isinstance(file, PictureError):
            found += 1
            yield file
        elif file.suffix.lower() in SUFFIXES or is_picture(file):
            found += 1
            yield str(file)
        else:
            left_out.append(file.name)
    if left_out:
        names = ", ".join(printable(name) for name in left_out[:NAMED])
        more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
        count = "1 file" if len(left_out) == 1 else f"{len(left_out)} files"
        tell(f"{printable(str(folder))}: {count} left out, not in a picture format that is read: {names}{more}")
    if not found:
        yield PictureError(printable(str(folder)), "holds no pictures")
