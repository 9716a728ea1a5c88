"""`cnnlab sample`: pictures that the VAE makes up."""

from pathlib import Path

import typer


def sample(
    n: int = typer.Option(64, "--n", min=1, max=2500, help="how many"),
    seed: int = typer.Option(0, min=0, help="the same seed gives the same pictures"),
    class_name: str = typer.Option("", "--class", metavar="NAME", help="of one class only, such as Sneaker"),
    grid: Path = typer.Option(Path("samples.png"), metavar="PNG", help="the file they are drawn into"),
) -> None:
    """Draw pictures from the VAE: from its prior, or from the Gaussian of one class's codes."""
    import numpy as np

    from cnnlab import artifacts
    from cnnlab.commands.sheets import write_sheet
    from cnnlab.vae.codec import Decoder
    from cnnlab.vae.gallery import samples
    from cnnlab.vae.latent import prior

    decoder = Decoder.load(artifacts.onnx_path("vae_decoder"))
    generator = np.random.default_rng(seed)
    what = decoder.meta["dataset"]
    if class_name:
        index = decoder.class_index(class_name)
        z, what = decoder.gaussians()[index].sample(n, generator), decoder.class_names[index]
    else:
        z = prior(n, int(decoder.meta["z_dim"]), generator)
    write_sheet(grid, samples(decoder, z, f"{what}, seed {seed}"))
    print(f"{grid}: {n} {what} pictures that never were, seed {seed}.")
