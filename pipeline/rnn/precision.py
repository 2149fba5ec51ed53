"""This module decides whether products of float32 on a GPU are exact or TF32.

TF32 rounds the operands of a product to about three decimal digits.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import RLock

import torch
from torch import Tensor

_lock = RLock()


def takes_tf32() -> bool:
    """Return whether products of float32 may be TF32.

    This is torch's setting for products of matrices, which `exact_float32` turns off.
    """
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute in float32 without TF32, and with deterministic kernels of cuDNN, inside the `with` block.

    One thread at a time can be inside. These are settings of the process, so that kernels which other threads launch
    meanwhile follow them too.
    """
    matmul = torch.backends.cuda.matmul
    with _lock, torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        before = takes_tf32()
        if before:
            matmul.allow_tf32 = False
        try:
            yield
        finally:
            if before:
                matmul.allow_tf32 = True


def precision_of_products(x: Tensor) -> AbstractContextManager[None]:
    """Return a context in which torch's setting for products of matrices decides on TF32 in cuDNN too.

    By default cuDNN uses TF32 for float32, whatever that setting is.

    Args:
        x: The input: on a CPU there is nothing to decide.
    """
    return exact_float32() if x.device.type == "cuda" and not takes_tf32() else nullcontext()
