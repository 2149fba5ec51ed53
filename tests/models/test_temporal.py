"""From frames to steps: compared with NumPy and loops; chunks equal the whole video."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.models.temporal import pooled, standardized, standardized_chunks, valid_positions
from pipeline.rnn import frame_mask

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def padded_videos(lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Features [B, T, 3], zero at padding, far from 0 and of several scales; and the mask [B, T, 1]."""
    generator = torch.Generator().manual_seed(sum(lengths))
    x = torch.randn(len(lengths), max(lengths), 3, dtype=torch.float64, generator=generator)
    mask = frame_mask(torch.tensor(lengths), max(lengths), torch.device("cpu")).unsqueeze(2)
    return (x * torch.tensor([0.5, 3.0, 40.0]) + 100).masked_fill(~mask, 0), mask


@given(LENGTHS)
def test_standardized_has_mean_0_and_deviation_1_over_the_frames_of_a_video(lengths: list[int]) -> None:
    x, mask = padded_videos(lengths)
    found = standardized(x, mask)
    for video, result, length in zip(x.numpy(), found.numpy(), lengths, strict=True):
        valid = video[:length]
        expected = (valid - valid.mean(0)) / np.sqrt(valid.var(0) + 1e-5)
        np.testing.assert_allclose(result[:length], expected, atol=1e-9)
        assert (result[length:] == 0).all()


@given(LENGTHS)
def test_valid_positions_are_those_of_the_mask_in_order(lengths: list[int]) -> None:
    x, mask = padded_videos(lengths)
    found = valid_positions(torch.tensor(lengths), x)
    assert found.tolist() == np.flatnonzero(mask.numpy()).tolist()


def test_lengths_that_do_not_fit_have_no_positions() -> None:
    with pytest.raises(ValueError, match=r"lengths: got \[0, 4\], expected 1 to 3"):
        valid_positions(torch.tensor([0, 4]), torch.zeros(2, 3, 1))


def test_a_constant_feature_becomes_zero() -> None:
    assert standardized(torch.full((1, 5, 1), 0.1), None).abs().max() < 1e-4


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_chunks_are_standardized_like_their_whole_video(lengths: list[int]) -> None:
    x, _ = padded_videos([sum(lengths)])
    chunks = list(standardized_chunks(iter(x[0].split(lengths))))
    assert list(map(len, chunks)) == lengths
    torch.testing.assert_close(torch.cat(chunks), standardized(x, None)[0])


@given(LENGTHS, st.integers(1, 5))
def test_pooled_frames_are_means_of_the_valid_frames(lengths: list[int], num_frames: int) -> None:
    x, _ = padded_videos(lengths)
    found = pooled(x, num_frames, lengths=torch.tensor(lengths))
    for video, result, length in zip(x, found, lengths, strict=True):
        blocks = [block.mean(0) for block in video[:length].split(num_frames)]
        torch.testing.assert_close(result[: len(blocks)], torch.stack(blocks))
        assert (result[len(blocks) :] == 0).all()
