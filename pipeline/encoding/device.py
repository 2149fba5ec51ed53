"""The choice of the device that computes, and of the number of CPU threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.errors import InputError


@contextmanager
def cpu_threads(num_threads: int | None) -> Iterator[None]:
    """Run the block on that many CPU threads; None leaves their number as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_device(name: str) -> torch.device:
    """Return the device that a setting names.

    Args:
        name: "cpu", "cuda", or "auto", which is CUDA where there is a CUDA device.

    Raises:
        InputError: CUDA is asked for and absent.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, but torch sees no CUDA device here: use cpu or auto")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")
