"""The user's own pictures as a network's pixels, for every command that looks inside one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from cnnlab.core.errors import UserError
from cnnlab.core.text import printable
from cnnlab.data.pictures import PictureError
from cnnlab.inference.prepare import prepare
from cnnlab.inference.sources import find, read_source, source_name


@dataclass(frozen=True)
class Inputs:
    """Names and pixels, uint8 [n, channels, height, width], of what could be read, and whether some could not."""

    names: list[str]
    images: np.ndarray
    failed: bool


def read_inputs(meta: Mapping[str, Any], arguments: Iterable[str], output: Path, *, invert: bool) -> Inputs:
    """Read and prepare what files, folders, globs and "-" name, as `predict` does; errors go to stderr.

    meta: an exported model's (`shape` and `object_share`). Exits with code 1 where no picture can be read. UserError
    where `output`, the file that the command will write, is one of the pictures.
    """
    channels, height, width = meta["shape"]
    names, pixels, failed = [], [], False
    for source in find(arguments, tell=lambda note: typer.echo(note, err=True)):
        try:
            picture = read_source(source)
        except PictureError as error:
            typer.echo(f"Error: {error}", err=True)
            failed = True
            continue
        if isinstance(source, str) and output.exists() and Path(source).exists() and output.samefile(source):
            raise UserError(f"{printable(str(output))} is one of the pictures: name another file to write.")
        names.append(source_name(source))
        pixels.append(prepare(picture, (channels, height, width), meta.get("object_share"), invert=invert).pixels)
    if not names:
        raise typer.Exit(1)
    return Inputs(names, np.stack(pixels), failed)
