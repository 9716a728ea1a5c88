"""Full-scale runs over seeds: `python benchmarks/full_scale.py --runs lenet-report-50,mynet-modern --seeds 5`.

Trains at the settings of params.yaml's budget full, measures the kept weights once on the test set, and adds one
record for each run and seed to benchmarks/results/full_scale.json. Finished records are not run again, and an
unfinished training continues from its checkpoint, so you can stop and repeat the command at any time.

`--runs relu,max-pool` names baselines and ablations of params.yaml; `relu@0.3` has another learning rate
and a validation part held out, for choosing the rate. `--runs all --minutes 30` does what it can in that time
(`make study-gpu`).
"""

import base64
import json
import platform
import signal
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from cnnlab.core import artifacts, datasets, params
from cnnlab.core.errors import UserError, run_command
from cnnlab.study.runs import Setting, Variant, run_seeds
from cnnlab.training.classification import ClassifierTask, train_classifier
from cnnlab.training.devices import choose_device, describe, tune_process
from cnnlab.training.loop import evaluate
from cnnlab.training.steps import Row

SIGMOID = {"act": "sigmoid", "norm": "none", "pool": "avg", "kernel_size": 5, "channels": [6, 16]}
BEST = SIGMOID | {"act": "relu", "norm": "batch", "pool": "max"}
# name: architecture, recipe, options that differ from params.yaml, settings that differ from its budget full
RUNS: dict[str, tuple[str, params.Recipe, dict[str, Any], dict[str, Any]]] = {
    "lenet-report-50": ("lenet", "plain", SIGMOID, {"steps": 11750}),
    "lenet-modern": ("lenet", "modern", BEST, {}),
    "mynet-modern": ("mynet", "modern", {}, {}),
    "mynet-modern-20": ("mynet", "modern", {}, {"steps": 4220}),
    "vgg-modern": ("vgg", "modern", {}, {}),
    "vgg-modern-50": ("vgg", "modern", {}, {"steps": 10550, "shift": 2, "weight_decay": 0.05, "label_smoothing": 0.05}),
    "nin-modern": ("nin", "modern", {}, {}),
    "googlenet-modern": ("googlenet", "modern", {}, {}),
    "resnet-modern": ("resnet", "modern", {}, {}),
    "vgg-report": ("vgg", "plain", {}, {}),
    "nin-report": ("nin", "plain", {}, {}),
    "googlenet-report": ("googlenet", "plain", {"relu": "report"}, {}),
    "resnet-report": ("resnet", "plain", {}, {}),
}
FIGURES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


class TimeIsUp(KeyboardInterrupt):
    """The minutes that the user gave are over; what is unfinished has its checkpoint."""


def main(
    runs: str = typer.Option(",".join(RUNS), help="names, separated by commas; all: these and every ablation"),
    seeds: int = typer.Option(5, min=1, help="seeds 0 to N−1"),
    device: str = typer.Option("auto", help="as in params.yaml"),
    minutes: float = typer.Option(0.0, min=0, help="stop after so many; 0: when all is done"),
    output: Path = typer.Option(Path("benchmarks/results/full_scale.json"), help="where records are kept"),
) -> None:
    """Run what is not yet recorded, seed by seed, and print mean and spread of every run asked for."""
    settings = params.load()
    names = [*RUNS, *settings.ablations] if runs == "all" else runs.split(",")
    known = [*RUNS, *settings.baselines, *settings.ablations]
    for name in names:
        if name.split("@")[0] not in known:
            raise UserError(f"there is no run {name!r}; known are {', '.join(known)}.")
    choose_device(device)  # a device that cannot train is refused before anything else
    records = json.loads(output.read_text()) if output.exists() else []
    done = {(record["run"], record["seed"]) for record in records}
    missing = [(name, seed) for seed in range(seeds) for name in names if (name, seed) not in done]
    finished = 0
    try:
        with _time_limit(60 * minutes):
            for name, seed in missing:
                record = (_record if name in RUNS else _ablation_record)(name, seed, device)
                records.append(record)
                text = ",\n".join(json.dumps(record, sort_keys=True) for record in records)
                artifacts.write_text(output, f"[\n{text}\n]\n")
                finished += 1
    except TimeIsUp:
        print(f"{minutes:g} minutes are over.", file=sys.stderr)
    for name in names:
        if of_name := [record for record in records if record["run"] == name]:
            _print_summary(name, of_name)
    left = len(missing) - finished
    print(f"{left} runs are left; the same command goes on from there." if left else f"Every run is in {output}.")


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeIsUp in the block after that time; 0: never."""

    def ring(*_: Any) -> None:
        raise TimeIsUp

    if not seconds:
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _record(name: str, seed: int, device_name: str) -> dict[str, Any]:
    """Train one run with one seed and measure it on the test set."""
    settings = params.load()
    architecture, recipe, options, changes = RUNS[name]
    run = getattr(settings.models[architecture], recipe).full.model_copy(update=changes)
    device = choose_device(device_name)
    tune_process(device)
    trained = train_classifier(
        architecture,
        settings.models[architecture].options | options,
        datasets.load_info("fashion_mnist"),
        datasets.load_split("fashion_mnist", "train"),
        run,
        recipe=recipe,
        seed=seed,
        held_out=settings.validation_share,
        device=device,
        name=f"{name}-{seed}",
    )
    test = datasets.load_split("fashion_mnist", "test")
    data = torch.tensor(test.images, device=device), torch.tensor(test.labels, device=device)
    figures = {f"test_{key}": value for key, value in evaluate(ClassifierTask(trained.module, run), data, seed).items()}
    record = {"run": name, "seed": seed, "n_test": len(test.labels)} | trained.metrics() | figures
    record |= trained.progress.timing() | _curve(trained.progress.rows)
    record |= {"settings": trained.module.meta["settings"], "options": trained.module.meta["options"]}
    trained.checkpoint.remove()
    return record | _surroundings(device)


def _ablation_record(name: str, seed: int, device_name: str) -> dict[str, Any]:
    """Train one seed of a baseline or an ablation, `NAME` or `NAME@RATE`, at its protocol of budget full."""
    settings = params.load()
    variant, _, rate = name.partition("@")
    baseline = variant if variant in settings.baselines else settings.ablations[variant].baseline
    change = settings.ablation(variant).change
    start = settings.baselines[baseline]
    info, train = datasets.load_info("fashion_mnist"), datasets.load_split("fashion_mnist", "train")
    protocol = start.full.model_copy(update={"validates": start.full.validates or bool(rate)})
    device = choose_device(device_name)
    tune_process(device)
    setting = Setting(info, train, protocol, settings.validation_share, device)
    described = Variant(f"full-{variant}", baseline, start.options | change)
    test = datasets.load_split("fashion_mnist", "test")
    (run,) = run_seeds(described, setting, test, [seed], float(rate or 0) or None)
    record = {
        "run": name,
        "seed": seed,
        "n_test": len(run.hits),
        "baseline": baseline,
        "change": change,
        "rate": run.rate,
    }
    record |= (
        run.figures
        | run.timing
        | _curve(run.rows)
        | {"hits": base64.b64encode(np.packbits(run.hits).tobytes()).decode()}
    )
    run.checkpoint.remove()
    return record | _surroundings(setting.device)


def _surroundings(device: torch.device) -> dict[str, str]:
    return {"device": describe(device), "torch": torch.__version__, "machine": platform.machine()}


def _curve(rows: list[Row]) -> dict[str, Any]:
    """The accuracies of the curve, epoch by epoch, where they were measured."""
    names = [name for name in ("train_accuracy", "validation_accuracy") if name in rows[0]]
    return {f"curve_{name}": [round(row[name], 4) for row in rows] for name in names}


def _print_summary(name: str, records: list[dict[str, Any]]) -> None:
    parts = []
    for figure in FIGURES:
        values = [record[figure] for record in records]
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        parts.append(f"{figure} {statistics.mean(values):.4f}{spread}")
    print(f"{name} (n={len(records)}): {', '.join(parts)}", file=sys.stdout, flush=True)


if __name__ == "__main__":
    run_command(main)
