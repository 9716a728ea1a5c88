"""NiN (Lin, Chen and Yan 2014, "Network in network", sections 3.1 and 3.2).

1×1 convolutions after each convolution, and one averaged map for each class instead of linear layers. Report B's form
for 28×28 pictures: stride one everywhere, 2×2 pooling, and a single 3×3 convolution without activation for the maps of
the classes. Pictures of LARGE_SIDE pixels and more are halved by the first convolution, which the report's are not:
stride one would take four times as long.
"""

from torch import Tensor, nn

from cnnlab.models.blocks import (
    LARGE_SIDE,
    GlobalAveragePool,
    Network,
    Probability,
    Shape,
    Tap,
    activate_and_pool,
    initialise,
)


class Nin(Network):
    """Three blocks of a convolution and two 1×1 ones, then a map for each class; shapes are for 1×28×28.

    Taps: conv1 to conv3, the blocks' first convolutions, and conv4, the maps of the classes, are raw;
    "pooled" is the mean of each map of the last block, which the network itself does not use.
    dropout: the share of the last block's outputs that training sets to zero.
    """

    title = "NiN"
    starts_standardised = True
    gains_from_bfloat16 = ("cpu", "cuda")  # the one network that is bound by memory on a GPU (modelled, not measured)

    def __init__(self, shape: Shape, classes: int, dropout: Probability = 0.5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(shape[0], 96, 5, padding=2, stride=2 if min(shape[1:]) >= LARGE_SIDE else 1)
        self.mix1 = _mix(96)
        self.pool1 = activate_and_pool("relu", nn.MaxPool2d(2))
        self.conv2 = nn.Conv2d(96, 256, 3, padding=1)
        self.mix2 = _mix(256)
        self.pool2 = activate_and_pool("relu", nn.MaxPool2d(2))
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.mix3 = _mix(384)
        self.act3 = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.conv4 = nn.Conv2d(384, classes, 3, padding=1)
        self.pool4 = GlobalAveragePool()
        initialise(self, "relu")

    def features(self, x: Tensor, tap: Tap) -> Tensor:
        x = tap("conv1", self.conv1(x))  # 96×28×28
        x = self.pool1(self.mix1(x))  # 96×14×14
        x = tap("conv2", self.conv2(x))  # 256×14×14
        x = self.pool2(self.mix2(x))  # 256×7×7
        x = tap("conv3", self.conv3(x))  # 384×7×7
        return self.act3(self.mix3(x))

    def classify(self, maps: Tensor, tap: Tap) -> Tensor:
        tap("pooled", maps.mean((2, 3)))  # 384; not used by the network itself
        x = self.dropout(maps)
        x = tap("conv4", self.conv4(x))  # classes×7×7
        return self.pool4(x)  # classes


def _mix(width: int) -> nn.Sequential:
    """Two 1×1 convolutions, a small network at every position; the last activation is left to the caller."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1))
