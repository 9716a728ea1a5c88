"""GoogLeNet (Szegedy et al. 2015, "Going deeper with convolutions", section 5 and table 1).

Departures from the paper, as in report B for 28×28 pictures: the stem's first convolution is padded by one pixel
instead of three; there is no local response normalisation, no dropout and no auxiliary classifier. The 5×5 branch is a
true 5×5, as in the paper. The paper has a ReLU after every convolution, which is the default; the report leaves most of
them out, as does `relu="report"`. params.yaml switches on the batch normalisation of the paper's sequel.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from cnnlab.models.blocks import (
    GlobalAveragePool,
    Network,
    Normalisation,
    Shape,
    Tap,
    activate_and_pool,
    initialise,
    normalise,
)
from cnnlab.models.small_maps import SmallMapConv2d

# The Inception blocks of table 1: outputs of the branches 1×1, 1×1→3×3, 1×1→5×5 and pool→1×1.
BLOCKS = {
    "inception3a": (64, (96, 128), (16, 32), 32),  # 256×3×3
    "inception3b": (128, (128, 192), (32, 96), 64),  # 480×3×3
    "inception4a": (192, (96, 208), (16, 48), 64),  # 512×2×2
    "inception4b": (160, (112, 224), (24, 64), 64),  # 512×2×2
    "inception4c": (128, (128, 256), (24, 64), 64),  # 512×2×2
    "inception4d": (112, (144, 288), (32, 64), 64),  # 528×2×2
    "inception4e": (256, (160, 320), (32, 128), 128),  # 832×2×2
    "inception5a": (256, (160, 320), (32, 128), 128),  # 832×1×1
    "inception5b": (384, (192, 384), (48, 128), 128),  # 1024×1×1
}
POOLED_BEFORE = {"inception4a", "inception5a"}  # the side is halved on the way into these


class Inception(nn.Module):
    """Four parallel branches, concatenated along the channels: [n, inputs, h, w] to [n, width, h, w]."""

    def __init__(
        self,
        inputs: int,
        one: int,
        three: tuple[int, int],
        five: tuple[int, int],
        pooled: int,
        every_relu: bool,
        norm: Normalisation,
    ) -> None:
        super().__init__()
        self.width = one + three[1] + five[1] + pooled

        def convolution(inputs: int, outputs: int, kernel_size: int, relu: bool = every_relu) -> nn.Sequential:
            return _convolution(inputs, outputs, kernel_size, relu, norm)

        self.one = convolution(inputs, one, 1)
        self.three = convolution(inputs, three[0], 1, relu=True) + convolution(three[0], three[1], 3)
        self.five = convolution(inputs, five[0], 1, relu=True) + convolution(five[0], five[1], 5)
        self.pooled = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1)) + convolution(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.one(x), self.three(x), self.five(x), self.pooled(x)), dim=1)


class GoogLeNet(Network):
    """A stem of three convolutions, nine Inception blocks and one linear layer; shapes are for 1×28×28.

    relu: "all" puts one after every convolution; "report" only after the stem's first and the 1×1 reductions
    inside a block. norm: batch normalisation after every convolution, as in the paper's sequel (Ioffe and Szegedy 2015,
    section 4.2.1), or none, as in the report. Taps: conv1 to conv3, the stem's, raw; each block's output by its name;
    "pooled".
    """

    title = "GoogLeNet"

    def __init__(
        self, shape: Shape, classes: int, relu: Literal["all", "report"] = "all", norm: Normalisation = "none"
    ) -> None:
        super().__init__()
        every_relu = relu == "all"
        self.conv1 = nn.Conv2d(shape[0], 64, 7, stride=2, padding=1)
        self.norm1 = normalise(norm, 64, 2)
        self.pool1 = activate_and_pool("relu", _halve())
        self.conv2 = nn.Conv2d(64, 64, 1)
        self.norm2 = normalise(norm, 64, 2)
        self.act2 = nn.ReLU() if every_relu else nn.Identity()
        self.conv3 = nn.Conv2d(64, 192, 3, padding=1)
        self.norm3 = normalise(norm, 192, 2)
        self.pool3 = activate_and_pool("relu", _halve()) if every_relu else _halve()
        self.blocks = nn.ModuleDict()
        width = 192
        for name, branches in BLOCKS.items():
            block = Inception(width, *branches, every_relu=every_relu, norm=norm)
            self.blocks[name] = nn.Sequential(_halve(), block) if name in POOLED_BEFORE else block
            width = block.width
        self.pool5 = GlobalAveragePool()
        self.fc = nn.Linear(width, classes)
        initialise(self, "relu")

    def features(self, x: Tensor, tap: Tap) -> Tensor:
        x = tap("conv1", self.conv1(x))  # 64×12×12
        x = self.pool1(self.norm1(x))  # 64×6×6
        x = tap("conv2", self.conv2(x))
        x = tap("conv3", self.conv3(self.act2(self.norm2(x))))  # 192×6×6
        x = self.pool3(self.norm3(x))  # 192×3×3
        for name, block in self.blocks.items():
            x = tap(name, block(x))  # 1024×1×1 after the last
        return x

    def classify(self, maps: Tensor, tap: Tap) -> Tensor:
        x = tap("pooled", self.pool5(maps))  # 1024
        return self.fc(x)  # classes


def _halve() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, padding=1)


def _convolution(inputs: int, outputs: int, kernel_size: int, relu: bool, norm: Normalisation) -> nn.Sequential:
    """A convolution that keeps the side, and what follows it; the ReLU in place, since nothing taps inside a block."""
    return nn.Sequential(
        SmallMapConv2d(inputs, outputs, kernel_size, padding=kernel_size // 2),
        normalise(norm, outputs, 2),
        nn.ReLU(inplace=True) if relu else nn.Identity(),
    )
