"""`cnnlab reconstruct`: what the VAE keeps of a picture."""

from pathlib import Path

import typer


def reconstruct(
    pictures: list[Path] = typer.Argument(help="files of any size and common format"),
    grid: Path = typer.Option(Path("reconstructions.png"), metavar="PNG", help="the file they are drawn into"),
) -> None:
    """Send pictures through the VAE's code and back, and draw them above what comes out."""
    from cnnlab.cli.sheets import write_sheet
    from cnnlab.core import artifacts
    from cnnlab.core.errors import UserError
    from cnnlab.vae.codec import Decoder, Encoder
    from cnnlab.vae.gallery import reconstructions
    from cnnlab.vae.measure import kl_by_dimension, reconstruction_errors
    from cnnlab.vae.pictures import read_pictures

    encoder = Encoder.load(artifacts.onnx_path("vae_encoder"))
    decoder = Decoder.load(artifacts.onnx_path("vae_decoder"))
    images, good, bad = read_pictures(pictures, encoder.meta)
    if not len(images):
        raise UserError("; ".join(map(str, bad)))
    mean, logvar = encoder.codes(images)
    errors, ratios = reconstruction_errors(images, decoder.images(mean))
    for index, path in enumerate(good):
        kl = kl_by_dimension(mean[index : index + 1], logvar[index : index + 1]).sum()
        print(f"{path}: mean squared error {errors[index]:.4f}, PSNR {ratios[index]:.1f} dB, code of {kl:.1f} nats")
    write_sheet(grid, reconstructions(encoder, decoder, images))
    print(f"{grid}: {len(images)} of {len(pictures)} pictures, each above its reconstruction.")
    for error in bad:
        typer.echo(f"Error: {error}", err=True)
    if bad:
        raise typer.Exit(1)
