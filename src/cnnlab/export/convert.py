"""A classifier as two ONNX models: the lean one that predicts and the one that gives every tap."""

import copy
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from cnnlab.export.optimise import activate_before_pooling, crop_kernels
from cnnlab.inference.session import encode
from cnnlab.models.classifier import Classifier


class _Lean(nn.Module):
    """The classifier with scaling and division by the deviation moved into the first convolution's weights.

    Both are linear, and the padding after them is zero, so only the subtraction of the mean stays outside. Batch
    normalisation is folded by the exporter.
    """

    mean: Tensor

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.network = copy.deepcopy(classifier.network)
        weights = self.network.get_parameter(classifier.network.first_convolution)
        with torch.no_grad():
            weights /= 255 * classifier.std
        self.register_buffer("mean", 255 * classifier.mean)
        self.centred = bool(classifier.mean.any())

    def forward(self, image: Tensor) -> Tensor:
        pixels = image.to(torch.float32)
        return self.network(pixels - self.mean if self.centred else pixels)


class _Features(nn.Module):
    """The classifier with its taps as outputs, after the logits."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.network = classifier.network
        self.preprocess = classifier.preprocess

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        taps = self.network.taps(self.preprocess(image))
        return taps["final"], *taps.values()


def to_lean(classifier: Classifier) -> onnx.ModelProto:
    """uint8 image [batch, c, h, w] → float32 logits [batch, classes], with as few operations as possible."""
    model = _convert(_Lean(classifier), classifier.meta["shape"], ["logits"])
    activate_before_pooling(model.graph)
    crop_kernels(model)
    return model


def to_features(classifier: Classifier) -> onnx.ModelProto:
    """uint8 image → logits and one output for each tap, under the tap's own name ("final" repeats the logits)."""
    shape = classifier.meta["shape"]
    model = _convert(_Features(classifier), shape, ["logits", *classifier.network.tap_names(shape)])
    crop_kernels(model)
    return model


def stamp(model: onnx.ModelProto, meta: dict[str, Any]) -> bytes:
    """Write the metadata and the maker's name into the model, check the whole, and give the file's bytes."""
    model.producer_name, model.producer_version = "cnnlab", version("cnnlab")
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(sorted(encode(meta).items())))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def convert(module: nn.Module, example: Tensor, input_name: str, outputs: list[str]) -> onnx.ModelProto:
    """A module of one input, its first dimension the batch, as ONNX without a trace of the machine that made it.

    example: an input of the right type and shape, of two rows.
    """
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):  # what torch deprecates inside its own exporter
            warnings.simplefilter("ignore", category)
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            input_names=[input_name],
            output_names=outputs,
            dynamic_shapes=({0: batch},),
            opset_version=18,  # the exporter's own; export.portable goes on from there
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _strip(model)
    return model


def _convert(module: nn.Module, shape: Sequence[int], outputs: list[str]) -> onnx.ModelProto:
    return convert(module, torch.zeros((2, *shape), dtype=torch.uint8), "image", outputs)


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes for debugging: stack traces with this machine's paths, and doc strings."""
    model.doc_string = model.graph.doc_string = ""
    del model.graph.metadata_props[:]
    for item in (*model.graph.node, *model.graph.value_info, *model.graph.initializer, *model.graph.input):
        item.doc_string = ""
        del item.metadata_props[:]
    for item in model.graph.output:
        item.doc_string = ""
        del item.metadata_props[:]
    # A function would hide nodes from the quantiser; the exporter inlines them all.
    assert not model.functions
