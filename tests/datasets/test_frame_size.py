"""The size of the frames that the encoder gets, where the data set decides it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets.frame_size import AREA, STEP, frame_size
from pipeline.datasets.manifest import Source
from pipeline.errors import InputError
from pipeline.video.region import Region

WHOLE = Region(size=(1, 1))


def source(width: int, height: int, num_frames: int = 10) -> Source:
    return Source("a", "a.mp4", "a", num_frames, width=width, height=height)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(320, 240, (192, 256)), (1920, 1080, (160, 288)), (1080, 1920, (288, 160)), (50, 50, (224, 224))],
)
def test_frames_keep_their_shape_and_about_as_many_pixels(width: int, height: int, expected: tuple[int, int]) -> None:
    assert frame_size([source(width, height)], WHOLE) == expected


@given(st.integers(16, 4096), st.integers(16, 4096))
def test_no_side_is_further_than_half_a_step_from_the_exact_one(width: int, height: int) -> None:
    found = frame_size([source(width, height)], WHOLE)
    exact = ((AREA * height / width) ** 0.5, (AREA * width / height) ** 0.5)
    for side, right in zip(found, exact, strict=True):
        assert side % STEP == 0
        assert abs(side - right) <= STEP / 2 + 1e-6 or side == STEP


def test_the_shape_is_that_of_the_region() -> None:
    half = Region(size=(1, 1), crop=(0.5, 0, 0.5, 1), crop_unit="fractions")
    assert frame_size([source(640, 320)], half) == (224, 224)
    with pytest.raises(InputError, match="does not lie within a frame 20 wide"):
        frame_size([source(20, 20)], Region(size=(1, 1), crop=(0, 0, 30, 30)))


def test_the_shape_is_that_of_the_middle_one_of_all_frames() -> None:
    videos = [source(1920, 1080, 100), source(320, 240, 300), source(100, 100, 150)]
    assert frame_size(videos, WHOLE) == (192, 256)
    assert frame_size(videos[::-1], WHOLE) == (192, 256)
