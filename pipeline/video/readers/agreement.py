"""Whether another decoder gives the frames that PyAV gives: what decord's and OpenCV's readers refuse alike."""

import numpy as np

from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.types import VideoError, VideoIndex

# Decoders place chroma at half the size, of more than 8 bits, differently between the pixels, which shows at the edges
# between colours: 3.4 grey levels of 255 on average at most, of pictures made of such edges.
MAX_MEAN_DIFFERENCE = 6.0


def refusal(video: VideoIndex, reason: str) -> VideoError:
    """What a reader raises for a video that it would read differently; the reason is a clause about the reader."""
    advice = "use --reader auto or pyav (dataset.reader in params.yaml)"
    return VideoError(f"{video.properties.path}: {reason}; {advice}")


def check_first_frame(video: VideoIndex, pixels: np.ndarray, *, name: str) -> None:
    """Raise VideoError where a first frame uint8 [H, W, 3], as the reader `name` gives it, shows another picture."""
    with PyAVReader(video) as reader:
        expected = next(reader.read(0, 1)).pixels[0]
    difference = float(np.abs(pixels.astype(np.int16) - expected).mean())
    if difference > MAX_MEAN_DIFFERENCE:
        raise refusal(
            video,
            f"{name} gives its first frame in other colours than FFmpeg, {difference:.0f} of 255 grey levels apart on"
            f" average, expected at most {MAX_MEAN_DIFFERENCE:g}",
        )
