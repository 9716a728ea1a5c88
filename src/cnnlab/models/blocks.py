"""What the architectures share: the base class with its taps, activations, pooling and initial weights."""

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from cnnlab.core.schema import Activation, Normalisation, Pooling, Probability

__all__ = [
    "ACTIVATIONS",
    "LARGE_SIDE",
    "Activation",
    "GlobalAveragePool",
    "KernelSize",
    "Network",
    "Normalisation",
    "Pooling",
    "Probability",
    "Shape",
    "Tap",
    "Width",
    "activate_and_pool",
    "embed_layers",
    "initialise",
    "initialise_xavier",
    "map_layers",
    "normalise",
    "standardise",
    "untapped",
]


LARGE_SIDE = 48  # pixels: architectures that are made for 28×28 halve pictures from here on once more


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise PydanticCustomError("odd", "input should be odd")
    return size


Shape = tuple[int, int, int]  # channels, height, width
Tap = Callable[[str, Tensor], Tensor]  # takes a name and a tensor, returns the tensor, which may go unused
Width = Annotated[int, Field(ge=1, le=512)]  # output channels of a convolution
KernelSize = Annotated[int, Field(ge=1, le=11), AfterValidator(_odd)]  # pixels

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
_SATURATING = {"sigmoid", "tanh"}
_NOT_MONOTONE = {"gelu", "silu"}  # both dip below zero before they rise


def untapped(name: str, value: Tensor) -> Tensor:
    """A tap that keeps nothing."""
    return value


class Network(nn.Module):
    """A classifier of pictures that returns logits and, on request, its taps: named intermediate outputs.

    A subclass is built from (shape, classes, **options) and writes `features` and `classify`, calling
    `x = tap(name, x)` where a layer's output has a name. Taps whose names begin with "conv" are raw outputs of
    convolutions, before normalisation and activation. conv1, conv2, and fc1 or pooled must be there: what is drawn and
    embedded follows from these names. No layer may write in place into a tensor that has been tapped.
    """

    title: ClassVar[str]  # as the field writes it
    gains_from_bfloat16: ClassVar[tuple[str, ...]] = ("cpu",)  # devices that train faster so, where they have it
    starts_standardised: ClassVar[bool] = False  # recipe modern: whether `standardise` sets the scale of its weights

    def features(self, x: Tensor, tap: Tap) -> Tensor:
        """The convolutional part: pictures [n, c, h, w] to feature maps [n, k, i, j]."""
        raise NotImplementedError

    def classify(self, maps: Tensor, tap: Tap) -> Tensor:
        """What follows: feature maps [n, k, i, j] to logits [n, classes]."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Pictures [n, c, h, w], normalised float, to logits [n, classes]."""
        return self.classify(self.features(x, untapped), untapped)

    def taps(self, x: Tensor) -> dict[str, Tensor]:
        """Every named output for pictures [n, c, h, w], in the order of computation; the last is "final"."""
        outputs: dict[str, Tensor] = {}

        def keep(name: str, value: Tensor) -> Tensor:
            outputs[name] = value
            return value

        outputs["final"] = self.classify(self.features(x, keep), keep)
        return outputs

    def tap_names(self, shape: Shape) -> list[str]:
        """The names of the taps, in the order of computation; found without computing anything."""
        probe = copy.deepcopy(self).to("meta")
        with torch.no_grad():
            return list(probe.taps(torch.empty(1, *shape, device="meta")))

    @property
    def first_convolution(self) -> str:
        """The key of the first convolution's weights in the state dict."""
        return next(name for name, layer in self.named_modules() if isinstance(layer, nn.Conv2d)) + ".weight"

    def map_shape(self, shape: Shape) -> Shape:
        """Channels, height and width of a picture's feature maps, found by trying a blank one; for use while building.

        (A dry run on the meta device would need no arithmetic, but its first call costs seconds of imports.)
        """
        self.eval()
        with torch.no_grad():
            _, *sizes = self.features(torch.zeros(1, *shape), untapped).shape
        self.train()
        return sizes[0], sizes[1], sizes[2]

    def flattened_size(self, shape: Shape) -> int:
        """Length of a picture's flattened feature maps; for use while building."""
        return math.prod(self.map_shape(shape))


def map_layers(taps: Sequence[str]) -> list[str]:
    """The taps whose channels are drawn as pictures: the raw outputs of convolutions."""
    return [name for name in taps if name.startswith("conv")]


def embed_layers(taps: Sequence[str]) -> list[str]:
    """The three taps that are embedded: the second convolution, the first fully connected layer or the pooled maps, and
    the logits."""
    return ["conv2", "fc1" if "fc1" in taps else "pooled", "final"]


class GlobalAveragePool(nn.Module):
    """The mean of each feature map: [n, k, i, j] to [n, k]. (Lin, Chen and Yan 2014, section 3.2.)"""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def activate_and_pool(act: Activation, pool: nn.Module) -> nn.Sequential:
    """An activation followed by pooling, computed in the cheaper order where both orders agree.

    A monotone activation and a maximum commute, in value and in gradient, so only the pooled maps, a quarter
    for 2×2, need be activated. Activated first, a training step takes 1.15 times as long with VGG and 1.12 times with
    LeNet (ReLU, maximum); with ResNet and GoogLeNet it makes no difference (docs/log.md). An average,
    or an activation that is not monotone, does not commute.
    """
    layers = OrderedDict(act=ACTIVATIONS[act](), pool=pool)
    if isinstance(pool, nn.MaxPool2d) and act not in _NOT_MONOTONE:
        layers.move_to_end("act")
    return nn.Sequential(layers)


def normalise(norm: Normalisation, width: int, dimensions: Literal[1, 2]) -> nn.Module:
    """Batch normalisation of `width` features ([n, width]) or maps ([n, width, h, w]), or nothing at all."""
    if norm == "none":
        return nn.Identity()
    return nn.BatchNorm2d(width) if dimensions == 2 else nn.BatchNorm1d(width)


@torch.no_grad()
def initialise(network: nn.Module, act: Activation, generator: torch.Generator | None = None) -> None:
    """Draw the weights that suit the activation: Xavier where it saturates, else Kaiming; biases are zero.

    He, Zhang, Ren and Sun 2015, section 2.2: a variance of 2 / fan-in keeps the signal's size through layers
    with a rectifier. Without it the deep networks that have no normalisation do not start to learn.
    """
    if act in _SATURATING:
        initialise_xavier(network, generator)
        return
    for layer in _with_zero_biases(network):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)


@torch.no_grad()
def initialise_xavier(network: nn.Module, generator: torch.Generator | None = None) -> None:
    """Xavier-uniform weights, zero biases, in every convolution and linear layer (Glorot and Bengio 2010)."""
    for layer in _with_zero_biases(network):
        nn.init.xavier_uniform_(layer.weight, generator=generator)


def _with_zero_biases(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Set the biases of every convolution and linear layer to zero, and give those layers."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers:
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layers


@torch.no_grad()
def standardise(network: nn.Module, pictures: Tensor) -> None:
    """Scale and shift every convolution and linear layer: over the pictures, each output has mean 0 and deviation 1.

    Salimans and Kingma 2016, "Weight normalization", section 3. ReLUs' outputs are positive, so without normalisation
    the outputs of a deep network differ less and less from one picture to the next. NiN and VGG gain from it
    (docs/log.md). pictures: normalised float [n, c, h, w].
    """

    def rescale(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        assert layer.bias is not None
        all_but_channels = [0, *range(2, output.ndim)]
        mean, std = output.mean(all_but_channels), output.std(all_but_channels).clamp_min(1e-5)
        layer.weight.div_(std.view(-1, *[1] * (layer.weight.ndim - 1)))
        layer.bias.sub_(mean).div_(std)
        shape = (-1, *[1] * (output.ndim - 2))
        return (output - mean.view(shape)) / std.view(shape)

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(rescale) for layer in layers]
    training = network.training
    network.eval()(pictures)
    network.train(training)
    for hook in hooks:
        hook.remove()
