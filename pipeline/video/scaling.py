"""The scaling of decoded frames to the input of an encoder, in the same way for files, streams and cameras."""

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from pipeline.video.orientation import OrientationsByAngle
from pipeline.video.region import Region

UNSCALED = Interpolation.BILINEAR  # as PyAV's to_ndarray
# Chroma at full size preserves the colours of small objects; it costs half a millisecond at 720p.
BILINEAR = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


class Scaler:
    """Scales the region of interest of frames to its size, mirrored and turned as a player shows them.

    Scaling is bilinear with antialiasing, as in `Preprocess.resize`. It works on the planes that the decoder gives
    (luma and chroma) and not on RGB, which halves the time; pixels differ by a few grey levels.

    Args:
        region: The region of interest, and its size.
    """

    def __init__(self, region: Region) -> None:
        self._region = region
        self._orientations = OrientationsByAngle()
        self._reformatter = VideoReformatter()

    def shown_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Return the width and height of a frame as a player shows it."""
        return self._orientations.of(frame).shown(frame.width, frame.height)

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Scale a frame.

        Returns:
            uint8 [h, w, 3], RGB.

        Raises:
            InputError: The frame is smaller than the region of interest.
        """
        orientation = self._orientations.of(frame)
        width, height = orientation.shown(frame.width, frame.height)
        left, top, right, bottom = self._region.crop_box(width=width, height=height)
        size = self._region.size
        if (right - left, bottom - top) == (width, height):
            stored_height, stored_width = orientation.shown(*size)
            return orientation.turn(self._rgb(frame, stored_height, stored_width))
        pixels = orientation.turn(self._rgb(frame, frame.height, frame.width))
        region = np.ascontiguousarray(pixels[top:bottom, left:right])
        return self._rgb(av.VideoFrame.from_ndarray(region, format="rgb24"), *size)

    def _rgb(self, frame: av.VideoFrame, height: int, width: int) -> np.ndarray:
        # One thread is enough: FFmpeg decodes in several threads, and the encoder uses the other cores.
        interpolation = UNSCALED if (frame.width, frame.height) == (width, height) else BILINEAR
        scaled = self._reformatter.reformat(frame, width, height, "rgb24", interpolation=interpolation, threads=1)
        return scaled.to_ndarray()
