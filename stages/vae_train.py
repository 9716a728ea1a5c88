"""Train the VAE on its training pictures: `python stages/vae_train.py`."""

from dataclasses import replace

from cnnlab.core import artifacts, datasets, params
from cnnlab.core.errors import run_command
from cnnlab.models import weights
from cnnlab.training.devices import choose_device, describe, tune_process
from cnnlab.vae.training import train_vae


def main() -> None:
    """Train on the training part of data/vae; write weights, curve and figures."""
    settings = params.load()
    device = choose_device(settings.device)
    tune_process(device)
    trained = train_vae(
        replace(datasets.load_info("vae"), name=settings.vae_dataset),
        datasets.load_split("vae", "train"),
        settings.vae,
        settings.vae.at(settings.budget),
        seed=settings.seed,
        held_out=settings.validation_share,
        device=device,
        precision=settings.precision,
        on_rows=lambda rows: artifacts.write_csv(artifacts.vae_plots_dir() / "curve.csv", rows),
    )
    weights.save(artifacts.model_path("vae"), trained.module, trained.meta)
    figures = trained.metrics()
    artifacts.write_json(artifacts.metrics_path("vae", "train"), figures)
    timing = trained.progress.timing() | {"device": describe(device)}
    artifacts.write_json(artifacts.metrics_path("timing", "vae"), timing)
    trained.checkpoint.remove()
    print(
        f"vae: validation reconstruction {figures['validation_reconstruction']:.1f} + KL "
        f"{figures['validation_kl']:.1f} nats a picture (n={figures['n_validation']}) → "
        f"{artifacts.model_path('vae')}; `dvc repro` continues from here."
    )


if __name__ == "__main__":
    run_command(main)
