"""Export one trained architecture as ONNX, checked against torch, and as int8: `python stages/export.py lenet`."""

import json

import typer

from cnnlab.core import artifacts, datasets
from cnnlab.core.errors import run_command
from cnnlab.core.memory import keep_freed_memory
from cnnlab.export.bundle import make_bundle
from cnnlab.inference import Model
from cnnlab.inference.speed import speed
from cnnlab.models.classifier import load_classifier


def main(architecture: str = typer.Argument(help="as in params.yaml under models")) -> None:
    """Write the three ONNX files and ARCH.json, the figures of the export and their speed; opens no test picture."""
    keep_freed_memory()  # without it, comparing NiN with torch takes nearly twice as long
    classifier = load_classifier(artifacts.model_path(architecture))
    split = datasets.load_split(classifier.meta["dataset"], "train")
    bundle = make_bundle(classifier, split)
    path, int8_path = artifacts.onnx_path(architecture), artifacts.onnx_path(architecture, "int8")
    artifacts.write_bytes(path, bundle.lean)
    artifacts.write_bytes(artifacts.onnx_path(architecture, "features"), bundle.features)
    artifacts.write_bytes(int8_path, bundle.int8)
    text = json.dumps(bundle.sidecar, indent=2, sort_keys=True, ensure_ascii=False)
    artifacts.write_text(artifacts.sidecar_path(architecture), text + "\n")
    artifacts.write_json(artifacts.metrics_path("export", architecture), bundle.metrics)
    timing = speed(Model.load(path), split.images)
    timing |= {f"int8_{name}": value for name, value in speed(Model.load(int8_path), split.images).items()}
    artifacts.write_json(artifacts.metrics_path("timing", f"export-{architecture}"), timing)
    figures = bundle.metrics
    print(
        f"{architecture}: logits within {figures['parity_largest_difference']:.1g} of torch's "
        f"(n={figures['parity_pictures']}), validation accuracy {figures['validation_accuracy']:.4f}, int8 "
        f"{figures['int8_validation_accuracy']:.4f} in {figures['int8_bytes'] / 1e6:.2f} MB → {path}; "
        "try `cnnlab predict`."
    )


if __name__ == "__main__":
    run_command(main)
