"""Encoders: a CNN (or vision transformer) turns each image into a feature vector.

The feature vector is the input of the network's own classifier, its last linear layer. With `grid` = g > 1 it is
instead the last feature map pooled to g x g cells, which keeps the places of things: F = C * g * g. With `stride` or
`last_stage` it is an earlier map, for things that are small or whose colour counts, as the last layers lose both.

Shapes: N images, C channels, h x w pixels or cells, F features.
"""

import hashlib
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from pipeline.errors import InputError, first_line
from pipeline.models.encoders.batch_norm import freeze_batch_norm
from pipeline.models.encoders.graph_split import split
from pipeline.models.encoders.stages import fix_before

BatchNormMode = Literal["frozen", "group_norm", "trained"]
# A CPU encodes this many pixels together (4 images of 224x224), so that the maps between two layers stay in its cache.
# 64 such images took two cores 0.9 s, and 1.4 s in batches of 32. The features are the same to the last bit.
CPU_BATCH_PIXELS = 4 * 224 * 224
EARLY_STRIDE = 8  # pixels between the cells of the early layers' last map; Lite0 was slower at 4 and at 16


class Normalization(NamedTuple):
    """The input that an encoder expects: (pixel / 255 - mean) / std for each channel.

    Attributes:
        mean: Of each channel, for pixels scaled to 0..1.
        std: Of each channel, for pixels scaled to 0..1.
        size: (height, width) in pixels.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]


class Encoder(nn.Module):
    """A network that maps normalized images to features; `building.build_encoder` makes it.

    Attributes:
        name: The name of the network.
        num_features: F.
        mean: Of each channel, for pixels scaled to 0..1, as is `std`.
        size: (height, width) that the network was trained at, or was built for. Other sizes work where `check_size`
            accepts them.
    """

    def __init__(
        self,
        trunk: nn.Module,
        *,
        name: str,
        grid: int,
        stride: int | None,
        last_stage: str | None,
        batch_norm: BatchNormMode,
        expects: Normalization,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.name = name
        self.grid = grid
        self.stride, self.last_stage = stride, last_stage
        self.mean, self.std, self.size = expects
        self._batch_norm_is_frozen = batch_norm == "frozen"
        self._fixed: list[nn.Module] = []
        map_shape = self._map_shape(*self.size)  # a larger image has a larger map, which may suffice for a finer grid
        self.num_features = map_shape[0] * (grid**2 if len(map_shape) == 3 else 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 3, h, w], normalized with `mean` and `std`, to features [N, F].

        Raises:
            ValueError: The images have another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: got shape {list(images.shape)}, expected [images, 3, height, width]")
        images = images.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        if images.device.type != "cpu" or self.training or torch.is_grad_enabled():
            return self.encode_batch(images)
        num_images, _, height, width = images.shape
        num_parts = num_images * height * width // CPU_BATCH_PIXELS
        parts = images.tensor_split(max(1, min(num_parts, num_images)))
        return torch.cat([self.encode_batch(part) for part in parts])

    def encode_batch(self, images: Tensor) -> Tensor:
        """Encode all images in one batch, where `forward` splits them to fit a CPU's cache."""
        return self._pooled(self.trunk(images))

    def _pooled(self, output: Tensor) -> Tensor:
        if output.ndim == 4:
            output = adaptive_avg_pool2d(output, self.grid)
        return output.flatten(1)

    def frame_by_frame(self, height: int, width: int) -> "FrameByFrame | None":
        """Return this encoder in the form that is fastest for a few images of a size; None where it cannot be split."""
        halves = split(self.trunk, self._blank(height, width), stride=EARLY_STRIDE)
        return halves and FrameByFrame(self, *halves)

    @property
    def num_channels(self) -> int:
        """C, the number of channels of each cell of the grid."""
        return self.num_features // self.grid**2

    def regions(self, images: Tensor) -> Tensor:
        """Map images [N, 3, h, w] to the features of each cell of the grid, row by row: [N, grid * grid, C]."""
        return self.regions_of(self(images))

    def regions_of(self, features: Tensor) -> Tensor:
        """Rearrange the features [N, F] of images into those of their `regions`, [N, grid * grid, C]."""
        return features.unflatten(1, (self.num_channels, -1)).transpose(1, 2)

    def train(self, mode: bool = True) -> "Encoder":
        """Set the training mode as torch does, but keep fixed parts and frozen batch norms in evaluation mode."""
        super().train(mode)
        for part in self._fixed:
            part.eval()
        if self._batch_norm_is_frozen:
            freeze_batch_norm(self.trunk)
        return self

    def train_from(self, stage: str) -> None:
        """Exclude all stages before one from training, their batch norms included; see `stages.fix_before`.

        Raises:
            InputError: The network has no stage of this name.
        """
        self._fixed = fix_before(self.trunk, stage)

    def check_size(self, height: int, width: int) -> int:
        """Return the number of features of an image of this size, found by encoding a blank one.

        Raises:
            InputError: The network does not take images of this size, or its map has fewer cells than the grid.
        """
        channels, *cells = self._map_shape(height, width)
        if not cells:
            return channels
        if min(cells) < self.grid:
            raise InputError(
                f"encoder {self.name} has a feature map of {cells[0]}x{cells[1]} cells for images of {height}x{width}, "
                f"fewer than grid={self.grid} asks for"
            )
        return channels * self.grid**2

    def _map_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Return (C, rows, columns) of the last feature map, or (C,) of a network without one.

        The network must be in evaluation mode: in training mode, batch norm would include the image in its statistics.
        InputError is raised where the network fails.
        """
        try:
            with torch.no_grad():  # a tensor on "meta" would save the computation, but import torch._dynamo for seconds
                return tuple(self.trunk(self._blank(height, width)).shape[1:])
        except (RuntimeError, ValueError, AssertionError) as error:
            made_for = "" if (height, width) == self.size else f" (it was made for {self.size[0]}x{self.size[1]})"
            raise InputError(
                f"encoder {self.name} does not take images of {height}x{width} pixels{made_for}: {first_line(error)}"
            ) from error

    def _blank(self, height: int, width: int) -> Tensor:
        """Return a blank image [1, 3, h, w] with the type and device of the weights."""
        weight = next(self.parameters())
        return torch.zeros(1, 3, height, width, dtype=weight.dtype, device=weight.device)

    def fingerprint(self) -> str:
        """Return the sha256 of all that determines the features: the network's name, grid, cut and weights."""
        cut = f" stride={self.stride}" if self.stride else ""
        cut += f" last_stage={self.last_stage}" if self.last_stage else ""
        digest = hashlib.sha256(f"{self.name} grid={self.grid}{cut}".encode())
        for name, tensor in sorted(self.trunk.state_dict().items()):
            if not name.endswith("num_batches_tracked"):
                digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


class FrameByFrame(nn.Module):
    """An encoder whose early layers take one image after the other, and whose late layers take all images together.

    The early maps of one image just fit a core's cache; those of several images do not. The late layers have few cells
    and most of the weights, which are read once for all images.
    """

    def __init__(self, encoder: Encoder, early: nn.Module, late: nn.Module) -> None:
        super().__init__()
        self.encoder, self.early, self.late = encoder, early, late

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 3, h, w] to features [N, F]."""
        return self.encoder._pooled(self.late(torch.cat([self.early(image) for image in images.split(1)])))
