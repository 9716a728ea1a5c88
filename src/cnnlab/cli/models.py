"""`cnnlab models`: the architectures and what they cost."""

from typing import Annotated

import typer


def models(
    layers: Annotated[str, typer.Option(metavar="ARCH", help="Show every layer of this architecture.")] = "",
    shape: Annotated[str, typer.Option(help="A picture's channels x height x width.")] = "1x28x28",
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 10,
) -> None:
    """List the architectures with their parameters and their multiply-adds for one picture.

    Options are read from ./params.yaml; without that file, each architecture's defaults are used.
    """
    from pathlib import Path

    from cnnlab.core import params
    from cnnlab.core.errors import UserError
    from cnnlab.models import check_name

    try:
        channels, height, width = (int(part) for part in shape.lower().split("x"))
    except ValueError:
        raise UserError(f"--shape is {shape!r}; it must be channels x height x width, such as 3x32x32.") from None
    if layers:
        check_name(layers)  # before torch is imported
    from cnnlab.models.summary import render_models

    settings = params.load() if Path("params.yaml").exists() else None
    options = {name: settings.options(name) for name in settings.models} if settings else {}
    print(render_models((channels, height, width), classes, options, layers or None))
