"""Decoders and likelihoods of the VAE over seeds: `python benchmarks/vae_forms.py --data fashion_mnist --seeds 3`.

Trains each form at params.yaml's `vae` settings, its steps, batch size and rate changed by the options, measures the
kept weights once on the test set, and adds one record for each run to benchmarks/results/vae_forms.json. Finished
records are not made again and unfinished training continues, so you can stop and repeat the command.

--data names a folder under data/, or an .npy file of uint8 pictures [n, c, h, w], whose last tenth is the test set.
"""

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from cnnlab.core import artifacts, datasets, params, schema
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.errors import run_command
from cnnlab.models.weights import save
from cnnlab.training.devices import choose_device, describe, tune_process
from cnnlab.training.loop import evaluate
from cnnlab.training.trained import Trained
from cnnlab.vae.likelihoods import pixel_entropy
from cnnlab.vae.task import VaeTask
from cnnlab.vae.training import train_vae

# Of the settings; the run's own are added.
RECORDED = {"z_dim", "likelihood", "prior", "beta", "warm_up", "binarize", "flip"}
FIGURES = ("loss", "reconstruction", "kl")


def main(
    data: str = typer.Option("fashion_mnist", help="a folder under data/, or an .npy file of pictures"),
    seeds: int = typer.Option(3, min=1, help="seeds 0 to N−1"),
    forms: str = typer.Option("relu,linear", help="of the decoder, separated by commas"),
    likelihood: str = typer.Option("", help="bernoulli, continuous_bernoulli or gaussian; else as in params.yaml"),
    prior: str = typer.Option("", help="normal or learned; else as in params.yaml"),
    binarize: bool = typer.Option(False, help="pictures of zeros and ones, without padding"),
    steps: int = typer.Option(0, min=0, help="of the optimizer; 0: params.yaml's budget quick"),
    batch_size: int = typer.Option(0, min=0, help="pictures; 0: as there"),
    learning_rate: float = typer.Option(0.0, min=0, help="peak; 0: as there"),
    weights: Path | None = typer.Option(None, help="a folder to keep the weights in"),
    output: Path = typer.Option(Path("benchmarks/results/vae_forms.json"), help="where records are kept"),
) -> None:
    """Make the runs that are not recorded yet; print mean and spread of both forms."""
    settings = params.load()
    wished = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
    update: dict[str, Any] = {key: value for key, value in wished.items() if value}
    if steps:
        update["passes"] = None  # no end before these steps
    run = settings.vae.quick.model_copy(update=update)
    vae = settings.vae.model_copy(
        update={
            "likelihood": likelihood or settings.vae.likelihood,
            "prior": prior or settings.vae.prior,
            "binarize": binarize or settings.vae.binarize,
        }
    )
    info, train, test = _read(data)
    device = choose_device(settings.device)
    tune_process(device)
    records = json.loads(output.read_text()) if output.exists() else []
    chosen = []
    for form in forms.split(","):
        for seed in range(seeds):
            key = {"data": info.name, "decoder": form, "seed": seed} | run.model_dump(
                exclude={"bound_pictures", "passes"}
            )
            key |= vae.model_dump(include=RECORDED)
            found = [record for record in records if key.items() <= record.items()]
            if not found:
                chosen_vae = vae.model_copy(update={"decoder": form})
                trained = train_vae(
                    info, train, chosen_vae, run, seed=seed, held_out=settings.validation_share, device=device,
                    name=f"{info.name}-{form}-{seed}",
                )  # fmt: skip
                found = [key | _measure(trained, chosen_vae, test, seed, device)]
                records += found
                artifacts.write_text(
                    output, "[\n" + ",\n".join(json.dumps(r, sort_keys=True) for r in records) + "\n]\n"
                )
                if weights:
                    save(weights / f"{info.name}-{form}-{seed}.pt", trained.module, trained.meta)
                trained.checkpoint.remove()
            chosen.append(found[0])
    for form in forms.split(","):
        _print_summary(info.name, form, [record for record in chosen if record["decoder"] == form])


def _read(data: str) -> tuple[DatasetInfo, Split, Split]:
    """The data set, its training and its test part."""
    if not data.endswith(".npy"):
        return datasets.load_info(data), datasets.load_split(data, "train"), datasets.load_split(data, "test")
    images = artifacts.read_array(data)
    first = len(images) - len(images) // 10
    parts = [Split(part, np.zeros(len(part), np.int64)) for part in (images[:first], images[first:])]
    channels, height, width = images.shape[1:]
    info = DatasetInfo(Path(data).stem, (), channels, height, width, "the user's own", data, light_on_dark=False)
    return info, parts[0], parts[1]


def _measure(trained: Trained, settings: schema.Vae, test: Split, seed: int, device: torch.device) -> dict[str, Any]:
    """Test figures, one draw of the code for each picture, and the run's own."""
    task = VaeTask(trained.module, settings.model_copy(update={"beta": 1.0}))
    data = torch.tensor(test.images, device=device), torch.tensor(test.labels, device=device)
    figures = evaluate(task, data, seed)
    figures |= {"n_test": len(test.images), "floor": pixel_entropy(test.images), "device": describe(device)}
    return figures | trained.metrics() | trained.progress.timing() | {"torch": torch.__version__}


def _print_summary(data: str, form: str, records: list[dict[str, Any]]) -> None:
    parts = []
    for figure in FIGURES:
        values = [record[figure] for record in records]
        spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        parts.append(f"{figure} {statistics.mean(values):.2f}{spread}")
    print(f"{data}, {form} (n={len(records)}): {', '.join(parts)}", flush=True)


if __name__ == "__main__":
    run_command(main)
