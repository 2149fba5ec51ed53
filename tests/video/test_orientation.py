"""Frames are mirrored and turned as players show them, whatever display matrix a file states."""

import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from made_videos import MakeVideo

from pipeline.video.open import open_scaled, open_video
from pipeline.video.region import Region
from pipeline.video.survey import index_video
from pipeline.video.types import VideoError

ONE = 1 << 16
# The first four numbers are the matrix, see `orientation`; then the shown frame from the stored one, the reported
# rotation, and whether decord and OpenCV may read it.
MATRICES: dict[str, tuple[tuple[int, int, int, int], Callable[[np.ndarray], np.ndarray], int, bool]] = {
    "not at all": ((ONE, 0, 0, ONE), lambda frame: frame, 0, True),
    "mirrored": ((-ONE, 0, 0, ONE), np.fliplr, 180, False),
    "upside down in a mirror": ((ONE, 0, 0, -ONE), np.flipud, 0, False),
    "half a turn": ((-ONE, 0, 0, -ONE), lambda frame: np.rot90(frame, 2), 180, True),
    "a quarter clockwise": ((0, ONE, -ONE, 0), lambda frame: np.rot90(frame, -1), 270, True),
    "a quarter counterclockwise": ((0, -ONE, ONE, 0), np.rot90, 90, True),
    "a quarter, mirrored": ((0, ONE, ONE, 0), lambda frame: frame.swapaxes(0, 1), 270, False),
    "half a turn, one unit off": ((-ONE, 1, -1, -ONE), lambda frame: np.rot90(frame, 2), 180, False),
    "a quarter, one unit off": ((1, -ONE, ONE, 1), np.rot90, 90, False),
    "ten degrees": ((64540, 11380, -11380, 64540), lambda frame: frame, 0, False),
    "eighty degrees": ((11380, 64540, -64540, 11380), lambda frame: np.rot90(frame, -1), 270, False),
    "nothing": ((0, 0, 0, 0), lambda frame: frame, 0, False),
}


def set_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Set the display matrix of the first track of an mp4 file."""
    content = bytearray(path.read_bytes())
    a, b, c, d = matrix
    place = content.index(b"tkhd") + 44  # in version 0 of the box
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize("name", MATRICES)
def test_frames_are_shown_as_the_display_matrix_says(name: str, make_video: MakeVideo) -> None:
    matrix, shown, degrees, is_upright = MATRICES[name]
    path = make_video(num_frames=4)
    with open_video(path, backend="pyav") as video:
        stored = next(video.read()).pixels
    set_matrix(path, matrix)
    expected = np.stack([shown(frame) for frame in stored])
    height, width = expected.shape[1:3]
    with open_video(path) as video:
        assert (video.properties.height, video.properties.width) == (height, width)
        assert video.properties.rotation_degrees == degrees
        np.testing.assert_array_equal(next(video.read()).pixels, expected)
    with open_scaled(path, Region((height, width))) as scaled:
        np.testing.assert_array_equal(next(scaled.read()).pixels, expected)
        assert scaled.report().sizes == (f"{width}x{height}",)
    part = Region((20, 30), crop=(4, 2, 30, 20))  # left, top, width, height
    with open_scaled(path, part) as scaled:
        np.testing.assert_array_equal(next(scaled.read()).pixels, expected[:, 2:22, 4:34])
    for backend in ("decord", "opencv"):
        if is_upright:
            with suppress(VideoError), open_video(path, backend=backend) as video:  # type: ignore[arg-type]
                np.testing.assert_array_equal(next(video.read()).pixels, expected)
        else:
            with pytest.raises(VideoError, match="does not mirror pictures"):
                open_video(path, backend=backend)  # type: ignore[arg-type]


def test_a_survey_finds_the_same_orientation(make_video: MakeVideo) -> None:
    path = make_video(num_frames=4)
    set_matrix(path, (0, ONE, ONE, 0))
    assert index_video(path, surveyed=True).properties == index_video(path).properties
