"""Everything that ships of one classifier, made from its weights and its training pictures."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from cnnlab.core.datasets import Split
from cnnlab.core.metrics import calibration_error, softmax
from cnnlab.core.split import stratified_split
from cnnlab.export.convert import stamp, to_features, to_lean
from cnnlab.export.parity import check_parity
from cnnlab.export.portable import make_portable
from cnnlab.export.quantise import calibration_pictures, quantise
from cnnlab.export.sidecar import sidecar
from cnnlab.inference import Model, session_of
from cnnlab.inference.calibration import fit_novelty, fit_temperature, is_novel, label_smoothing, object_share
from cnnlab.models.blocks import embed_layers, map_layers
from cnnlab.models.classifier import Classifier
from cnnlab.models.summary import layer_table


@dataclass(frozen=True)
class Bundle:
    """The three files' bytes, the figures of the export, and what ARCH.json says of the files."""

    lean: bytes
    features: bytes
    int8: bytes
    metrics: dict[str, Any]
    sidecar: dict[str, Any]


def make_bundle(classifier: Classifier, split: Split) -> Bundle:
    """Export, check against torch, quantise and calibrate; `split` is the training part of the classifier's data.

    Temperature and novelty are fitted on the validation pictures, int8 on training pictures. UserError where an
    exported file does not answer as torch does.
    """
    train_index, validation_index = _split(classifier, split.labels)
    images, labels = split.images[validation_index], split.labels[validation_index]
    train = split.images[train_index]
    lean, features = to_lean(classifier), to_features(classifier)
    calibrating = calibration_pictures(train, classifier.meta["seed"])
    int8 = quantise(lean, calibrating)
    for model in (lean, features, int8):
        make_portable(model)
    facts = _facts(classifier) | {"object_share": object_share(train) if classifier.meta["light_on_dark"] else None}
    logits, parity = check_parity(classifier, _open(lean, facts), _open(features, facts), images)
    int8_logits = _open(int8, facts).logits(images)
    fitted = facts | _fitted(train, images, labels, logits)
    int8_fitted = facts | _fitted(train, images, labels, int8_logits) | {"precision": "int8"}
    files = stamp(lean, fitted), stamp(features, fitted), stamp(int8, int8_fitted)
    metas = fitted, int8_fitted
    figures = _figures(files, images, labels, (logits, int8_logits), metas)
    figures |= {"int8_calibration_pictures": len(calibrating)}
    if smoothing := label_smoothing(len(labels)):
        figures["temperature_label_smoothing"] = smoothing
    return Bundle(*files, parity | figures, sidecar(files, metas, len(labels)))


def _split(classifier: Classifier, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation pictures; where every picture was trained on, the same ones play both parts."""
    meta = classifier.meta
    train, validation = stratified_split(labels, meta["validation_share"], meta["seed"])
    return (train, validation) if _held_out(classifier) else (np.arange(len(labels)), validation)


def _held_out(classifier: Classifier) -> bool:
    return classifier.meta["validation_accuracy"] is not None


def _facts(classifier: Classifier) -> dict[str, Any]:
    """What every file's metadata says of the network, whatever its precision."""
    meta, network = classifier.meta, classifier.network
    rows, taps = layer_table(network, tuple(meta["shape"])), network.tap_names(meta["shape"])
    kept = ("architecture", "dataset", "class_names", "shape", "mean", "std", "settings", "options", "seed", "licence",
            "light_on_dark", "validation_share")  # fmt: skip
    return (
        {key: meta[key] for key in kept}
        | {
            "title": network.title,
            "names": str(dict(enumerate(meta["class_names"]))),  # these three as Ultralytics' readers look for them
            "task": "classify",
            "imgsz": list(meta["shape"][1:]),
            "embed_layers": embed_layers(taps),
            "map_layers": map_layers(taps),
            "first_convolution": network.first_convolution,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "multiply_adds": sum(row.multiply_adds for row in rows),
            "held_out": _held_out(classifier),
            "precision": "float32",
        }
    )


def _fitted(train: np.ndarray, images: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    """What is fitted to one file's own logits on validation."""
    return {
        "validation_accuracy": float((logits.argmax(axis=1) == labels).mean()),
        "temperature": fit_temperature(logits, labels),
        "novelty": fit_novelty(train, images, logits),
    }


def _figures(
    files: tuple[bytes, bytes, bytes],
    images: np.ndarray,
    labels: np.ndarray,
    logits: tuple[np.ndarray, np.ndarray],
    fitted: tuple[dict[str, Any], dict[str, Any]],
) -> dict[str, Any]:
    """The deterministic figures of the export."""
    full, int8 = fitted
    return {
        "parameters": full["parameters"],
        "multiply_adds": full["multiply_adds"],
        "onnx_bytes": len(files[0]),
        "features_bytes": len(files[1]),
        "int8_bytes": len(files[2]),
        "validation_accuracy": full["validation_accuracy"],
        "int8_validation_accuracy": int8["validation_accuracy"],
        "int8_accuracy_lost": full["validation_accuracy"] - int8["validation_accuracy"],
        "temperature": full["temperature"],
        "int8_temperature": int8["temperature"],
        "calibration_error": calibration_error(softmax(logits[0], full["temperature"]), labels),
        "int8_calibration_error": calibration_error(softmax(logits[1], int8["temperature"]), labels),
        "novelty_alarms": float(is_novel(full["novelty"], images, logits[0]).mean()),
        "held_out": full["held_out"],
        "n_validation": len(labels),
        "seed": full["seed"],
    }


def _open(model: onnx.ModelProto, meta: dict[str, Any]) -> Model:
    return Model(session_of(model.SerializeToString(), "the exported file"), meta)
