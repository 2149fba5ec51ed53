"""A small CNN that is trained from scratch, for images where ImageNet does not help, such as a mouth of 20 pixels.

It has three convolutions of stride 2, each with a group norm (Wu, He 2018, arXiv 1803.08494). A group norm does not
depend on the batch, which matters because the frames of a clip are alike (arXiv 2203.07976).

Shapes: N images, h x w pixels.
"""

from torch import Tensor, nn

SMALL_CNN = "small_cnn"
CHANNELS = (32, 64, 96)
CHANNELS_PER_GROUP = 16
NUM_CLASSES = 1000  # of the last layer, which networks for ImageNet have and encoders leave out


class SmallCNN(nn.Module):
    """The network; its last map is [N, 96, h / 8, w / 8], rounded up.

    Args:
        dropout: The probability that a channel is dropped in training, after each convolution but the first.
    """

    def __init__(self, *, dropout: float = 0.1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for index, width in enumerate(CHANNELS):
            kernel_size = 5 if index == 0 else 3
            layers += [
                nn.Conv2d(channels, width, kernel_size, stride=2, padding=kernel_size // 2, bias=False),
                nn.GroupNorm(width // CHANNELS_PER_GROUP, width),
                nn.ReLU(),
            ]
            if index > 0:
                layers.append(nn.Dropout2d(dropout))
            channels = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N, 3, h, w] to logits [N, 1000]."""
        return self.fc(self.avgpool(self.features(x)).flatten(1))
