"""`cnnlab models`: the architectures and what they cost."""

import typer


def models(
    layers: str = typer.Option("", metavar="ARCH", help="show every layer's output shape of one architecture"),
    shape: str = typer.Option("1x28x28", help="channels x height x width of a picture"),
    classes: int = typer.Option(10, min=2, help="number of classes"),
) -> None:
    """List the architectures: parameters and multiply-adds for one picture."""
    from cnnlab.core.errors import UserError
    from cnnlab.models.summary import render_models

    try:
        channels, height, width = (int(part) for part in shape.lower().split("x"))
    except ValueError:
        raise UserError(f"--shape is {shape!r}; it is channels x height x width, such as 3x32x32.") from None
    print(render_models((channels, height, width), classes, layers=layers or None))
