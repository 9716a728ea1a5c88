"""The same graph in operators that old runtimes and other projects' know: the lowest opset at which it is valid.

torch's exporter writes opset 18 or later, and onnx's version converter fails on what it writes. The networks need none
of what opsets after 13 added, so the few later forms in their graphs are written as the older ones.
"""

import math

import onnx
from onnx import helper, numpy_helper

OPSET = 13  # the first that can quantise channel by channel


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
