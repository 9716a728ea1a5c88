"""Rewriting of an exported graph: the same values from operations that onnxruntime's CPU kernels do faster.

benchmarks/inference.py measures whole files against torch; docs/deploy.md has the figures.
"""

import numpy as np
import onnx
from onnx import numpy_helper

from cnnlab.export.portable import value_shapes


def activate_before_pooling(graph: onnx.GraphProto) -> None:
    """Turn Conv → MaxPool → Relu into Conv → Relu → MaxPool, the same values.

    The networks pool first, which is cheaper in torch (models.blocks.activate_and_pool). onnxruntime fuses a Relu that
    follows a convolution into it, and an int8 MaxPool stays int8 only where no Relu follows.
    """
    readers = [name for node in graph.node for name in node.input]
    makers = {node.output[0]: node for node in graph.node}
    for relu in [node for node in graph.node if node.op_type == "Relu"]:
        pool = makers.get(relu.input[0])
        if pool is None or pool.op_type != "MaxPool" or readers.count(pool.output[0]) > 1:
            continue
        pool.op_type, relu.op_type = "Relu", "MaxPool"
        pool.name, relu.name = relu.name, pool.name
        relu.attribute.extend(pool.attribute)
        del pool.attribute[:]
    del graph.value_info[:]  # the shape between the two is another now; shape inference finds it again


def crop_kernels(model: onnx.ModelProto) -> None:
    """Cut off the rows and columns of convolutions' kernels that only ever meet padding.

    On maps as small as the last ones of ResNet and GoogLeNet, 1×1 and 2×2 for 28×28 pictures, most of a 3×3 or 5×5
    kernel does: the files get smaller and the networks faster, with the same values.
    """
    shapes = value_shapes(model)
    weights = {item.name: item for item in model.graph.initializer}
    readers = [name for node in model.graph.node for name in node.input]
    for node in model.graph.node:
        if node.op_type != "Conv" or node.input[1] not in weights or readers.count(node.input[1]) > 1:
            continue
        attributes = {item.name: item for item in node.attribute}
        strides, pads = attributes["strides"].ints, attributes["pads"].ints
        kernel = numpy_helper.to_array(weights[node.input[1]])
        if any(dilation > 1 for dilation in attributes["dilations"].ints):
            continue
        for axis in (0, 1):
            inputs, outputs = shapes[node.input[0]][2 + axis], shapes[node.output[0]][2 + axis]
            first, last = _reached(kernel.shape[2 + axis], inputs, outputs, strides[axis], pads[axis])
            kernel = kernel.take(range(first, last + 1), axis=2 + axis)
            pads[axis] -= first
            pads[2 + axis] = max(0, (outputs - 1) * strides[axis] + last - first + 1 - inputs - pads[axis])
        attributes["kernel_shape"].ints[:] = kernel.shape[2:]
        weights[node.input[1]].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(kernel), node.input[1]))
    del model.graph.value_info[:]  # it has the shapes of whole kernels; shape inference finds the new ones


def _reached(size: int, inputs: int, outputs: int, stride: int, padding: int) -> tuple[int, int]:
    """The first and the last place of a kernel that meet a true input for some output."""
    places = [
        place
        for place in range(size)
        if any(0 <= output * stride - padding + place < inputs for output in range(outputs))
    ]
    return places[0], places[-1]
