"""Time to an accuracy on Fashion-MNIST: `python benchmarks/speedrun.py 94`. docs/speedrun.md has the rules and figures.

The recipe is fixed beforehand. A run's clock starts with the pictures in memory, before the network is built, and stops
after the last prediction. A record is the mean of at least ten seeds, in accuracy and in seconds. `--without` takes one
technique away, for the ablation.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import typer
from torch import Tensor

from cnnlab.core import artifacts, datasets
from cnnlab.core.errors import UserError, run_command
from cnnlab.core.schema import Run
from cnnlab.models.classifier import Classifier
from cnnlab.training.classification import train_classifier
from cnnlab.training.devices import choose_device, describe, tune_process
from cnnlab.training.loop import EVALUATION_BATCH

OUTPUT = Path("benchmarks/results/speedrun.json")


@dataclass(frozen=True)
class Recipe:
    """A network, its run, in passes over the 60,000 pictures, and whether a picture and its mirror image answer."""

    network: str
    options: dict[str, Any]
    passes: float
    run: Run
    mirrored: bool = True


SWIFT = Run(
    steps=1, batch_size=256, learning_rate=0.3, momentum=0.9, weight_decay=0.0005, label_smoothing=0.1, flip=True
)
RECIPES = {
    "94": Recipe("swift", {"width": 16}, 24, SWIFT),
    "95": Recipe("swift", {"width": 24}, 60, SWIFT.model_copy(update={"shift": 1, "erase": 0.25})),
}


def _changed(**changes: Any) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, run=recipe.run.model_copy(update=changes))


WITHOUT: dict[str, Callable[[Recipe], Recipe]] = {
    "mirrored answers": lambda recipe: replace(recipe, mirrored=False),
    "mirrored training": _changed(flip=False),
    "label smoothing": _changed(label_smoothing=0.0),
    "weight decay": _changed(weight_decay=0.0),
    "SGD (AdamW instead)": _changed(momentum=0.0, learning_rate=0.004, weight_decay=0.05),
    "Swift (MyNet instead)": lambda recipe: replace(recipe, network="mynet", options={}),
}


def main(
    target: str = typer.Argument(help=" or ".join(RECIPES)),
    seeds: int = typer.Option(10, min=1, help="0 to N−1; fewer than 10 are no record"),
    without: str = typer.Option("", help="one technique less: " + ", ".join(WITHOUT)),
    device: str = typer.Option("auto", help="as in params.yaml"),
    output: Path = typer.Option(OUTPUT, help="where the figures go"),
) -> None:
    """Run every seed that the file does not have yet, and print the means."""
    if target not in RECIPES or (without and without not in WITHOUT):
        raise UserError(f"the targets are {', '.join(RECIPES)}, and what can be left out {', '.join(WITHOUT)}.")
    recipe = WITHOUT[without](RECIPES[target]) if without else RECIPES[target]
    place = choose_device(device)
    tune_process(place)
    train, test = (datasets.load_split("fashion_mnist", part) for part in ("train", "test"))
    table = json.loads(output.read_text()) if output.exists() else {}
    row = f"{target} without {without}" if without else target
    found = table.setdefault(f"{row}, {describe(place)}", {})
    for seed in range(seeds):
        if str(seed) in found:
            continue
        begun = time.perf_counter()
        classifier = _train(recipe, train, seed, place)
        hits = _answers(classifier, test.images, recipe.mirrored, place) == torch.tensor(test.labels)
        seconds = time.perf_counter() - begun
        found[str(seed)] = {"accuracy": hits.float().mean().item(), "seconds": round(seconds, 2)}
        artifacts.write_text(output, json.dumps(table, indent=1) + "\n")
    accuracies, times = ([run[name] for run in found.values()] for name in ("accuracy", "seconds"))
    spread = f" ± {statistics.stdev(accuracies):.4f}" if len(found) > 1 else ""
    print(
        f"{row}: accuracy {statistics.mean(accuracies):.4f}{spread}, {statistics.mean(times):.1f} s, n = {len(found)}"
    )


def _train(recipe: Recipe, train: datasets.Split, seed: int, place: torch.device) -> Classifier:
    steps = round(recipe.passes * len(train.labels) / recipe.run.batch_size)
    trained = train_classifier(
        recipe.network, recipe.options, datasets.load_info("fashion_mnist"), train,
        recipe.run.model_copy(update={"steps": steps}), recipe="modern", seed=seed, held_out=0.1, device=place,
        validate=False, name=f"speedrun-{seed}",
    )  # fmt: skip
    trained.checkpoint.remove()
    return trained.module


@torch.inference_mode()
def _answers(classifier: Classifier, images: Any, mirrored: bool, place: torch.device) -> Tensor:
    """The class of each picture; mirrored: of the mean logits of the picture and its mirror image."""
    answers = []
    for start in range(0, len(images), EVALUATION_BATCH):
        batch = torch.tensor(images[start : start + EVALUATION_BATCH], device=place)
        logits = classifier(batch)
        if mirrored:
            logits = logits + classifier(batch.flip(3))
        answers.append(logits.argmax(1))
    return torch.cat(answers).cpu()


if __name__ == "__main__":
    run_command(main)
