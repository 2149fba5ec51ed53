"""A network over chunks gives the results of the whole sequence, in bounded memory, and leaves no file behind."""

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.rnn import GRU, LSTM, RNN, chunked
from pipeline.rnn.chunked import run_chunks

CELLS: dict[str, Any] = {"tanh": RNN, "gru": GRU, "lstm": LSTM}


def make(cell: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return CELLS[cell](6, 4, **options).eval()


def sequence(num_frames: int) -> Tensor:
    return torch.randn(1, num_frames, 6, generator=torch.Generator().manual_seed(1))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(CELLS)),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([1, 2]),
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.sampled_from([1, 300, chunked.IN_MEMORY_BYTES]),
)
def test_chunks_equal_the_whole_sequence(
    cell: str, num_layers: int, bidirectional: bool, num_heads: int, lengths: list[int], in_memory_bytes: int
) -> None:
    network = make(cell, num_layers=num_layers, bidirectional=bidirectional, num_heads=num_heads)
    x = sequence(sum(lengths))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "IN_MEMORY_BYTES", in_memory_bytes)
        outputs = list(run_chunks(network, iter(x.split(lengths, dim=1))))
    assert [output.shape[1] for output in outputs] == lengths
    torch.testing.assert_close(torch.cat(outputs, dim=1), network(x)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_files_keep_every_dtype(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    monkeypatch.setattr(chunked, "IN_MEMORY_BYTES", 1)
    network, x = make("gru", bidirectional=True).to(dtype), sequence(9).to(dtype)
    outputs = torch.cat(list(run_chunks(network, x.split(4, dim=1))), dim=1)
    torch.testing.assert_close(outputs, network(x)[0], rtol=0, atol=1e-12 if dtype == torch.float64 else 1e-2)


def test_a_causal_network_answers_each_chunk_before_the_next() -> None:
    num_asked = 0

    def chunks() -> Iterator[Tensor]:
        nonlocal num_asked
        for chunk in sequence(12).split(3, dim=1):
            num_asked += 1
            yield chunk

    answered = [num_asked for _ in run_chunks(make("lstm", num_layers=2), chunks())]
    assert answered == [1, 2, 3, 4]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_memory_does_not_grow_with_the_sequence(monkeypatch: pytest.MonkeyPatch, bidirectional: bool) -> None:
    monkeypatch.setattr(chunked, "IN_MEMORY_BYTES", 1)
    network = make("gru", num_layers=2, bidirectional=bidirectional)

    def max_numbers(num_chunks: int) -> int:
        """Return the maximum count of numbers in tensors, over all times when a chunk is read or written."""
        seen: list[int] = []

        def look() -> None:
            seen.append(sum(thing.numel() for thing in gc.get_objects() if issubclass(type(thing), Tensor)))

        def chunks() -> Iterator[Tensor]:
            for _ in range(num_chunks):
                look()
                yield torch.randn(1, 5, 6)

        for _ in run_chunks(network, chunks()):
            look()
        return max(seen)

    gc.freeze()  # Objects that exist before, which are most of all, are not counted.
    try:
        assert max_numbers(60) == max_numbers(6)
    finally:
        gc.unfreeze()


def test_no_file_is_visible_while_it_runs_or_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(chunked, "IN_MEMORY_BYTES", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened: list[Any] = []

    def open_file(**options: Any) -> Any:
        opened.append(tempfile.SpooledTemporaryFile(**options))  # noqa: SIM115  closed by ChunkFile
        return opened[-1]

    monkeypatch.setattr(chunked, "SpooledTemporaryFile", open_file)
    outputs = run_chunks(make("tanh", num_layers=2, bidirectional=True), sequence(12).split(3, dim=1))
    next(outputs)
    assert any(file._rolled for file in opened)
    assert list(tmp_path.iterdir()) == []
    outputs.close()
    assert all(file.closed for file in opened)
