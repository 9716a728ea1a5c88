"""Static int8 quantisation by onnxruntime's tools: QDQ form, weights per channel, calibrated on training pictures."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from cnnlab.core.split import choose

CALIBRATION_PICTURES = 512
BATCH = 64


class _Pictures(CalibrationDataReader):
    def __init__(self, images: np.ndarray) -> None:
        self.batches = iter([{"image": images[start : start + BATCH]} for start in range(0, len(images), BATCH)])

    def get_next(self) -> dict[str, np.ndarray] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return next(self.batches, None)


def quantise(model: onnx.ModelProto, images: np.ndarray) -> onnx.ModelProto:
    """The int8 twin of a lean model, calibrated on uint8 images [n, c, h, w].

    Activations are uint8, weights int8 of 7 bits (reduce_range). x86 CPUs without VNNI multiply uint8 by int8 with
    vpmaddubsw, which adds two products into 16 bits and saturates: with 8-bit weights 2·255·127 passes 32,767, with
    7-bit ones 2·255·64 = 32,640 does not. So one file answers the same on every CPU, at the cost of one bit. The last
    layer stays float: it is little work, and quantised it would add to the error of every logit.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain, prepared, quantised = (Path(folder) / name for name in ("plain.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(model, plain)
        quant_pre_process(plain, prepared)
        quantize_static(
            prepared,
            quantised,
            _Pictures(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=[_last_layer(onnx.load(prepared))],
        )
        return onnx.load(quantised)


def _last_layer(model: onnx.ModelProto) -> str:
    """The name of the node that holds the last weights on the way to the logits."""
    return [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")][-1]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that onnxruntime's tools write to the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def calibration_pictures(images: np.ndarray, seed: int) -> np.ndarray:
    """At most 512 of the training pictures, drawn with `seed`, in the order of the data."""
    chosen = choose(np.random.Generator(np.random.PCG64(seed)), len(images), CALIBRATION_PICTURES)
    return np.ascontiguousarray(images[np.sort(chosen)])
