"""Rewriting of an exported graph: the same values from operations that onnxruntime's CPU kernels do faster.

What each is worth is measured by benchmarks/inference.py.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

BLOCK = 16  # channels that onnxruntime's blocked layout (NCHWc) keeps together with AVX-512; twice those with AVX2
ACTIVATIONS = {"Relu", "Sigmoid", "Tanh", "LeakyRelu"}
POOLING = {"AveragePool", "MaxPool"}


def activate_before_pooling(graph: onnx.GraphProto) -> None:
    """Turn Conv → MaxPool → Relu into Conv → Relu → MaxPool, the same values.

    The networks pool first, which is cheaper in torch; onnxruntime fuses a Relu that follows a convolution into it, and
    an int8 MaxPool stays int8 only where no Relu follows.
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
    del graph.value_info[:]  # the shape between the two is another now; shape inference finds them all again


def crop_kernels(model: onnx.ModelProto) -> None:
    """Cut off the rows and columns of convolutions' kernels that only ever meet padding.

    On maps as small as the last ones of ResNet and GoogLeNet, 1×1 and 2×2 for 28×28 pictures, most of a 3×3 or 5×5
    kernel does: the files get smaller and the networks faster, with the same values.
    """
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
    }
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


def fill_blocks(model: onnx.ModelProto) -> None:
    """Give a convolution before pooling whole blocks of channels, empty ones being added, and take them off after it.

    onnxruntime computes a float convolution in blocks of 16 channels anyway, but leaves that layout for the pooling
    where the last block is not full, as with LeNet's six channels: on the largest maps of the network, and to pool
    without vector instructions. int8 kernels know no blocks: quantise first.
    """
    graph = model.graph
    weights = {item.name: item for item in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    readers = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
    for pool in [node for node in graph.node if node.op_type in POOLING]:
        chain = [pool]
        while chain[-1].op_type != "Conv" and chain[-1].input[0] in makers and len(chain) < 3:
            chain.append(makers[chain[-1].input[0]])
        convolution, between = chain[-1], chain[1:-1]
        if convolution.op_type != "Conv" or any(node.op_type not in ACTIVATIONS for node in between):
            continue
        parameters = [weights.get(name) for name in convolution.input[1:]]
        alone = all(readers.count(node.output[0]) == 1 for node in chain[1:])
        if not alone or any(item is None or readers.count(item.name) > 1 for item in parameters):
            continue
        channels = weights[convolution.input[1]].dims[0]
        if channels % BLOCK == 0:
            continue
        for item in parameters:
            assert item is not None
            values = numpy_helper.to_array(item)
            empty = np.zeros((-channels % BLOCK, *values.shape[1:]), values.dtype)
            item.CopyFrom(numpy_helper.from_array(np.concatenate([values, empty]), item.name))
        _slice_channels(graph, pool, channels)
    del graph.value_info[:]


def _slice_channels(graph: onnx.GraphProto, pool: onnx.NodeProto, channels: int) -> None:
    """Keep the first `channels` of what a pooling puts out."""
    name = pool.output[0]
    pool.output[0] = f"{name}_blocks"
    bounds = {f"{name}_from": 0, f"{name}_to": channels, f"{name}_axis": 1}
    for key, value in bounds.items():
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), key))
    node = helper.make_node("Slice", [pool.output[0], *bounds], [name], name=f"{pool.name}_channels")
    graph.node.insert(list(graph.node).index(pool) + 1, node)


def _reached(size: int, inputs: int, outputs: int, stride: int, padding: int) -> tuple[int, int]:
    """The first and the last place of a kernel that meet a true input for some output."""
    places = [
        place
        for place in range(size)
        if any(0 <= output * stride - padding + place < inputs for output in range(outputs))
    ]
    return places[0], places[-1]
