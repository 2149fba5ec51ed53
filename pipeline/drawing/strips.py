"""Pictures of a stretch of a video: some of its frames side by side, with the first and the last one among them.

Shapes: N frames of a strip, H x W pixels.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from pipeline.files import replacing
from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.region import Region
from pipeline.video.survey import index_video

MAX_WIDTH, MAX_HEIGHT = 240, 180  # of a frame in a strip
GAP = 4  # white columns between two frames
JPEG_QUALITY = 85
START_OF_IMAGE, COMMENT = b"\xff\xd8", b"\xff\xfe"  # markers of JPEG (ITU-T T.81, table B.1)
ORIGIN = b"a strip by Framescribe"
# The comment by which a picture is known to be ours: its marker, its length with the two bytes of the length, its text.
HEAD = START_OF_IMAGE + COMMENT + (len(ORIGIN) + 2).to_bytes(2, "big") + ORIGIN


def spread_frames(start: int, stop: int, *, most: int) -> list[int]:
    """Choose frames of [start, stop), evenly spread from the first to the last one.

    Args:
        start: The first frame.
        stop: The frame after the last one.
        most: The maximum number of frames.

    Returns:
        The numbers of the frames, ascending.

    >>> spread_frames(10, 20, most=4)
    [10, 13, 16, 19]
    """
    return sorted({round(frame) for frame in np.linspace(start, stop - 1, most)})


def read_strips(path: Path, frame_lists: Iterable[list[int]]) -> Iterator[np.ndarray]:
    """Yield a strip for each list of frame numbers, small enough for a page.

    The video is read only once if each list begins after the previous one. Only the listed frames are converted to
    pixels.

    Args:
        path: The video.
        frame_lists: Lists of ascending frame numbers.

    Yields:
        uint8 [H, W, 3], RGB.

    Raises:
        VideoError: The video cannot be read.
    """
    video = index_video(path)
    properties = video.properties
    scale = min(MAX_WIDTH / properties.width, MAX_HEIGHT / properties.height)
    size = max(1, round(properties.height * scale)), max(1, round(properties.width * scale))
    with PyAVReader(video, Region(size)) as reader:
        for frames in frame_lists:
            batches = [batch for frame in frames for batch in reader.read(frame, frame + 1)]
            yield join_frames(np.concatenate([batch.pixels for batch in batches]))


def join_frames(pixels: np.ndarray) -> np.ndarray:
    """Join frames uint8 [N, H, W, 3] side by side, with GAP white columns between them, into uint8 [H, W', 3]."""
    spaced = np.pad(pixels, ((0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=255)
    return np.concatenate(list(spaced), axis=1)[:, :-GAP]


def write_jpeg(path: Path, pixels: np.ndarray) -> None:
    """Write a strip uint8 [H, W, 3] RGB as a JPEG file with a comment on its origin, completely or not at all."""
    encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    with replacing(path) as temporary:
        temporary.write_bytes(HEAD + encoded.tobytes().removeprefix(START_OF_IMAGE))


def is_strip(path: Path) -> bool:
    """Return whether a file is a strip that `write_jpeg` wrote; a link to one is not."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(HEAD)) == HEAD
