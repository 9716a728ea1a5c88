"""The cost of an architecture and the output of each layer: the table of `cnnlab models`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab import models
from cnnlab.models.blocks import Shape


@dataclass(frozen=True)
class LayerRow:
    """One layer for one picture: output_shape without the batch, multiply_adds as the field counts them."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Summary:
    """One architecture for one picture of `shape` (channels, height, width)."""

    name: str
    title: str
    shape: Shape
    parameters: int
    multiply_adds: int
    layers: tuple[LayerRow, ...]


def layer_table(network: nn.Module, shape: Shape) -> list[LayerRow]:
    """Every layer that has no layers inside, in the order of computation, for a picture of `shape`.

    Found by running one blank picture in evaluation mode. Multiply-adds are those of convolutions and
    linear layers, without biases: k²·inputs / groups for each output of the one, inputs of the other.
    """
    rows: list[LayerRow] = []
    hooks = [
        layer.register_forward_hook(lambda layer, _inputs, output, name=name: rows.append(_row(name, layer, output)))
        for name, layer in network.named_modules()
        if not list(layer.children()) and not isinstance(layer, nn.Identity)
    ]
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            network(torch.zeros(1, *shape, device=next(network.parameters()).device))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return rows


def summarise(name: str, shape: Shape, classes: int, options: Mapping[str, Any] | None = None) -> Summary:
    """Count parameters and multiply-adds of architecture `name`; UserError as for `models.build`."""
    network = models.build(name, shape, classes, options)
    layers = tuple(layer_table(network, shape))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Summary(name, network.title, shape, parameters, sum(row.multiply_adds for row in layers), layers)


def render_models(
    shape: Shape,
    classes: int,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    layers: str | None = None,
) -> str:
    """The text of `cnnlab models`: a line for each architecture, or for each layer of the one in `layers`.

    options holds each architecture's own, by its name. Raises UserError as `models.build` does.
    """
    options = options or {}
    if layers is not None:
        return _layers_text(summarise(layers, shape, classes, options.get(layers)))
    found = [summarise(name, shape, classes, options.get(name)) for name in models.names()]
    rows = [[each.name, each.title, f"{each.parameters:,}", f"{each.multiply_adds:,}"] for each in found]
    return _aligned([["name", "title", "parameters", "multiply-adds"], *rows], left=2)


def _layers_text(summary: Summary) -> str:
    rows = [
        [
            row.name,
            row.kind,
            "×".join(map(str, row.output_shape)),
            f"{row.parameters:,}",
            f"{row.multiply_adds:,}",
        ]
        for row in summary.layers
    ]
    total = ["total", "", "", f"{summary.parameters:,}", f"{summary.multiply_adds:,}"]
    head = f"{summary.title} for one picture of {'×'.join(map(str, summary.shape))}\n"
    return head + _aligned([["layer", "kind", "output", "parameters", "multiply-adds"], *rows, total], left=3)


def _aligned(rows: list[list[str]], left: int) -> str:
    """Columns of text, the first `left` aligned left and the others right; a newline after each row."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, layer: nn.Module, output: Tensor) -> LayerRow:
    shape = tuple(output.shape[1:])
    each = 0  # multiply-adds for one output
    if isinstance(layer, nn.Conv2d):
        each = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    elif isinstance(layer, nn.Linear):
        each = layer.in_features
    parameters = sum(parameter.numel() for parameter in layer.parameters())
    kind = "Conv2d" if isinstance(layer, nn.Conv2d) else type(layer).__name__
    return LayerRow(name, kind, shape, parameters, math.prod(shape) * each)
