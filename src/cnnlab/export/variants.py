"""Other forms of an exported classifier, for programs that want another input, output, number type or opset.

They are made from the files that the stage `export` left, by rewriting the graph; nothing is trained.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cnnlab.core.errors import UserError
from cnnlab.export.convert import stamp
from cnnlab.export.parity import difference, other_winners
from cnnlab.export.portable import declare_opset
from cnnlab.inference import Model, session_of

Input = Literal["uint8", "float"]
Precision = Literal["float32", "float16", "int8"]
# How far an output may be from the base file's, of max(1, |value|). A float input may round a pixel of the quantised
# network the other way; weights in float16 keep 11 bits.
TOLERANCES: dict[Precision, float] = {"float32": 1e-4, "float16": 2e-2, "int8": 5e-2}
GROUP = 4  # channels that WebGPU's kernels take together
CHANNELWISE = {"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "AveragePool", "MaxPool"}  # each channel by itself
OLDEST_OPSET = 11  # the operators in use are older, those of int8 apart
PICTURES = 200  # that the answers are compared on


@dataclass(frozen=True)
class Variant:
    """What is asked for; the defaults are the exported file itself."""

    input: Input = "uint8"  # float: NCHW in [0, 1]
    batch: int | None = None  # fixed; None: free
    precision: Precision = "float32"
    softmax: bool = False  # calibrated probabilities instead of logits
    opset: int | None = None
    webgpu: bool = False  # channels between convolutions in fours

    @property
    def suffix(self) -> str:
        """What the file's name says of it, such as ".float.batch1.softmax"."""
        parts = {
            "float": self.input == "float",
            f"batch{self.batch}": self.batch is not None,
            self.precision: self.precision != "float32",
            "softmax": self.softmax,
            f"opset{self.opset}": self.opset is not None,
            "webgpu": self.webgpu,
        }
        return "".join(f".{part}" for part, holds in parts.items() if holds)


def make_variant(base: bytes, name: str, wanted: Variant, images: np.ndarray) -> bytes:
    """The file that was asked for, made from an exported one and compared with it.

    base: the float32 file, or the int8 file for int8; `name` is what an error calls it. images: uint8 [n, c, h, w].
    Raises UserError where the base is not one of ours, the opset cannot hold the graph, or the answers differ.
    """
    if wanted.webgpu and wanted.precision == "int8":
        raise UserError("--webgpu goes with --precision float32 or float16: WebGPU gains nothing from int8.")
    original = Model.of(session_of(base, name), name)
    model = onnx.load_from_string(base)
    graph = model.graph
    if wanted.input == "float":
        _take_float(graph)
    if wanted.webgpu:
        _fill_channels(graph)
    if wanted.precision == "float16":
        _store_float16(graph)
    if wanted.softmax:
        _give_probabilities(graph, original.temperature)
    if wanted.batch is not None:
        for value in (*graph.input, *graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = wanted.batch
    del graph.value_info[:]
    if wanted.opset is not None:
        _set_opset(model, wanted.opset)
    data = stamp(model, original.meta | {"precision": wanted.precision})
    _check(original, data, wanted, images)
    return data


def _take_float(graph: onnx.GraphProto) -> None:
    """float32 pixels in [0, 1] instead of uint8: a Mul by 255 in the Cast's place."""
    cast = next(node for node in graph.node if "image" in node.input)
    if cast.op_type != "Cast":
        raise UserError("this file does not begin as cnnlab's exported files do: export it again with `dvc repro`.")
    graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    graph.initializer.append(numpy_helper.from_array(np.array(255, np.float32), "image_range"))
    cast.CopyFrom(helper.make_node("Mul", ["image", "image_range"], [*cast.output], name=cast.name))


def _fill_channels(graph: onnx.GraphProto) -> None:
    """Fill up the channels between two convolutions to a multiple of four.

    onnxruntime-web's WebGPU kernels miscompute a convolution of another number (seen in 1.30 with LeNet's six). The
    added channels are empty, and meet weights of zero: the answers stay the same. It costs a CPU 8 to 15 % of LeNet's
    time, so the exported file itself has none.
    """
    weights = {item.name: item for item in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type != "Conv" or weights[node.input[1]].dims[1] % GROUP == 0:
            continue
        maker = makers.get(node.input[0])
        while maker and maker.op_type in CHANNELWISE:
            maker = makers.get(maker.input[0])
        if not maker or maker.op_type != "Conv":
            continue
        missing = -weights[node.input[1]].dims[1] % GROUP
        _append_zeros(weights[node.input[1]], 1, missing)
        for name in maker.input[1:]:
            _append_zeros(weights[name], 0, missing)


def _append_zeros(item: onnx.TensorProto, axis: int, count: int) -> None:
    values = numpy_helper.to_array(item)
    width = [(0, count if place == axis else 0) for place in range(values.ndim)]
    item.CopyFrom(numpy_helper.from_array(np.pad(values, width), item.name))


def _store_float16(graph: onnx.GraphProto) -> None:
    """Weights in float16, cast to float32 when the file is opened: half the bytes; the arithmetic stays float32."""
    casts = []
    for item in graph.initializer:
        values = numpy_helper.to_array(item)
        if values.dtype != np.float32 or values.ndim < 2:
            continue
        name = item.name
        item.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_float16"))
        casts.append(helper.make_node("Cast", [item.name], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _give_probabilities(graph: onnx.GraphProto, temperature: float) -> None:
    """softmax(logits / temperature) as the only output."""
    scale = numpy_helper.from_array(np.array(1 / temperature, np.float32), "inverse_temperature")
    graph.initializer.append(scale)
    graph.node.extend(
        [
            helper.make_node("Mul", ["logits", scale.name], ["calibrated"], name="calibrate"),
            helper.make_node("Softmax", ["calibrated"], ["probabilities"], name="softmax", axis=1),
        ]
    )
    graph.output[0].name = "probabilities"


def _set_opset(model: onnx.ModelProto, opset: int) -> None:
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise UserError(f"--opset is {opset}: it lies between {OLDEST_OPSET} and {newest}.")
    if not declare_opset(model, opset):
        raise UserError(f"opset {opset} has no form of this graph: take another --opset, or leave it out.")


def _check(original: Model, data: bytes, wanted: Variant, images: np.ndarray) -> None:
    """UserError where the new file's answers are not the base file's."""
    session = session_of(data, "the file made")
    size = wanted.batch or 64
    images = images[: max(size, PICTURES // size * size)]
    if len(images) < size:  # a fixed batch larger than the pictures there are
        images = np.resize(images, (size, *images.shape[1:]))
    inputs = images if wanted.input == "uint8" else images.astype(np.float32) / 255
    starts = range(0, len(images) - size + 1 if wanted.batch else len(images), size)
    found = np.concatenate([np.asarray(session.run(None, {"image": inputs[i : i + size]})[0]) for i in starts])
    expected = original.logits(images[: len(found)])
    if wanted.softmax:
        expected = original.probabilities(expected).astype(np.float32)
    tolerance = TOLERANCES[wanted.precision]
    worst, others = difference(expected, found), other_winners(expected, found, 2 * tolerance)
    if others or not worst < tolerance:
        raise UserError(
            f"the file made does not answer as {original.meta['architecture']} does: outputs differ by up to "
            f"{worst:.2g} of max(1, |value|), {tolerance:g} is allowed, and {others} of {len(found)} pictures get "
            "another class; nothing was written."
        )
