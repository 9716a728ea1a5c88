"""The user's own pictures as a network's pixels, for the commands that look inside it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import typer

from cnnlab.data.pictures import PictureError
from cnnlab.inference.predict import find, read_source, source_name
from cnnlab.inference.prepare import prepare
from cnnlab.inference.session import Model


@dataclass(frozen=True)
class Pictures:
    """Names and pixels, uint8 [n, channels, height, width], of what could be read, and whether some could not."""

    names: list[str]
    images: np.ndarray
    failed: bool


def read_pictures(model: Model, arguments: Iterable[str], *, invert: bool) -> Pictures:
    """Prepare what files, folders, globs and "-" name as `predict` does; what cannot be read is named on stderr.

    Ends the command, with exit code 1, where there is nothing to go on with.
    """
    names, pixels, failed = [], [], False
    for source in find(arguments, tell=lambda note: typer.echo(note, err=True)):
        try:
            picture = read_source(source)
        except PictureError as error:
            typer.echo(f"Error: {error}", err=True)
            failed = True
            continue
        names.append(source_name(source))
        pixels.append(prepare(picture, model.shape, model.meta["object_share"], invert=invert).pixels)
    if not names:
        raise typer.Exit(1)
    return Pictures(names, np.stack(pixels), failed)
