"""The same graph in operators that old runtimes and other projects' know: the lowest opset at which it is valid.

torch's exporter writes opset 18 or later, and onnx's version converter fails on what it writes. The networks need none
of what opsets after 13 added, so the few later forms in their graphs are written as the older ones.
"""

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 13  # the first that can quantise channel by channel
GROUP = 4  # channels that WebGPU's kernels take together
ELEMENTWISE = {"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "BatchNormalization", "AveragePool", "MaxPool"}


def make_portable(model: onnx.ModelProto) -> None:
    """Rewrite the model in place: older operators, the lowest valid opset from 13 up, its IR version, no unused domain.

    Means over height and width become GlobalAveragePool, flattening Reshapes become Flatten.
    """
    shapes = value_shapes(model)
    for node in list(model.graph.node):
        if node.op_type == "ReduceMean":
            _pool_globally(model.graph, node, shapes)
        elif node.op_type == "Reshape":
            _flatten(model.graph, node, shapes)
    _remove_unread_constants(model.graph)
    _lower_opset(model)


def value_shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """The shape of every value in the graph; a free dimension is 0."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def pad_channels(model: onnx.ModelProto) -> None:
    """Fill up the channels between two convolutions to a multiple of four.

    onnxruntime-web's WebGPU kernels miscompute a convolution of another number (seen in 1.30 with LeNet's six). The
    added channels are empty, and meet weights of zero: the values stay the same.
    """
    graph = model.graph
    weights = {item.name: item for item in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for node in list(graph.node):
        if node.op_type != "Conv" or weights[node.input[1]].dims[1] % GROUP == 0 or node.input[0] not in makers:
            continue
        chain = [makers[node.input[0]]]
        while chain[-1].op_type in ELEMENTWISE and chain[-1].input[0] in makers:
            chain.append(makers[chain[-1].input[0]])
        if chain[-1].op_type != "Conv":
            continue
        channels = weights[node.input[1]].dims[1]
        _append(weights[node.input[1]], 1, -channels % GROUP, 0.0)
        for name in chain[-1].input[1:]:
            _append(weights[name], 0, -channels % GROUP, 0.0)
        for normalisation in (item for item in chain if item.op_type == "BatchNormalization"):
            for name in normalisation.input[1:]:
                _append(weights[name], 0, -channels % GROUP, 1.0)
        for value in {name for item in chain for name in item.output} & {output.name for output in graph.output}:
            _keep_channels(graph, value, channels)
    del graph.value_info[:]


def _append(item: onnx.TensorProto, axis: int, count: int, value: float) -> None:
    """Add `count` rows of one value to a tensor's end along an axis."""
    values = numpy_helper.to_array(item)
    width = [(0, count if place == axis else 0) for place in range(values.ndim)]
    item.CopyFrom(numpy_helper.from_array(np.pad(values, width, constant_values=value), item.name))


def _keep_channels(graph: onnx.GraphProto, output: str, channels: int) -> None:
    """Give an output's first channels under its name; what it was before goes on under another."""
    whole = f"{output}_whole"
    for node in graph.node:
        node.input[:] = [whole if name == output else name for name in node.input]
        node.output[:] = [whole if name == output else name for name in node.output]
    maker = next(place for place, node in enumerate(graph.node) if whole in node.output)
    bounds = {f"{output}_from": 0, f"{output}_to": channels, f"{output}_axis": 1}
    graph.initializer.extend(numpy_helper.from_array(np.array([value]), key) for key, value in bounds.items())
    graph.node.insert(maker + 1, helper.make_node("Slice", [whole, *bounds], [output], name=f"{output}_channels"))


def _pool_globally(graph: onnx.GraphProto, node: onnx.NodeProto, shapes: dict[str, list[int]]) -> None:
    """ReduceMean over height and width, the sides dropped, as GlobalAveragePool and Flatten."""
    axes = _constant(graph, node.input[1]) if len(node.input) > 1 else None
    rank = len(shapes[node.input[0]])
    if rank != 4 or axes is None or sorted(axis % rank for axis in axes) != [2, 3] or len(shapes[node.output[0]]) != 2:
        return
    pooled = f"{node.output[0]}_pooled"
    place = list(graph.node).index(node)
    graph.node.insert(place + 1, helper.make_node("Flatten", [pooled], [*node.output], name=f"{node.name}_flatten"))
    node.CopyFrom(helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=node.name))


def _flatten(graph: onnx.GraphProto, node: onnx.NodeProto, shapes: dict[str, list[int]]) -> None:
    """Reshape to [batch, everything else] as Flatten; to another shape without zeros, as opset 13 has it."""
    target = _constant(graph, node.input[1])
    if target is None or 0 in target:
        return
    if len(target) == 2 and target[1] == math.prod(shapes[node.input[0]][1:]):
        node.CopyFrom(helper.make_node("Flatten", [node.input[0]], [*node.output], name=node.name, axis=1))
    else:  # allowzero tells what a zero means, and there is none
        del node.attribute[:]


def _constant(graph: onnx.GraphProto, name: str) -> list[int] | None:
    return next((numpy_helper.to_array(item).tolist() for item in graph.initializer if item.name == name), None)


def _remove_unread_constants(graph: onnx.GraphProto) -> None:
    read = {name for node in graph.node for name in node.input}
    kept = [item for item in graph.initializer if item.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]


def _lower_opset(model: onnx.ModelProto) -> None:
    """Declare the lowest opset from 13 up at which the model is valid."""
    written = next(item.version for item in model.opset_import if item.domain == "")
    _drop_new_defaults(model.graph, written)
    if not any(declare_opset(model, version) for version in range(OPSET, written + 1)):
        raise ValueError("the exported graph is not valid at any opset")


def declare_opset(model: onnx.ModelProto, version: int) -> bool:
    """Declare an opset, the oldest IR version that may have it, and no domain that no node is of; is that valid?"""
    used = {node.domain for node in model.graph.node}
    opsets = [item for item in model.opset_import if item.domain and item.domain in used]
    opsets.insert(0, helper.make_opsetid("", version))
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    model.ir_version = helper.find_min_ir_version_for(opsets)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


def _drop_new_defaults(graph: onnx.GraphProto, version: int) -> None:
    """Remove attributes that opset 13 does not know and that say what it does anyway."""
    for node in graph.node:
        if node.domain:
            continue
        try:
            old = onnx.defs.get_schema(node.op_type, OPSET, "").attributes
        except onnx.defs.SchemaError:
            continue
        new = onnx.defs.get_schema(node.op_type, version, "").attributes
        kept = [item for item in node.attribute if item.name in old or item != new[item.name].default_value]
        if len(kept) < len(node.attribute):
            del node.attribute[:]
            node.attribute.extend(kept)
