"""How many Gaussians the mixture of codes should have: `python benchmarks/vae_densities.py`, after `dvc repro`.

Fits mixtures to the training codes of the exported VAE, prints a table and writes it to
benchmarks/results/vae_densities.json: the log density of codes of
the validation pictures, which chooses, what mynet makes of samples where it was trained on the same pictures, and the
seconds of the fit.
"""

import time
from pathlib import Path

import numpy as np
import typer

from cnnlab.core import artifacts, datasets, params
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
    results: Path = typer.Option(Path("benchmarks/results/vae_densities.json"), help="where the figures go"),
) -> None:
    """Print and record the standard normal prior and each number of Gaussians."""
    encoder, decoder = Encoder.load(f"{models}/vae_encoder.onnx"), Decoder.load(f"{models}/vae_decoder.onnx")
    split, meta, settings = datasets.load_split(data, "train"), decoder.meta, params.load()
    judge = Model.load(f"{models}/mynet.onnx") if meta["dataset"] == settings.dataset else None
    train, validation = stratified_split(split.labels, meta["validation_share"], meta["seed"])
    mean, logvar = encoder.codes(split.images[validation])
    z = mean + np.exp(0.5 * logvar) * np.random.default_rng(meta["seed"]).standard_normal(mean.shape)
    codes = encoder.codes(split.images[train])
    standard = Mixture(np.ones(1), [Gaussian(np.zeros(z.shape[1]), np.eye(z.shape[1]))])
    record = _show("N(0, I)", _figures(standard, z, decoder, judge))
    for count in map(int, components.split(",")):
        began = time.perf_counter()
        fitted = fit_mixture(*codes, split.labels[train], count, meta["seed"])
        seconds = {"seconds to fit": time.perf_counter() - began}
        record |= _show(f"{count} Gaussians a class", _figures(fitted, z, decoder, judge) | seconds)
    about = {"dataset": meta["dataset"], "seed": meta["seed"], "n": len(z), "draws": DRAWS, "samples": SAMPLES}
    artifacts.write_json(results, record | about)
    print(f"→ {results}")


def _figures(density: Mixture, z: np.ndarray, decoder: Decoder, judge: Model | None) -> dict[str, float]:
    """Log density of the codes z, and what the judge makes of samples: mean and standard deviation of three draws."""
    figures = {"log density": float(density.log_density(z).mean())}
    if judge is None:
        return figures
    found = []
    for seed in range(DRAWS):
        images = decoder.images(density.sample(SAMPLES, np.random.default_rng(seed)))
        found.append(list(confidence_figures(judge.probabilities(judge.logits(images)), "x").values())[:2])
    for place, name in enumerate(("confidence over .8", "rarest class")):
        values = [each[place] for each in found]
        figures |= {name: float(np.mean(values)), f"{name}, standard deviation": float(np.std(values, ddof=1))}
    return figures


def _show(name: str, figures: dict[str, float]) -> dict[str, float]:
    """Print a line; the figures under the density's name."""
    print(f"{name}: {', '.join(f'{key} {value:.3f}' for key, value in figures.items())}", flush=True)
    return {f"{name}: {key}": value for key, value in figures.items()}


if __name__ == "__main__":
    run_command(main)
