"""Several processes that train one model together, as torchrun starts them; here alone torch.distributed is imported.

Each process ("rank") has a copy of the model and takes its videos of every batch. The ranks add up their gradients
before each update, so that the batch, its loss and the update are those of one process. Without torchrun there is one
process, and every function here returns what it is given.

`DistributedDataParallel` averages gradients, where ours are parts of one sum: the loss is a mean over the labelled
frames of the whole batch, of which the ranks have different numbers. It also needs one call of the model for each
update, and captions are drawn with several. A sum after the backward pass needs neither.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from pipeline.encoding.device import choose_device
from pipeline.errors import InputError

K = TypeVar("K")
T = TypeVar("T")
# One rank may wait for a long video of another. Where a rank fails, torchrun ends the others long before.
LONGEST_WAIT = timedelta(days=1)


def is_first() -> bool:
    """Return whether this is the process that writes checkpoints and reports; a single process is."""
    return not _is_one_of_several() or os.environ["RANK"] == "0"


def rank() -> int:
    """Return the number of this rank, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def num_ranks() -> int:
    """Return the number of ranks that train together now."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


@contextmanager
def joined(device: str, *, batch_size: int) -> Iterator[None]:
    """Train in the block together with the other processes that torchrun started; alone where there are none.

    A process can join once: a second time it would find the addresses of the first.

    Args:
        device: The device, as `choose_device` takes it. On CUDA each rank has a device of its own.
        batch_size: The number of windows or images in a batch of all ranks.

    Raises:
        InputError: There are more ranks than `batch_size`, or more on this machine than CUDA devices.
    """
    if not _is_one_of_several():
        yield
        return
    world_size = int(os.environ["WORLD_SIZE"])
    if batch_size < world_size:
        raise InputError(
            f"training runs in {world_size} processes, and batch_size {batch_size} has nothing for some of them:"
            f" start at most {batch_size} (torchrun --nproc-per-node), or raise batch_size"
        )
    backend = "gloo"
    if choose_device(device).type == "cuda":
        _take_own_device()
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, timeout=LONGEST_WAIT)
    try:
        yield
    finally:
        leave()


def leave() -> None:
    """Train alone from now on: what follows the last epoch is for the first process."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def mine(items: Sequence[T]) -> list[T]:
    """Return those of some items that are this rank's; none of them is another rank's too."""
    return list(items[rank() :: num_ranks()])


def summed(value: Tensor) -> Tensor:
    """Return the sum of the values of all ranks, without a gradient."""
    if not distributed.is_initialized():
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total


def part_of(count: float) -> float:
    """Return the share that this rank has of what all ranks count, 0 to 1."""
    if not distributed.is_initialized():
        return 1.0
    return count / summed(torch.tensor(float(count))).item()


def add_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by the sum of those of all ranks. Each rank must have gradients of the same parameters."""
    if not distributed.is_initialized():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(together)
    for gradient, total in zip(gradients, together.split([len(g.flatten()) for g in gradients]), strict=True):
        gradient.copy_(total.view_as(gradient))


def copy_weights(model: nn.Module) -> None:
    """Give all ranks the weights of the first one, as other processors may round otherwise where they start."""
    if not distributed.is_initialized():
        return
    for tensor in model.state_dict().values():
        weights = tensor.contiguous()
        distributed.broadcast(weights, src=0)
        tensor.copy_(weights)


def of_first(make: Callable[[], T]) -> T:
    """Call a function in the first rank; return in all ranks what it returned there."""
    if not distributed.is_initialized():
        return make()
    found: list[Any] = [make() if is_first() else None]
    distributed.broadcast_object_list(found, src=0)
    return found[0]


def gathered(found: Mapping[K, T]) -> dict[K, T]:
    """Return in all ranks what each of them found, together."""
    if not distributed.is_initialized():
        return dict(found)
    of_ranks: list[Any] = [None] * num_ranks()
    distributed.all_gather_object(of_ranks, found)
    return {key: value for of_rank in of_ranks for key, value in of_rank.items()}


def _is_one_of_several() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _take_own_device() -> None:
    """Make `cuda` mean a device that no other rank of this machine takes."""
    num_processes, num_devices = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if num_processes > num_devices:
        raise InputError(
            f"training runs in {num_processes} processes on this machine, where torch sees {num_devices} CUDA devices:"
            f" start {num_devices} (torchrun --nproc-per-node), or set the device to cpu"
        )
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
