"""Which device computes, and on how many CPU threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.errors import InputError


@contextmanager
def cpu_threads(num_threads: int | None) -> Iterator[None]:
    """Run on that many CPU threads; None for as many as there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one. Raises InputError where CUDA is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, but torch sees no CUDA device here: use cpu or auto")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")
