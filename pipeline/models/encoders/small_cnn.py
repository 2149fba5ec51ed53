"""A small CNN that is trained from pixels, for where nothing that ImageNet knows helps: a mouth of 20 pixels, say.

Three convolutions of stride 2, each with a group norm (Wu, He 2018, arXiv 1803.08494), which knows no batch: the
frames of a clip are alike (arXiv 2203.07976).

N images, C channels, h x w pixels.
"""

from torch import Tensor, nn

CHANNELS = (32, 64, 96)
CHANNELS_PER_GROUP = 16
NUM_CLASSES = 1000  # of the last layer, as the networks of ImageNet have it; encoders leave it out


class SmallCNN(nn.Module):
    """Images [N, 3, h, w] -> logits [N, 1000]; the last map is [N, 96, h / 8, w / 8], rounded up."""

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
        return self.fc(self.avgpool(self.features(x)).flatten(1))
