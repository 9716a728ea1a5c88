"""`cnnlab interpolate`: from one picture to another through the VAE's codes."""

from pathlib import Path

import typer


def interpolate(
    first: Path = typer.Argument(metavar="A", help="the picture to start from"),
    second: Path = typer.Argument(metavar="B", help="the picture to arrive at"),
    steps: int = typer.Option(8, min=2, max=100, help="pictures in a row, both ends included"),
    grid: Path = typer.Option(Path("interpolation.png"), metavar="PNG", help="the file they are drawn into"),
) -> None:
    """Go from one picture's code to another's, along the straight line and along the great circle."""
    import numpy as np

    from cnnlab.cli.sheets import write_sheet
    from cnnlab.core import artifacts
    from cnnlab.vae.codec import Decoder, Encoder
    from cnnlab.vae.gallery import Sheet, interpolation
    from cnnlab.vae.pictures import read_pictures

    encoder = Encoder.load(artifacts.onnx_path("vae_encoder"))
    decoder = Decoder.load(artifacts.onnx_path("vae_decoder"))
    images, _, bad = read_pictures([first, second], encoder.meta)
    if bad:
        raise bad[0]
    start, end = encoder.codes(images)[0].astype(np.float64)
    alphas = np.linspace(0, 1, steps)
    sheet = Sheet(
        interpolation(decoder, end, start, alphas),
        f"{first.name} to {second.name}",
        ("straight", "spherical"),
        tuple(f"{alpha:.2g}" for alpha in alphas),
    )
    write_sheet(grid, sheet)
    print(f"{grid}: {steps} pictures from {first} to {second}.")
