"""models/ARCH.json: what a program needs to use the files, for readers that cannot see an ONNX file's metadata.

onnxruntime-web, OpenCV, ncnn and TFLite are such readers.
"""

import hashlib
from typing import Any

from cnnlab.core.metrics import wilson_interval

FILES = ("", ".features", ".int8")


def sidecar(
    files: tuple[bytes, bytes, bytes], fitted: tuple[dict[str, Any], dict[str, Any]], n_validation: int
) -> dict[str, Any]:
    """The content of ARCH.json, from the float32, features and int8 files and the metadata of the first and the last.

    Test accuracy is not known at export: `validation` has the accuracy on validation with Wilson's 95 % interval.
    """
    full, int8 = fitted
    channels, height, width = full["shape"]
    kept = ("architecture", "title", "dataset", "licence", "class_names", "parameters", "multiply_adds", "options",
            "settings", "seed", "mean", "std")  # fmt: skip
    return {key: full[key] for key in kept} | {
        "input": {
            "name": "image",
            "type": "uint8",
            "layout": "NCHW",
            "shape": ["batch", channels, height, width],
            "colour": "grey" if channels == 1 else "RGB",
            "range": [0, 255],
            "light_on_dark": full["light_on_dark"],
            "object_share": full["object_share"],
        },
        "output": {"name": "logits", "type": "float32", "shape": ["batch", len(full["class_names"])]},
        "files": {
            f"{full['architecture']}{kind}.onnx": _file(data, int8 if kind == ".int8" else full, n_validation)
            for kind, data in zip(FILES, files, strict=True)
        },
    }


def _file(data: bytes, meta: dict[str, Any], n: int) -> dict[str, Any]:
    accuracy = meta["validation_accuracy"]
    return {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "precision": meta["precision"],
        "temperature": meta["temperature"],
        "novelty": meta["novelty"],
        "validation": {
            "accuracy": accuracy,
            "interval_95": list(wilson_interval(round(accuracy * n), n)),
            "pictures": n,
            "held_out": meta["held_out"],
        },
    }
