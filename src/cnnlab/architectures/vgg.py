"""VGG (Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition").

Section 2: blocks of 3×3 convolutions that each halve the side, then three linear layers. Report B's form
for 28×28 pictures: two blocks of one convolution each (32 and 64 channels), and 1024 and 512 hidden units. The paper
has five blocks of up to four convolutions, and 4096 units twice.
"""

from torch import Tensor, nn

from cnnlab.models.blocks import Network, Probability, Shape, Tap, activate_and_pool, initialise


class Vgg(Network):
    """Two convolutions and three fully connected layers; shapes are for 1×28×28.

    dropout: the share of each hidden linear layer's outputs that training sets to zero.
    """

    title = "VGG"
    starts_standardised = True

    def __init__(self, shape: Shape, classes: int, dropout: Probability = 0.5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(shape[0], 32, 3, padding=1)
        self.pool1 = activate_and_pool("relu", nn.MaxPool2d(2))
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.pool2 = activate_and_pool("relu", nn.MaxPool2d(2))
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(self.flattened_size(shape), 1024)
        self.act3 = nn.ReLU()
        self.dropout3 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(1024, 512)
        self.act4 = nn.ReLU()
        self.dropout4 = nn.Dropout(dropout)
        self.fc3 = nn.Linear(512, classes)
        initialise(self, "relu")

    def features(self, x: Tensor, tap: Tap) -> Tensor:
        x = tap("conv1", self.conv1(x))  # 32×28×28
        x = self.pool1(x)  # 32×14×14
        x = tap("conv2", self.conv2(x))  # 64×14×14
        return self.pool2(x)  # 64×7×7

    def classify(self, maps: Tensor, tap: Tap) -> Tensor:
        x = self.flatten(maps)  # 3136
        x = tap("fc1", self.fc1(x))  # 1024
        x = self.dropout3(self.act3(x))
        x = tap("fc2", self.fc2(x))  # 512
        x = self.dropout4(self.act4(x))
        return self.fc3(x)  # classes
