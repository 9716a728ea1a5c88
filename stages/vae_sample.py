"""Measure the exported VAE on the test set and draw what it has learned: `python stages/vae_sample.py`; no torch."""

import sys

from cnnlab.core import artifacts, datasets, params
from cnnlab.core.errors import run_command
from cnnlab.figures.generation import tile_sheet
from cnnlab.inference import Model
from cnnlab.vae.codec import Decoder, Encoder
from cnnlab.vae.evaluation import evaluate
from cnnlab.vae.gallery import sheets


def main() -> None:
    """Write metrics/vae/test.json, metrics/vae.json (the loss in nats a picture) and plots/vae/pictures/."""
    settings = params.load()
    encoder = Encoder.load(artifacts.onnx_path("vae_encoder"))
    decoder = Decoder.load(artifacts.onnx_path("vae_decoder"))
    train, test = datasets.load_split("vae", "train"), datasets.load_split("vae", "test")
    judge = None  # the classifier that names what samples look like, if there is one for these pictures
    if settings.vae_dataset == settings.dataset:
        judge = Model.load(artifacts.onnx_path("mynet", "features"))
    run = settings.vae.at(settings.budget)
    figures, notes = evaluate(
        encoder,
        decoder,
        train,
        test,
        judge,
        bound_pictures=run.bound_pictures,
        draws=settings.vae.draws,
        seed=settings.seed,
    )
    artifacts.write_json(artifacts.metrics_path("vae", "test"), figures)
    artifacts.write_json(artifacts.headline_path("vae"), {"vae": figures["loss"]})
    folder = artifacts.vae_plots_dir() / "pictures"
    for name, sheet in sheets(encoder, decoder, test.images, test.labels, settings.seed).items():
        artifacts.write_figure(folder / f"{name}.png", tile_sheet(**vars(sheet)))
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)
    print(
        f"vae: test reconstruction {figures['reconstruction']:.1f} + KL {figures['kl']:.1f} = "
        f"{figures['loss']:.1f} nats a picture (n={figures['n']}), {figures['active_units']} active units; "
        f"see {folder}/ or `dvc plots show`."
    )


if __name__ == "__main__":
    run_command(main)
