"""`cnnlab reconstruct`: what the VAE keeps of a picture."""

from pathlib import Path

import typer

from cnnlab.cli.arguments import Grid, NoInvert, Pictures


def reconstruct(
    pictures: Pictures,
    grid: Grid = Path("reconstructions.png"),
    no_invert: NoInvert = False,
) -> None:
    """Encode pictures with the VAE, decode their codes, and draw each above its reconstruction.

    Unreadable files are listed and the rest are processed; the exit code is then 1.
    """
    import numpy as np

    from cnnlab.cli.inputs import read_inputs
    from cnnlab.cli.sheets import write_sheet
    from cnnlab.core import artifacts
    from cnnlab.core.text import printable
    from cnnlab.vae.codec import Decoder, Encoder
    from cnnlab.vae.gallery import reconstructions
    from cnnlab.vae.measure import divergences, reconstruction_errors

    encoder = Encoder.load(artifacts.onnx_path("vae_encoder"))
    decoder = Decoder.load(artifacts.onnx_path("vae_decoder"))
    found = read_inputs(encoder.meta, pictures, grid, invert=not no_invert)
    mean, logvar = encoder.codes(found.images)
    rebuilt = decoder.images(mean)
    noise = np.random.default_rng(0).standard_normal(mean.shape, dtype=np.float32)
    nats = divergences(decoder.prior, mean + np.exp(0.5 * logvar) * noise, mean, logvar)
    errors, ratios = reconstruction_errors(found.images, rebuilt)
    for index, name in enumerate(found.names):
        error = f"mean squared error {errors[index]:.4f}, PSNR {ratios[index]:.1f} dB"
        print(f"{printable(name)}: {error}, code of {nats[index]:.1f} nats")
    write_sheet(grid, reconstructions(found.images, rebuilt))
    count = f"{len(found.names)} picture{'s' if len(found.names) > 1 else ''}"
    print(f"{printable(str(grid))}: {count}, each above its reconstruction.")
    if found.failed:
        raise typer.Exit(1)
