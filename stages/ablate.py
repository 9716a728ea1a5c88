"""Train one entry of the ablations over seeds: `python stages/ablate.py relu`."""

import typer

from cnnlab.ablation.runs import Setting, Variant, run_variant
from cnnlab.core import artifacts, datasets, params
from cnnlab.core.errors import run_command
from cnnlab.training.devices import choose_device, tune_process


def main(name: str = typer.Argument(help="as in params.yaml under ablations")) -> None:
    """Write the figures (mean, spread, n), the curves, and which test pictures each seed has right."""
    settings = params.load()
    ablation = settings.ablation(name)
    start = settings.baselines[ablation.baseline]
    protocol = settings.protocol(ablation.baseline)
    info, train = datasets.load_info(settings.dataset), datasets.load_split(settings.dataset, "train")
    device = choose_device(settings.device)
    tune_process(device)
    setting = Setting(info, train, protocol, settings.held_out, device, settings.precision)
    variant = Variant(f"ablation-{name}", ablation.baseline, start.options | ablation.change)
    runs = run_variant(variant, setting, datasets.load_split(settings.dataset, "test"))
    figures = runs.figures() | {
        "baseline": ablation.baseline,
        "change": ", ".join(f"{key}={value}" for key, value in ablation.change.items()),
        "budget": settings.budget,
        "dataset": settings.dataset,
        "recipe": protocol.recipe,
        "epochs": runs.curves()[-1]["epoch"],
    }
    artifacts.write_array(artifacts.ablation_hits_path(name), runs.hits())
    artifacts.write_csv(artifacts.ablation_curve_path(name), runs.curves())
    artifacts.write_json(artifacts.metrics_path("ablation", name), figures)
    for checkpoint in runs.checkpoints:
        checkpoint.remove()
    accuracy, spread = figures["test_accuracy_mean"], figures["test_accuracy_std"]
    print(f"{name}: test accuracy {accuracy:.4f} ± {spread:.4f} (n={figures['n']}); next: `dvc repro compare`.")


if __name__ == "__main__":
    run_command(main)
