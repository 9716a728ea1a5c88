"""Measure the exported files of one architecture on the test set: `python stages/evaluate.py lenet`."""

import sys

import numpy as np
import typer

from cnnlab.core import artifacts, datasets, metrics, params
from cnnlab.core.errors import run_command
from cnnlab.figures.classification import worst_mistakes
from cnnlab.inference import Model

SHOWN = 40  # pictures in the grid of the worst mistakes


def main(architecture: str = typer.Argument(help="as in params.yaml under models")) -> None:
    """Run the fp32 and the int8 file through onnxruntime; write figures, confusion, per-class bars, worst mistakes."""
    settings = params.load()
    test = datasets.load_split(settings.dataset, "test")
    folder = artifacts.test_plots_dir(architecture)
    model = Model.load(artifacts.onnx_path(architecture))
    names = np.array(model.class_names)
    logits = model.logits(test.images)
    figures = metrics.classification_metrics(logits, test.labels, model.temperature)
    int8 = Model.load(artifacts.onnx_path(architecture, "int8")).logits(test.images)
    figures |= metrics.quantisation_loss(logits, int8, test.labels)
    figures |= {"seed": model.meta["seed"]}
    predicted = logits.argmax(axis=1)
    artifacts.write_json(artifacts.metrics_path("test", architecture), figures)
    artifacts.write_json(artifacts.headline_path(architecture), {architecture: round(figures["accuracy"], 4)})
    pairs = [{"actual": names[a], "predicted": names[p]} for a, p in zip(test.labels, predicted, strict=True)]
    artifacts.write_csv(folder / "confusion.csv", pairs)
    per_class = metrics.per_class(predicted, test.labels, list(model.class_names))
    artifacts.write_csv(folder / "per_class.csv", per_class)
    confidence = metrics.softmax(logits, model.temperature).max(axis=1)
    wrong = np.flatnonzero(predicted != test.labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:SHOWN]
    figure = worst_mistakes(
        test.images[np.sort(worst)], test.labels[np.sort(worst)], predicted[np.sort(worst)],
        confidence[np.sort(worst)], list(model.class_names),
    )  # fmt: skip
    artifacts.write_figure(folder / "worst_mistakes.png", figure)
    if figures["classes_answered"] == 1:
        print(f"Warning: {architecture} answers {names[predicted[0]]} for every test picture.", file=sys.stderr)
    sizes = np.bincount(test.labels, minlength=len(names))
    balanced = "" if sizes.min() == sizes.max() else f"balanced accuracy {figures['balanced_accuracy']:.4f}, "
    print(
        f"{architecture}: {balanced}test accuracy {figures['accuracy']:.4f} (95 % {figures['accuracy_95_low']:.4f} to "
        f"{figures['accuracy_95_high']:.4f}, n={figures['n']}), int8 {figures['int8_accuracy']:.4f}; "
        f"see plots/test/{architecture}/ or `dvc plots show`."
    )


if __name__ == "__main__":
    run_command(main)
