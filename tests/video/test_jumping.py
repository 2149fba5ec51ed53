"""A range of a video that is entered by a seek has the bytes of the forward read, or is refused."""

from pathlib import Path

import numpy as np
import pytest
from made_numbers import write_numbered
from test_seeking import KINDS, WITHOUT_SEEKS

from pipeline.video.decoder_process import DecoderProcesses
from pipeline.video.open import open_scaled
from pipeline.video.readers.jumping import NUM_NEAR, JumpingReader
from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.region import Region
from pipeline.video.survey import index_video
from pipeline.video.types import VideoError

REGION = Region((24, 32))


def pixels_of(reader, start: int, stop: int | None, positions: np.ndarray | None = None) -> np.ndarray:
    return np.concatenate([batch.pixels for batch in reader.read(start, stop, batch_size=7, positions=positions)])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "one frame"])
def test_ranges_have_the_bytes_of_the_forward_read(tmp_path: Path, kind: str) -> None:
    index = index_video(KINDS[kind](tmp_path))
    num_frames = index.properties.num_frames
    with PyAVReader(index, REGION) as reader:
        expected = pixels_of(reader, 0, None)
    starts = [NUM_NEAR + 1, NUM_NEAR + 7, 72, num_frames - 1]  # some of them are key frames, of 24 frames each
    for start, stop in zip(starts, [*starts[1:], num_frames], strict=True):
        with JumpingReader(index, REGION) as reader:
            try:
                found = pixels_of(reader, start, stop)
            except VideoError:
                if kind not in WITHOUT_SEEKS:
                    raise
                continue
            np.testing.assert_array_equal(found, expected[start:stop])
            some = np.arange(start, stop, 3)
            np.testing.assert_array_equal(pixels_of(reader, start, stop, some), expected[some])


def test_a_range_is_not_decoded_from_the_start(tmp_path: Path) -> None:
    """The damage is before the range, in a group of frames that the range does not need."""
    path = write_numbered(tmp_path / "a.mp4", num_frames=200, options={"x264-params": "keyint=20:scenecut=0:bframes=0"})
    index = index_video(path)
    with PyAVReader(index, REGION) as reader:
        expected = pixels_of(reader, 150, 200)
    content = bytearray(path.read_bytes())
    place = content.index(b"mdat") + 600
    content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(VideoError), PyAVReader(index, REGION) as reader:
        pixels_of(reader, 150, 200)
    with open_scaled(path, REGION, index=index) as reader:
        np.testing.assert_array_equal(pixels_of(reader, 150, 200), expected)
    with DecoderProcesses(1) as processes, processes.open_scaled(path, REGION, index=index) as process:
        np.testing.assert_array_equal(pixels_of(process, 150, 200), expected)


def test_damage_in_a_range_is_noticed_between_the_frames_that_are_wanted(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", num_frames=200, options={"x264-params": "keyint=20:scenecut=0:bframes=0"})
    index = index_video(path)
    content = bytearray(path.read_bytes())
    place = content.index(b"mdat") + (len(content) - content.index(b"mdat")) * 3 // 4
    content[place : place + 400] = bytes(400)
    path.write_bytes(content)
    with pytest.raises(VideoError), JumpingReader(index, REGION) as reader:
        pixels_of(reader, 90, 200, np.array([90, 199]))
