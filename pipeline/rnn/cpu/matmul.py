"""This module computes the large products on a CPU: those over all frames of a chunk, outside of the loop over time.

n rows, K numbers in each row, M numbers in each row of the product.

torch multiplies float32 matrices by MKL, which leaves half of a processor idle unless Intel made it, and computes
convolutions by oneDNN, which does not: 110 and 220 GFLOP/s on a core of an AMD EPYC
(docs/results/experiments/2026-11.md). So a large product is computed as a convolution of single pixels, which is the
same operation.

oneDNN adds the terms of a sum in another order. Where chunks of any length must agree to the last digits, as in
streaming, `by_matrix` is the product that changes least with their length.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_weight

NUM_IMAGES = 16  # With fewer images, torch leaves a convolution of 1x1 on one thread to MKL.
MIN_ROWS, MIN_WEIGHTS = 256, 128 * 384  # Below, oneDNN takes longer to arrange its operands than it saves.


def by_weight(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply rows by a weight, by oneDNN where that is faster.

    Args:
        rows: [n, K].
        weight: [M, K].
        bias: [M], added to each row of the product; None for zeros.

    Returns:
        rows times the transposed weight, plus the bias, [n, M].
    """
    whole = _rows_for_convolution(rows, weight.numel())
    if whole == 0:
        return by_matrix(rows, weight, bias)
    images = conv2d(_as_images(rows[:whole]), weight[:, :, None, None], bias)
    found = images.permute(0, 2, 3, 1).reshape(whole, -1)
    return found if whole == len(rows) else torch.cat([found, by_matrix(rows[whole:], weight, bias)])


def by_matrix(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply rows by a weight, by MKL.

    Args:
        rows: [n, K].
        weight: [M, K].
        bias: [M], added to each row of the product; None for zeros.

    Returns:
        rows times the transposed weight, plus the bias, [n, M].
    """
    return torch.mm(rows, weight.t()) if bias is None else torch.addmm(bias, rows, weight.t())


def add_weight_gradient(total: Tensor, d_products: Tensor, rows: Tensor) -> None:
    """Add the gradient of the weight of `by_weight` to a sum, in place.

    Args:
        total: [M, K], the sum.
        d_products: [n, M], the gradient of the product.
        rows: [n, K], the rows that were multiplied.
    """
    whole = _rows_for_convolution(rows, total.numel())
    if whole:
        total += conv2d_weight(_as_images(rows[:whole]), (*total.shape, 1, 1), _as_images(d_products[:whole]))[
            :, :, 0, 0
        ]
    if whole < len(rows):
        total.addmm_(d_products[whole:].t(), rows[whole:])


def _rows_for_convolution(rows: Tensor, num_weights: int) -> int:
    """Return how many of the rows, from the first on, go to oneDNN."""
    fits = rows.is_cpu and rows.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    large = len(rows) >= MIN_ROWS and num_weights >= MIN_WEIGHTS
    return len(rows) - len(rows) % NUM_IMAGES if fits and large else 0


def _as_images(rows: Tensor) -> Tensor:
    """View rows [n, K] as images [NUM_IMAGES, K, n / NUM_IMAGES, 1] in the order "channels last"."""
    return rows.contiguous().view(NUM_IMAGES, -1, 1, rows.shape[1]).permute(0, 3, 1, 2)
