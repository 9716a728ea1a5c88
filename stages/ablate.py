"""Train a baseline or one variant of it over seeds: `python stages/ablate.py lenet` or `… lenet relu`."""

import typer

from cnnlab import artifacts, params
from cnnlab.ablation.runs import Setting, Variant, run_variant
from cnnlab.errors import run_command
from cnnlab.training.devices import choose_device


def main(
    baseline: str = typer.Argument(help="as in params.yaml under baselines"),
    variant: str = typer.Argument("", help="as in params.yaml under ablations; without it the baseline itself"),
) -> None:
    """Write mean, spread, n and the difference from the baseline, the curves, and which test pictures are right."""
    settings = params.load()
    start = settings.baseline(baseline)
    change = settings.variant(baseline, variant) if variant else {}
    name, protocol = variant or baseline, start.at(settings.budget)
    info, train = artifacts.load_info(settings.dataset), artifacts.load_split(settings.dataset, "train")
    setting = Setting(info, train, protocol, settings.held_out, choose_device(settings.device), settings.precision)
    described = Variant(f"ablation-{name}", baseline, start.options | change)
    runs = run_variant(described, setting, artifacts.load_split(settings.dataset, "test"))
    reference, hits = {}, None
    if variant:
        reference = artifacts.read_json(artifacts.metrics_path("ablation", baseline))
        hits = artifacts.read_array(artifacts.ablation_hits_path(baseline))
    figures = runs.figures(reference, hits) | {
        "baseline": baseline,
        "change": ", ".join(f"{key}={value}" for key, value in change.items()),
        "budget": settings.budget,
        "dataset": settings.dataset,
        "recipe": protocol.recipe,
        "epochs": protocol.epochs,
    }
    artifacts.write_array(artifacts.ablation_hits_path(name), runs.hits())
    artifacts.write_csv(artifacts.ablation_curve_path(name), runs.curves())
    artifacts.write_json(artifacts.metrics_path("ablation", name), figures)
    for checkpoint in runs.checkpoints:
        checkpoint.remove()
    accuracy, spread = figures["test_accuracy_mean"], figures["test_accuracy_std"]
    difference = f", {figures['difference_mean']:+.4f} against {baseline}" if variant else ""
    print(f"{name}: test accuracy {accuracy:.4f} ± {spread:.4f} (n={figures['n']}){difference}; `dvc repro` goes on.")


if __name__ == "__main__":
    run_command(main)
