"""LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition", section II-B).

Departures from the paper, as in report B and its course book: the second convolution sees all maps instead of a
selection, pooling has no weights, the activation is the logistic sigmoid, and the last layer is linear instead of
Gaussian. The constructor's options are the switches of the ablation.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from cnnlab.models.blocks import (
    ACTIVATIONS,
    Activation,
    KernelSize,
    Network,
    Normalisation,
    Pooling,
    Shape,
    Tap,
    Width,
    activate_and_pool,
    initialise,
    normalise,
)


class LeNet(Network):
    """Two convolutions and three fully connected layers; shapes are for 1×28×28 and the default options.

    act: the activation after every layer but the last. norm: batch normalisation after every convolution and
    hidden linear layer, or none. pool: average or maximum over 2×2. kernel_size: of both convolutions, in
    pixels; the first is padded to keep the picture's size, the second is not padded. channels: of the two.
    convolutions: 3 adds one of 3×3 with as many channels and an activation, but no pooling, after the second.
    """

    title = "LeNet-5"
    gains_from_bfloat16 = ()  # a third of its time is multiplication

    def __init__(
        self,
        shape: Shape,
        classes: int,
        act: Activation = "sigmoid",
        norm: Normalisation = "none",
        pool: Pooling = "avg",
        kernel_size: KernelSize = 5,
        channels: Annotated[Sequence[Width], Field(min_length=2, max_length=2)] = (6, 16),
        convolutions: Literal[2, 3] = 2,
    ) -> None:
        super().__init__()
        first, second = channels
        pooling = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}[pool]
        self.conv1 = nn.Conv2d(shape[0], first, kernel_size, padding=kernel_size // 2)
        self.norm1 = normalise(norm, first, 2)
        self.pool1 = activate_and_pool(act, pooling(2))
        self.conv2 = nn.Conv2d(first, second, kernel_size)
        self.norm2 = normalise(norm, second, 2)
        self.pool2 = activate_and_pool(act, pooling(2))
        self.conv3: nn.Module | None = None
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(self.flattened_size(shape), 120)
        self.norm3 = normalise(norm, 120, 1)
        self.act3 = ACTIVATIONS[act]()
        self.fc2 = nn.Linear(120, 84)
        self.norm4 = normalise(norm, 84, 1)
        self.act4 = ACTIVATIONS[act]()
        self.fc3 = nn.Linear(84, classes)
        if convolutions == 3:  # registered last: the other layers draw the weights that they draw without it
            self.conv3 = nn.Conv2d(second, second, 3, padding=1)
            self.after3 = nn.Sequential(normalise(norm, second, 2), ACTIVATIONS[act]())
        initialise(self, act)

    def features(self, x: Tensor, tap: Tap) -> Tensor:
        x = tap("conv1", self.conv1(x))  # 6×28×28
        x = self.pool1(self.norm1(x))  # 6×14×14
        x = tap("conv2", self.conv2(x))  # 16×10×10
        x = self.pool2(self.norm2(x))  # 16×5×5
        return x if self.conv3 is None else self.after3(tap("conv3", self.conv3(x)))

    def classify(self, maps: Tensor, tap: Tap) -> Tensor:
        x = self.flatten(maps)  # 400
        x = tap("fc1", self.fc1(x))  # 120
        x = self.act3(self.norm3(x))
        x = tap("fc2", self.fc2(x))  # 84
        x = self.act4(self.norm4(x))
        return self.fc3(x)  # classes
