"""`cnnlab sample`: new pictures from the VAE."""

from pathlib import Path
from typing import Annotated

import typer

from cnnlab.cli.arguments import Grid


def sample(
    n: Annotated[int, typer.Option("--n", min=1, max=2500, help="How many pictures.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same pictures.")] = 0,
    from_prior: Annotated[
        bool, typer.Option("--prior", help="Sample from the prior instead of the fitted mixture.")
    ] = False,
    class_name: Annotated[
        str, typer.Option("--class", metavar="NAME", help="Sample one class only, such as Sneaker.")
    ] = "",
    grid: Grid = Path("samples.png"),
) -> None:
    """Sample pictures from the VAE: from the mixture fitted to its codes, one class's Gaussian, or the prior."""
    import numpy as np

    from cnnlab.cli.sheets import write_sheet
    from cnnlab.core import artifacts
    from cnnlab.core.errors import UserError
    from cnnlab.core.text import printable
    from cnnlab.vae.codec import Decoder
    from cnnlab.vae.gallery import samples

    if class_name and from_prior:
        raise UserError("--class and --prior exclude each other: the prior has no classes.")
    decoder = Decoder.load(artifacts.onnx_path("vae_decoder"))
    generator = np.random.default_rng(seed)
    what = decoder.meta["dataset"]
    if class_name:
        index = decoder.class_index(class_name)
        z, what = decoder.gaussians()[index].sample(n, generator), decoder.class_names[index]
    elif from_prior:
        z = decoder.prior.sample(n, generator)
    else:
        z = decoder.mixture().sample(n, generator)
    write_sheet(grid, samples(decoder, z, f"{what}, seed {seed}"))
    print(f"{printable(str(grid))}: {n} sampled pictures of {what}, seed {seed}.")
