"""The model card: what a file takes and gives, how good it is, what it was made from. Needs no torch."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

# Where int8 was timed against float32 (benchmarks/inference.py on a CPU, benchmarks/web_speed.py in WebAssembly).
PLACES = {
    "a picture on a CPU": "onnxruntime{kind} batch 1 times_eager",
    "256 pictures on a CPU": "onnxruntime{kind} batch 256 times_eager",
    "a picture in WebAssembly": "web batch 1 int8_times_float32",
    "50 pictures in WebAssembly": "web batch 50 int8_times_float32",
}
LEVEL = 0.95  # below it int8 counts as slower


def model_card(
    meta: Mapping[str, Any],
    taps: Sequence[str],
    figures: Mapping[str, Any],
    test: Mapping[str, Any],
    speed: Mapping[str, Any],
) -> str:
    """Markdown for one architecture.

    From its ONNX metadata, the names of its taps, metrics/export/ARCH.json, metrics/test/ARCH.json (empty where it was
    not tested) and the benchmarks of speed.
    """
    name, classes = meta["architecture"], meta["class_names"]
    channels, height, width = meta["shape"]
    sections = [
        f"# {meta['title']}\n\nWritten by the stage `page` from the exported files; do not edit.",
        _table(
            "Use",
            {
                "file": f"`models/{name}.onnx`, float32; `models/{name}.int8.onnx`, quantised; "
                f"`models/{name}.features.onnx`, every tap",
                "input": f"`image`, uint8 [batch, {channels}, {height}, {width}]: the data set's own pixels",
                "output": f"`logits`, float32 [batch, {len(classes)}]",
                "classes": ", ".join(classes),
                "preprocessing": f"in the graph: pixels / 255, minus {_numbers(meta['mean'])}, divided by "
                f"{_numbers(meta['std'])}; padding, where the network pads",
                "probabilities": f"softmax(logits / {figures['temperature']:.4g}); int8: "
                f"softmax(logits / {figures['int8_temperature']:.4g})",
                "taps": ", ".join(taps),
                **_which_file(name, speed),
            },
        ),
        _table("Size", _size(figures)),
        _table("Accuracy", _tested(figures, test) | _accuracy(figures)),
        _table("Made from", _origin(meta)),
        "## How to run\n\n```bash\n"
        f"cnnlab predict picture.jpg --model models/{name}.onnx\n```\n\n"
        "From other programs, without cnnlab: [docs/deploy.md](../deploy.md).",
    ]
    return "\n\n".join(sections) + "\n"


def _which_file(name: str, speed: Mapping[str, Any]) -> dict[str, str]:
    """How fast int8 is against float32, and which of the two to take; nothing where it was not measured."""
    ratios: dict[str, float] = {}
    for place, key in PLACES.items():
        own = [speed.get(f"{name} {key.format(kind=kind)}") for kind in (" int8", "")]
        if own[0] and own[1]:
            ratios[place] = own[0] / own[1] if "times_eager" in key else own[0]
    if not ratios:
        return {}
    slower = [place for place, ratio in ratios.items() if ratio < LEVEL]
    if not slower:
        advice = "int8"
    elif len(slower) == len(ratios):
        advice = "float32; int8 is slower everywhere and only saves bytes"
    else:
        advice = f"float32 for {', '.join(slower)}, where int8 is slower; else int8"
    measured = ", ".join(f"{place} {ratio:.2g} ×" for place, ratio in ratios.items())
    return {"int8's speed, float32's being 1 ×": measured, "which file to take for speed": advice}


def _size(figures: Mapping[str, Any]) -> dict[str, str]:
    return {
        "parameters": f"{figures['parameters']:,}",
        "multiply-adds for one picture": f"{figures['multiply_adds']:,}",
        "float32 file": f"{figures['onnx_bytes']:,} bytes",
        "int8 file": f"{figures['int8_bytes']:,} bytes",
    }


def _tested(figures: Mapping[str, Any], test: Mapping[str, Any]) -> dict[str, str]:
    """The test figures first: they are what to expect of new pictures. The code chooses nothing by them."""
    if not test:
        return {"test set": "not measured yet"}
    low, high = (f"{test[f'accuracy_95_{end}']:.4f}" for end in ("low", "high"))
    rows = {
        "test set, float32": f"**{test['accuracy']:.4f}**, 95 % interval {low} to {high}, n = {test['n']:,}: of this "
        "network on other pictures, not of another seed",
        "test set, int8": f"{test['int8_accuracy']:.4f}",
    }
    harder = 100 * (figures["validation_accuracy"] - test["accuracy"])
    if figures["held_out"] and harder > 0:
        rows["which to expect"] = (
            f"the test figure: it is {harder:.1f} points lower than validation's, on which the epoch, the temperature "
            "and most of the recipe were chosen"
        )
    return rows


def _accuracy(figures: Mapping[str, Any]) -> dict[str, str]:
    held_out = "not trained on" if figures["held_out"] else "trained on too: the recipe holds nothing out"
    return {
        "validation, float32": f"{figures['validation_accuracy']:.4f}",
        "validation, int8": f"{figures['int8_validation_accuracy']:.4f}",
        "validation, calibration error": f"{figures['calibration_error']:.4f}",
        "validation, pictures": f"{figures['n_validation']:,}, {held_out}",
        "largest difference of a logit from torch's": f"{figures['parity_largest_difference']:.1e} × max(1, size)",
    }


def _origin(meta: Mapping[str, Any]) -> dict[str, str]:
    options = {key: json.dumps(value) for key, value in sorted(meta["options"].items())}
    settings = {key: json.dumps(value) for key, value in sorted(meta["settings"].items())}
    return {
        "data": f"{meta['dataset']}, training part",
        "licence of the data": meta["licence"],
        "architecture's options": _listed(options) or "none",
        "training settings": _listed(settings),
        "seed": str(meta["seed"]),
    }


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _numbers(values: list[float]) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"


def _table(title: str, rows: Mapping[str, str]) -> str:
    lines = [f"| {key} | {value.replace('|', '&#124;')} |" for key, value in rows.items()]
    return "\n".join([f"## {title}", "", "| | |", "|---|---|", *lines])
