"""`cnnlab sample`: pictures that the VAE makes up."""

from pathlib import Path

import typer


def sample(
    n: int = typer.Option(64, "--n", min=1, max=2500, help="how many"),
    seed: int = typer.Option(0, min=0, help="the same seed gives the same pictures"),
    from_prior: bool = typer.Option(False, "--prior", help="from the prior N(0, I), not from the fitted mixture"),
    class_name: str = typer.Option("", "--class", metavar="NAME", help="of one class only, such as Sneaker"),
    grid: Path = typer.Option(Path("samples.png"), metavar="PNG", help="the file they are drawn into"),
) -> None:
    """Draw pictures from the VAE: from the mixture fitted to its codes, from a class's Gaussian, or its prior."""
    import numpy as np

    from cnnlab.cli.sheets import write_sheet
    from cnnlab.core import artifacts
    from cnnlab.core.errors import UserError
    from cnnlab.vae.codec import Decoder
    from cnnlab.vae.densities import prior
    from cnnlab.vae.gallery import samples

    if class_name and from_prior:
        raise UserError("--class and --prior exclude each other: the prior knows of no classes.")
    decoder = Decoder.load(artifacts.onnx_path("vae_decoder"))
    generator = np.random.default_rng(seed)
    what = decoder.meta["dataset"]
    if class_name:
        index = decoder.class_index(class_name)
        z, what = decoder.gaussians()[index].sample(n, generator), decoder.class_names[index]
    elif from_prior:
        z = prior(n, int(decoder.meta["z_dim"]), generator)
    else:
        z = decoder.mixture().sample(n, generator)
    write_sheet(grid, samples(decoder, z, f"{what}, seed {seed}"))
    print(f"{grid}: {n} {what} pictures that never were, seed {seed}.")
