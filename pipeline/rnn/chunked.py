"""This module runs a network in chunks over a sequence that is too long for memory, for inference only.

t frames of a chunk, T frames of the sequence, F features, H hidden units, D directions.

A bidirectional layer cannot give its first output before it has read the last frame. What it keeps until then lies in
temporary files without a name, in the folder of `tempfile` (TMPDIR); small files stay in memory. The files are read and
written, not mapped, because mapped pages count as memory.
"""

from collections.abc import Callable, Iterable, Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from pipeline.rnn import dispatch
from pipeline.rnn.cells import Weights
from pipeline.rnn.module import GRU, LSTM, RNN

IN_MEMORY_BYTES = 2 << 20  # A file up to this size stays in memory.


@torch.inference_mode()
def run_chunks(network: RNN | GRU | LSTM, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Run a network over the chunks of one sequence.

    The outputs equal those of the whole sequence in one call, except for rounding. A causal network yields the outputs
    of a chunk before it asks for the next chunk, and keeps no more than its state. A bidirectional network asks for all
    chunks first, and has up to T * max(F + 2*H, 5*H) numbers on disk.

    Args:
        network: The network, in eval mode.
        chunks: The chunks x [1, t, F] of the sequence, in their order.

    Yields:
        The outputs [1, t, D*H] of each chunk.

    Raises:
        OSError: The temporary files do not fit on the disk.
    """
    if not network.bidirectional:
        state = None
        for x in chunks:
            output, state = network(x, state)
            yield output
        return
    for layer in range(network.num_layers):
        chunks = _run_both_ways(network, layer, chunks)
    yield from chunks


def _run_both_ways(network: RNN | GRU | LSTM, layer: int, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the outputs [1, t, 2*H] of one bidirectional layer for each chunk."""
    forward, backward = (_with_state(network, weights) for weights in network.weights(layer))
    with ChunkFile() as forward_outputs, ChunkFile() as backward_outputs:
        with ChunkFile() as inputs:
            for x in chunks:
                inputs.append(x)
                forward_outputs.append(forward(x))
            for x in inputs.last_first():
                backward_outputs.append(backward(x.flip(1)).flip(1))
        for pair in zip(forward_outputs.first_first(), backward_outputs.last_first(), strict=True):
            yield torch.cat(pair, dim=2)


def _with_state(network: RNN | GRU | LSTM, weights: Weights) -> Callable[[Tensor], Tensor]:
    """Return one direction of a layer as a function of a chunk, which carries its state from call to call."""
    h = weights.hh.new_zeros(1, 1, network.hidden_size)
    c = torch.zeros_like(h) if network.cell == "lstm" else None

    def run(x: Tensor) -> Tensor:
        nonlocal h, c
        output, h, c = dispatch.run_layer(network.cell, x, [weights], h, c, None)
        return output

    return run


class ChunkFile:
    """Chunks in a temporary file, in the order in which they were appended.

    It is used in a `with` statement, whose end closes and removes the file.
    """

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115  closed by __exit__
        self._places: list[tuple[int, torch.Size]] = []
        self._like = torch.empty(0)

    def append(self, chunk: Tensor) -> None:
        """Write a chunk at the end of the file.

        Args:
            chunk: A tensor of any shape; all chunks have one dtype and one device.
        """
        self._places.append((self._file.tell(), chunk.shape))
        self._like = chunk.new_empty(0)
        self._file.write(chunk.cpu().contiguous().view(torch.uint8).numpy().data)

    def first_first(self) -> Iterator[Tensor]:
        """Read the chunks from the first to the last."""
        return map(self._read, self._places)

    def last_first(self) -> Iterator[Tensor]:
        """Read the chunks from the last to the first."""
        return map(self._read, reversed(self._places))

    def _read(self, place: tuple[int, torch.Size]) -> Tensor:
        start, shape = place
        chunk = torch.empty(shape, dtype=self._like.dtype)
        self._file.seek(start)
        self._file.readinto(chunk.view(torch.uint8).numpy().data)
        return chunk.to(self._like.device)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
