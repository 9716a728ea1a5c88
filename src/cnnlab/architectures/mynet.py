"""MyNet: the network that report A designed for Fashion-MNIST, and whose inner layers it shows.

Three convolutions with small kernels; batch normalisation (Ioffe and Szegedy 2015) and ReLU follow every layer but the
last. The report pads its pictures from 28×28 to 32×32; here the network itself pads with zeros to the next multiple of
eight. The report does not give its optimizer or learning rate.
"""

from torch import Tensor, nn

from cnnlab.models.blocks import (
    ACTIVATIONS,
    Activation,
    Network,
    Normalisation,
    Shape,
    Tap,
    activate_and_pool,
    initialise,
    normalise,
    untapped,
)

MULTIPLE = 8  # pixels: the padded side is a multiple of this


class MyNet(Network):
    """Three convolutions and two fully connected layers; shapes are for 1×28×28.

    Nine taps, named as in the report: conv1, conv2, conv3 and fc1 are raw; bn1 to bn4 follow normalisation
    and activation, before pooling; with norm "none" they keep their names and follow the activation alone.
    norm: batch normalisation after every layer but the last, or none. act: the activation after them.
    """

    title = "MyNet"

    def __init__(self, shape: Shape, classes: int, norm: Normalisation = "batch", act: Activation = "relu") -> None:
        super().__init__()
        channels, height, width = shape
        self.pad = nn.ZeroPad2d((*_padding(width), *_padding(height)))
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1)
        self.bn1 = normalise(norm, 16, 2)
        self.pool1 = activate_and_pool(act, nn.MaxPool2d(2))
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.bn2 = normalise(norm, 32, 2)
        self.pool2 = activate_and_pool(act, nn.MaxPool2d(2))
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1)
        self.bn3 = normalise(norm, 64, 2)
        self.act3 = ACTIVATIONS[act]()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(self.flattened_size(shape), 512)
        self.bn4 = normalise(norm, 512, 1)
        self.act4 = ACTIVATIONS[act]()
        self.fc2 = nn.Linear(512, classes)
        initialise(self, act)

    def features(self, x: Tensor, tap: Tap) -> Tensor:
        x = self.pad(x)  # 1×32×32
        x = tap("conv1", self.conv1(x))  # 16×32×32
        x = self._pool(self.pool1, self.bn1(x), tap, "bn1")  # 16×16×16
        x = tap("conv2", self.conv2(x))  # 32×16×16
        x = self._pool(self.pool2, self.bn2(x), tap, "bn2")  # 32×8×8
        x = tap("conv3", self.conv3(x))  # 64×8×8
        return tap("bn3", self.act3(self.bn3(x)))

    def _pool(self, layers: nn.Sequential, x: Tensor, tap: Tap, name: str) -> Tensor:
        """Activated and pooled, in the cheaper order; only the tap needs maps activated before they are pooled."""
        if tap is not untapped:
            tap(name, layers.get_submodule("act")(x))
        return layers(x)

    def classify(self, maps: Tensor, tap: Tap) -> Tensor:
        x = self.flatten(maps)  # 4096
        x = tap("fc1", self.fc1(x))  # 512
        x = tap("bn4", self.act4(self.bn4(x)))
        return self.fc2(x)  # classes


def _padding(side: int) -> tuple[int, int]:
    """Pixels before and after that bring a side up to a multiple of MULTIPLE, the picture in the middle."""
    missing = -side % MULTIPLE
    return missing // 2, missing - missing // 2
