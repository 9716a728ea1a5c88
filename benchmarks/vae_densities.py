"""How many Gaussians the mixture of codes should have: `python benchmarks/vae_densities.py`, after `dvc repro`.

Fits mixtures to the training codes of the exported VAE and prints a table for docs/vae.md: the log density of codes of
the validation pictures, which chooses, what mynet makes of samples where it was trained on the same pictures, and the
seconds of the fit.
"""

import time

import numpy as np
import typer

from cnnlab.core import datasets, params
from cnnlab.core.errors import run_command
from cnnlab.core.split import stratified_split
from cnnlab.inference import Model
from cnnlab.vae.codec import Decoder, Encoder
from cnnlab.vae.densities import Gaussian, Mixture, fit_mixture
from cnnlab.vae.measure import confidence_figures

DRAWS, SAMPLES = 3, 5000


def main(
    components: str = typer.Option("1,2,3,5,8,10", help="Gaussians a class, separated by commas"),
    models: str = typer.Option("models", help="the folder of vae_encoder.onnx, vae_decoder.onnx, mynet.onnx"),
    data: str = typer.Option("vae", help="the folder under data/ of the VAE's pictures"),
) -> None:
    """Print a row for the standard normal prior and for each number of Gaussians."""
    encoder, decoder = Encoder.load(f"{models}/vae_encoder.onnx"), Decoder.load(f"{models}/vae_decoder.onnx")
    split, meta, settings = datasets.load_split(data, "train"), decoder.meta, params.load()
    judge = Model.load(f"{models}/mynet.onnx") if meta["dataset"] == settings.dataset else None
    train, validation = stratified_split(split.labels, meta["validation_share"], meta["seed"])
    mean, logvar = encoder.codes(split.images[validation])
    z = mean + np.exp(0.5 * logvar) * np.random.default_rng(meta["seed"]).standard_normal(mean.shape)
    codes = encoder.codes(split.images[train])
    print("| Gaussians | log density | confidence over .8 | rarest class | seconds |\n|---|---|---|---|---|")
    standard = Mixture(np.ones(1), [Gaussian(np.zeros(z.shape[1]), np.eye(z.shape[1]))])
    print(f"| N(0, I) | {_row(standard, z, decoder, judge)} | |")
    for count in map(int, components.split(",")):
        began = time.perf_counter()
        fitted = fit_mixture(*codes, split.labels[train], count, meta["seed"])
        seconds = time.perf_counter() - began
        print(f"| {count} | {_row(fitted, z, decoder, judge)} | {seconds:.1f} |", flush=True)


def _row(density: Mixture, z: np.ndarray, decoder: Decoder, judge: Model | None) -> str:
    """Log density of the codes z, and what the judge makes of samples, mean ± standard deviation of three draws."""
    cells = [f"{density.log_density(z).mean():.2f}"]
    if judge is None:
        return " | ".join([*cells, "", ""])
    found = []
    for seed in range(DRAWS):
        images = decoder.images(density.sample(SAMPLES, np.random.default_rng(seed)))
        found.append(list(confidence_figures(judge.probabilities(judge.logits(images)), "x").values())[:2])
    means, spreads = np.mean(found, axis=0), np.std(found, axis=0, ddof=1)
    return " | ".join([*cells, *(f"{m:.3f} ± {s:.3f}" for m, s in zip(means, spreads, strict=True))])


if __name__ == "__main__":
    run_command(main)
