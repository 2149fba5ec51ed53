"""Region of interest, size, colour and normalisation are compared with direct computation."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.video.preprocess import Preprocess

PIXELS = np.random.default_rng(0).integers(0, 256, size=(3, 20, 30, 3), dtype=np.uint8)


def test_without_changes_the_result_is_the_pixels_from_0_to_1() -> None:
    values = Preprocess(size=(20, 30))(PIXELS)
    assert values.dtype == torch.float32
    assert values.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(values.numpy(), PIXELS.transpose(0, 3, 1, 2).astype(np.float32) / 255)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_crop_in_fractions_equals_the_same_crop_in_pixels(data: st.DataObject) -> None:
    left, right = sorted(data.draw(st.lists(st.integers(0, 30), min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(data.draw(st.lists(st.integers(0, 20), min_size=2, max_size=2, unique=True)))
    box = (left, top, right - left, bottom - top)
    fractions = tuple(float(Fraction(edge, side)) for edge, side in zip(box, (30, 20, 30, 20), strict=True))
    size = (bottom - top, right - left)
    in_pixels = Preprocess(size=size, crop=box)(PIXELS)
    in_fractions = Preprocess(size=size, crop=fractions, crop_unit="fractions")(PIXELS)
    np.testing.assert_array_equal(in_pixels, in_fractions)
    expected = PIXELS[:, top:bottom, left:right].transpose(0, 3, 1, 2).astype(np.float32) / 255
    np.testing.assert_array_equal(in_pixels.numpy(), expected)


@given(st.integers(0, 29), st.integers(0, 30))
def test_an_image_is_mirrored_within_the_region_of_interest(left: int, right: int) -> None:
    crop = (left, 2, right - left, 9) if left < right else None
    start, stop = (left, right) if crop else (0, 30)
    before = PIXELS[0].copy()
    mirrored = Preprocess(size=(9, 9), crop=crop).mirror(before)
    np.testing.assert_array_equal(before, PIXELS[0])
    for column in range(30):
        source = start + stop - 1 - column if start <= column < stop else column
        np.testing.assert_array_equal(mirrored[:, column], PIXELS[0][:, source])


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), color=st.sampled_from(["rgb", "grey"]))
def test_values_stay_in_range_at_any_size(height: int, width: int, color: str) -> None:
    values = Preprocess(size=(height, width), color=color)(PIXELS)  # type: ignore[arg-type]
    assert values.shape == (3, 3, height, width)
    assert float(values.min()) >= 0
    assert float(values.max()) <= 1 + 1e-6


def test_shrinking_averages_so_that_fine_patterns_do_not_alias() -> None:
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    values = Preprocess(size=(8, 8))(stripes)
    assert torch.allclose(values[..., 1:-1], torch.tensor(0.5), atol=0.02)


def test_grey_is_the_rec_601_luma_in_each_channel() -> None:
    values = Preprocess(size=(20, 30), color="grey")(PIXELS).numpy()
    luma = (PIXELS @ np.array([0.299, 0.587, 0.114])) / 255
    for channel in range(3):
        np.testing.assert_allclose(values[:, channel], luma, atol=1e-6)


@pytest.mark.parametrize("color", ["rgb", "grey"])
def test_normalisation_is_by_channel(color: str) -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    plain = Preprocess(size=(5, 6), color=color)(PIXELS)  # type: ignore[arg-type]
    values = Preprocess(size=(5, 6), color=color, mean=mean, std=std)(PIXELS)  # type: ignore[arg-type]
    for channel in range(3):
        expected = (plain[:, channel] - mean[channel]) / std[channel]
        np.testing.assert_allclose(values[:, channel], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("crop", "unit"),
    [
        ((0, 0, 31, 20), "pixels"),
        ((25, 0, 10, 10), "pixels"),
        ((0.5, 0, 0.6, 1), "fractions"),
        ((0, 0, 0.2, 5), "pixels"),
    ],
)
def test_a_crop_outside_the_frame_is_refused(crop: tuple[float, ...], unit: str) -> None:
    preprocess = Preprocess(size=(8, 8), crop=crop, crop_unit=unit)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"30 wide and 20 high") as caught:
        preprocess(PIXELS)
    assert str(crop) in str(caught.value)


def test_all_faults_of_the_settings_are_named_together() -> None:
    with pytest.raises(InputError) as caught:
        Preprocess(size=(0, 8), crop=(0, 0, -1, 2), crop_unit="inches", color="blue", std=(1, 0, 1))  # type: ignore[arg-type]
    for word in ("size", "crop must", "crop_unit", "color", "std"):
        assert word in str(caught.value)


def test_pixels_of_another_dtype_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8 pixels"):
        Preprocess(size=(8, 8))(PIXELS.astype(np.float32))
