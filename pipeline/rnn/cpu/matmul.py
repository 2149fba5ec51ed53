"""The large products on a CPU: those of all frames of a chunk, apart from the loop over time.

torch multiplies float32 matrices by MKL, which leaves half of a processor idle that is not of its maker, and
convolutions by oneDNN, which does not: 110 and 220 GFLOP/s on a core of an AMD EPYC (docs/experiments.md). So a large
product is computed as a convolution of single pixels, which it also is.

oneDNN's sums have another order. Where chunks of any length must agree to the last digits, as in streaming,
`by_matrix` is the product that changes least with their length.

n rows, K numbers in each, M numbers that come of each.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_weight

NUM_IMAGES = 16  # fewer, and torch leaves a convolution of 1x1 on one thread to MKL
MIN_ROWS, MIN_WEIGHTS = 256, 128 * 384  # below, oneDNN takes longer to arrange its operands than it saves


def by_weight(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """rows [n, K] times weight [M, K], and bias [M] added -> [n, M]."""
    whole = _rows_for_convolution(rows, weight.numel())
    if whole == 0:
        return by_matrix(rows, weight, bias)
    images = conv2d(_as_images(rows[:whole]), weight[:, :, None, None], bias)
    found = images.permute(0, 2, 3, 1).reshape(whole, -1)
    return found if whole == len(rows) else torch.cat([found, by_matrix(rows[whole:], weight, bias)])


def by_matrix(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As `by_weight`, by MKL."""
    return torch.mm(rows, weight.t()) if bias is None else torch.addmm(bias, rows, weight.t())


def add_weight_gradient(total: Tensor, d_products: Tensor, rows: Tensor) -> None:
    """Add to total [M, K] the gradient of the weight of `by_weight`, from that of its products [n, M]."""
    whole = _rows_for_convolution(rows, total.numel())
    if whole:
        total += conv2d_weight(_as_images(rows[:whole]), (*total.shape, 1, 1), _as_images(d_products[:whole]))[
            :, :, 0, 0
        ]
    if whole < len(rows):
        total.addmm_(d_products[whole:].t(), rows[whole:])


def _rows_for_convolution(rows: Tensor, num_weights: int) -> int:
    """How many of the rows."""
    fits = rows.is_cpu and rows.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    large = len(rows) >= MIN_ROWS and num_weights >= MIN_WEIGHTS
    return len(rows) - len(rows) % NUM_IMAGES if fits and large else 0


def _as_images(rows: Tensor) -> Tensor:
    """[n, K] -> [NUM_IMAGES, K, n / NUM_IMAGES, 1], a view in the order "channels last"."""
    return rows.contiguous().view(NUM_IMAGES, -1, 1, rows.shape[1]).permute(0, 3, 1, 2)
