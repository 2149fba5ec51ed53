"""The comparison of other decoders with PyAV, for the videos that the readers of decord and OpenCV refuse."""

import numpy as np

from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.region import Region
from pipeline.video.types import VideoError, VideoIndex

# Decoders place chroma of half the size and of more than 8 bits differently between the pixels, which is visible at the
# edges between colours. Pictures made of such edges differ by at most 3.4 grey levels of 255 on average.
MAX_MEAN_DIFFERENCE = 6.0


def refusal(video: VideoIndex, reason: str) -> VideoError:
    """Make the error that a reader raises for a video that it would read differently from PyAV.

    Args:
        video: The index of the video.
        reason: A clause about the reader.
    """
    advice = "use --reader auto or pyav (dataset.reader in params.yaml)"
    return VideoError(f"{video.properties.path}: {reason}; {advice}")


def check_first_frame(video: VideoIndex, pixels: np.ndarray, *, name: str) -> None:
    """Check that a reader shows the same first frame as PyAV.

    Args:
        video: The index of the video.
        pixels: uint8 [H, W, 3], RGB, the first frame as the reader returns it.
        name: The name of the reader, for the message.

    Raises:
        VideoError: The colours differ by more than MAX_MEAN_DIFFERENCE on average.
    """
    check_first_scaled_frame(video, None, pixels, name=name)


def check_first_scaled_frame(video: VideoIndex, region: Region | None, pixels: np.ndarray, *, name: str) -> None:
    """Check a first frame as `check_first_frame` does, of a reader that scales frames.

    Args:
        video: The index of the video.
        region: The region of interest, and its size; None for whole frames.
        pixels: uint8 [h, w, 3], RGB.
        name: The name of the reader, for the message.

    Raises:
        VideoError: The colours differ by more than MAX_MEAN_DIFFERENCE on average.
    """
    with PyAVReader(video, region) as reader:
        expected = next(reader.read(0, 1)).pixels[0]
    difference = float(np.abs(pixels.astype(np.int16) - expected).mean())
    if difference > MAX_MEAN_DIFFERENCE:
        raise refusal(
            video,
            f"{name} gives its first frame in other colours than FFmpeg, {difference:.0f} of 255 grey levels apart on"
            f" average, expected at most {MAX_MEAN_DIFFERENCE:g}",
        )
