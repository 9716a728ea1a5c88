"""Train one architecture: `python stages/train.py lenet --act relu --pool max`; flags are its options."""

import sys
from typing import Any

import typer

from cnnlab.core import artifacts, datasets, params
from cnnlab.core.errors import run_command
from cnnlab.models.classifier import save_classifier
from cnnlab.training import parallel
from cnnlab.training.classification import train_classifier
from cnnlab.training.devices import choose_device, describe, tune_process


def main(context: typer.Context, architecture: str) -> None:
    """Train on the training part of the data; write weights, curve and figures."""
    settings = params.load()
    wanted = choose_device(settings.device)
    parallel.launch(settings.train.processes, wanted)
    tune_process(wanted)
    curve = artifacts.curve_path(architecture)
    with parallel.joined(wanted) as device:
        trained = train_classifier(
            architecture,
            settings.options(architecture) | params.parse_flags(context.args),
            datasets.load_info(settings.dataset),
            datasets.load_split(settings.dataset, "train"),
            settings.run(architecture),
            recipe=settings.recipe,
            seed=settings.seed,
            held_out=settings.held_out,
            device=device,
            precision=settings.precision,
            class_weights=settings.train.class_weights,
            on_rows=lambda rows: artifacts.write_csv(curve, rows),
        )
    if parallel.rank() > 0:
        return
    save_classifier(artifacts.model_path(architecture), trained.module)
    figures = trained.metrics()
    if figures.get("validation_answers_one_class"):
        print(
            f"Warning: {architecture} answers one class for every validation picture, so it has not learnt to tell "
            "them apart: try a lower learning_rate, more steps or another activation.",
            file=sys.stderr,
        )
    chosen = {"budget": settings.budget, "recipe": settings.recipe, "dataset": settings.dataset}
    artifacts.write_json(artifacts.metrics_path("train", architecture), figures | chosen)
    timing = trained.progress.timing() | {"device": describe(device)}
    artifacts.write_json(artifacts.metrics_path("timing", architecture), timing)
    trained.checkpoint.remove()
    path = artifacts.model_path(architecture)
    print(f"{architecture}: {_summary(figures)} → {path}; `dvc repro` continues from here.")


def _summary(figures: dict[str, Any]) -> str:
    held_out = f"validation accuracy {figures['validation_accuracy']:.4f}, " if figures["n_validation"] else ""
    return (
        f"{held_out}training accuracy {figures['train_accuracy']:.4f} at epoch {figures['best_epoch']:g} "
        f"of {figures['epochs']:g}"
    )


if __name__ == "__main__":
    run_command(main, allow_flags=True)
