"""`cnnlab interpolate`: from one picture to another through the VAE's codes."""

from pathlib import Path
from typing import Annotated

import typer

from cnnlab.cli.arguments import Grid, NoInvert


def interpolate(
    first: Annotated[str, typer.Argument(metavar="A", help="The picture to start from, or - for standard input.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The picture to end at.")],
    steps: Annotated[int, typer.Option(min=2, max=100, help="Pictures in a row, both ends included.")] = 8,
    grid: Grid = Path("interpolation.png"),
    no_invert: NoInvert = False,
) -> None:
    """Decode the codes between those of two pictures, on a straight line and on a great circle."""
    import numpy as np

    from cnnlab.cli.inputs import read_inputs
    from cnnlab.cli.sheets import write_sheet
    from cnnlab.core import artifacts
    from cnnlab.core.errors import UserError
    from cnnlab.core.text import printable
    from cnnlab.vae.codec import Decoder, Encoder
    from cnnlab.vae.gallery import Sheet, interpolation

    encoder = Encoder.load(artifacts.onnx_path("vae_encoder"))
    decoder = Decoder.load(artifacts.onnx_path("vae_decoder"))
    found = read_inputs(encoder.meta, [first, second], grid, invert=not no_invert)
    if found.failed:
        raise typer.Exit(1)
    if len(found.names) != 2:
        raise UserError(f"{first} and {second} name {len(found.names)} pictures: name one for each end.")
    start, end = encoder.codes(found.images)[0].astype(np.float64)
    alphas = np.linspace(0, 1, steps)
    names = [printable(Path(name).name) for name in found.names]
    sheet = Sheet(
        interpolation(decoder, end, start, alphas),
        " to ".join(names),
        ("straight", "spherical"),
        tuple(f"{alpha:.2g}" for alpha in alphas),
    )
    write_sheet(grid, sheet)
    print(f"{printable(str(grid))}: {steps} pictures from {printable(found.names[0])} to {printable(found.names[1])}.")
