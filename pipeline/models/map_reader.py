"""Feature maps are read by the same filters at every place.

A Linear on a whole map has weights of its own for each cell, and has to learn at each of them what a movement looks
like. Filters that all cells share (a convolution, LeCun et al. 1989) learn it once, which takes far fewer videos.

Shapes: B videos, T frames, C channels, g x g cells, F = C * g * g features, M filters, H outputs.
"""

import torch
from torch import Tensor, nn

from pipeline.rnn.precision import precision_of_products

KERNEL_SIZE = 3
DROPOUT = 0.2  # of the filters' outputs


class MapReader(nn.Module):
    """Filters over maps, and a projection of what they found: where it is, and how much of it there is anywhere.

    Args:
        num_channels: C.
        grid: g.
        num_filters: M.
        num_parts: How many outputs `filtered` has; each has filters of its own.
        hidden_size: H.
    """

    def __init__(self, num_channels: int, grid: int, *, num_filters: int, num_parts: int, hidden_size: int) -> None:
        super().__init__()
        self.map_shape = (num_channels, grid, grid)
        self.num_parts = num_parts
        self.filters = nn.Conv2d(
            num_channels, num_parts * num_filters, KERNEL_SIZE, padding=KERNEL_SIZE // 2, bias=False
        )
        self.filter_bias = nn.Parameter(torch.zeros(num_filters))
        self.places = nn.Linear(num_filters * grid**2, hidden_size)
        self.amounts = nn.Linear(2 * num_filters, hidden_size, bias=False)
        self.dropout = nn.Dropout(DROPOUT)

    def filtered(self, features: Tensor) -> list[Tensor]:
        """Filter maps [B, T, F]: `num_parts` times [B, T, M * g * g]. It is linear in the maps."""
        maps = features.flatten(0, 1).unflatten(1, self.map_shape).contiguous(memory_format=torch.channels_last)
        with precision_of_products(maps):
            found = self.filters(maps)
        return [part.flatten(1).unflatten(0, features.shape[:2]) for part in found.chunk(self.num_parts, 1)]

    def forward(self, found: Tensor) -> Tensor:
        """Project what the filters found, the sum of parts of `filtered` [B, T, M * g * g], to [B, T, H]."""
        maps = torch.relu(found.unflatten(2, (len(self.filter_bias), -1)) + self.filter_bias[:, None])
        amounts = torch.cat([maps.mean(-1), maps.amax(-1)], dim=-1)
        return self.places(self.dropout(maps.flatten(2))) + self.amounts(amounts)
