"""Swift: this laboratory's own small network, for much accuracy in little time on a CPU.

Three convolutions and two linear layers, built from public ideas: batch normalisation (Ioffe and Szegedy 2015) in every
layer, pooling before normalisation and activation as in airbench (Jordan 2024, "94 % on CIFAR-10 in 3.29 seconds on a
single GPU"), and a linear layer that sees where on the picture a feature lies, which averaged maps do not tell. Nearly
all arithmetic is on maps of 14×14 and 7×7 and in that linear layer. docs/log.md has what was tried.
"""

from torch import Tensor, nn

from cnnlab.models.blocks import LARGE_SIDE, Network, Shape, Tap, Width, untapped


class Layer(nn.Module):
    """A convolution that is pooled, then normalised and activated: [n, inputs, h, w] to [n, width, h/2, w/2].

    In this order all but the convolution touch a quarter of the memory. pool: whether there is pooling at all.
    """

    def __init__(self, inputs: int, width: int, pool: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.bn = nn.BatchNorm2d(width)
        self.act = nn.ReLU()

    def forward(self, x: Tensor, tap: Tap = untapped, name: str = "") -> Tensor:
        return self.act(self.bn(self.pool(tap(name, self.conv(x)))))


class Residual(nn.Module):
    """A layer added to its own input: [n, width, h, w] to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = Layer(width, width, pool=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x)


class Swift(Network):
    """Three convolutions and two fully connected layers; shapes are for 1×28×28.

    width: channels of the first convolution. The others have 3 and 4 times as many, the first linear layer 16 times.
    small: a ninth of the parameters, 96,698 at width 16, for 1.6 times the arithmetic. A residual layer (He et al.
    2016) follows the second convolution and the third, and the first linear layer joins the places of each channel
    alone, to one number: a depthwise convolution as large as the map (Chen et al. 2018, "MobileFaceNets", section 3.2).
    Pictures of LARGE_SIDE pixels and more are pooled after the third convolution too.
    It starts from torch's own weights, which are √6 times smaller than those for ReLUs (He et al. 2015). With batch
    normalisation their size is no part of the function, but a step turns small weights further: .947 against .943 on
    validation pictures (seed 0 of each; docs/log.md).
    """

    title = "Swift"

    def __init__(self, shape: Shape, classes: int, width: Width = 16, small: bool = False) -> None:
        super().__init__()
        self.layer1 = Layer(shape[0], width)
        self.layer2 = Layer(width, 3 * width)
        self.residual2 = Residual(3 * width) if small else nn.Identity()
        self.layer3 = Layer(3 * width, 4 * width, pool=min(shape[1:]) >= LARGE_SIDE)
        self.residual3 = Residual(4 * width) if small else nn.Identity()
        channels, rows, columns = self.map_shape(shape)
        hidden = channels if small else 16 * width
        self.flatten = nn.Identity() if small else nn.Flatten()
        if small:
            self.fc1 = nn.Conv2d(channels, hidden, (rows, columns), groups=channels, bias=False)
        else:
            self.fc1 = nn.Linear(channels * rows * columns, hidden, bias=False)
        self.bn4 = nn.BatchNorm1d(hidden)
        self.act4 = nn.ReLU()
        self.fc2 = nn.Linear(hidden, classes)

    def features(self, x: Tensor, tap: Tap) -> Tensor:
        x = self.layer1(x, tap, "conv1")  # 16×28×28, pooled to 14×14
        x = self.residual2(self.layer2(x, tap, "conv2"))  # 48×14×14, pooled to 7×7
        return self.residual3(self.layer3(x, tap, "conv3"))  # 64×7×7

    def classify(self, maps: Tensor, tap: Tap) -> Tensor:
        x = tap("fc1", self.fc1(self.flatten(maps)).flatten(1))  # 256; small: 64
        return self.fc2(self.act4(self.bn4(x)))  # classes
