"""float32 on a GPU: as it is, or as TF32, whose products have three digits."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch

_lock = RLock()


def takes_tf32() -> bool:
    """Whether products of float32 may be TF32: torch's setting for matrices, which `exact_float32` turns off."""
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


@contextmanager
def exact_float32() -> Iterator[None]:
    """float32 without TF32, and by kernels of cuDNN that always give the same; for one thread at a time.

    These are settings of the process: kernels that other threads launch meanwhile follow them too.
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
