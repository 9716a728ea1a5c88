"""ResNet (He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", 3.3 and table 1).

Departures from the paper, as in report B: ResNet-18 with one residual block instead of two in the first group, a bias
in every convolution although normalisation follows, and no normalisation on the 1×1 convolution of a shortcut.
"""

from torch import Tensor, nn

from cnnlab.models.blocks import (
    GlobalAveragePool,
    Network,
    Shape,
    Tap,
    activate_and_pool,
    initialise,
    untapped,
)
from cnnlab.models.small_maps import SmallMapConv2d

# Channels, and the stride of each residual block: groups of 64, 128, 256 and 512.
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))


class Residual(nn.Module):
    """Two 3×3 convolutions and a shortcut around them: [n, inputs, h, w] to [n, width, ⌈h / stride⌉, ⌈w / stride⌉]."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = SmallMapConv2d(inputs, width, 3, stride=stride, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = SmallMapConv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        changes = stride != 1 or inputs != width
        self.shortcut = SmallMapConv2d(inputs, width, 1, stride=stride) if changes else nn.Identity()
        self.act2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, tap: Tap = untapped) -> Tensor:
        residual = tap("conv2", self.conv1(x))
        residual = self.bn2(self.conv2(self.act1(self.bn1(residual))))
        return self.act2(residual + self.shortcut(x))


class ResNet(Network):
    """A stem, seven residual blocks and one linear layer; shapes are for 1×28×28.

    Taps: conv1, the stem's, and conv2, the first in a residual block, both raw; block1 to block7, the blocks'
    outputs; "pooled".
    """

    title = "ResNet"

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(shape[0], 64, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool1 = activate_and_pool("relu", nn.MaxPool2d(3, stride=2, padding=1))
        self.blocks = nn.ModuleList()
        width = 64
        for outputs, stride in BLOCKS:
            self.blocks.append(Residual(width, outputs, stride))
            width = outputs
        self.pool2 = GlobalAveragePool()
        self.fc = nn.Linear(width, classes)
        initialise(self, "relu")

    def features(self, x: Tensor, tap: Tap) -> Tensor:
        x = tap("conv1", self.conv1(x))  # 64×14×14
        x = self.pool1(self.bn1(x))  # 64×7×7
        for number, block in enumerate(self.blocks, start=1):
            x = tap(f"block{number}", block(x, tap if number == 1 else untapped))  # 512×1×1 after the last
        return x

    def classify(self, maps: Tensor, tap: Tap) -> Tensor:
        x = tap("pooled", self.pool2(maps))  # 512
        return self.fc(x)  # classes
