"""Reading with OpenCV's FFmpeg: a second opinion, which is used only on request.

A frame is decoded when it is requested, so memory is bounded by one batch. OpenCV converts interlaced frames and those
of high dynamic range to wrong colours: such videos are refused.
"""

import os

# OpenCV reads it once, when it opens its first video; -8 is FFmpeg's AV_LOG_QUIET.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np

from pipeline.video.ffmpeg import ffmpeg_name
from pipeline.video.readers.agreement import check_first_frame, refusal
from pipeline.video.readers.forward import ForwardReader
from pipeline.video.types import VideoError, VideoIndex

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

HIGH_DYNAMIC_RANGE = {16: "PQ", 18: "HLG"}  # color_transfer of a `Picture`


class OpenCVReader(ForwardReader):
    """A `VideoReader` that uses OpenCV.

    Args:
        video: The index of the video.

    Raises:
        VideoError: OpenCV cannot open the file, or would show it in other colours.
    """

    def __init__(self, video: VideoIndex) -> None:
        super().__init__(video)
        self._tolerance_seconds = float(np.diff(video.pts_seconds).min(initial=1.0)) / 2
        self._check_kind()
        self._open()
        if not self._capture.grab():  # OpenCV opens files of codecs for which it has no decoder, such as AV1.
            raise refusal(video, "OpenCV decodes no frame: it lacks a decoder of this codec, or the file is damaged")
        self._open()
        check_first_frame(video, self._next_frame(), name="OpenCV")
        self._open()

    def _check_kind(self) -> None:
        picture = self._video.picture
        if self._video.problems:  # of a surveyed file
            raise refusal(self._video, f"OpenCV reads whole files only, and it {'; '.join(self._video.problems)}")
        if not picture.is_upright:
            raise refusal(self._video, "OpenCV does not mirror pictures, nor round the angle by which they are turned")
        if picture.is_interlaced:
            raise refusal(self._video, "OpenCV gives interlaced frames in wrong colours")
        if picture.color_transfer in HIGH_DYNAMIC_RANGE:
            kind = HIGH_DYNAMIC_RANGE[picture.color_transfer]
            raise refusal(self._video, f"OpenCV changes the colours of videos of high dynamic range ({kind})")

    def _open(self) -> None:
        self._capture = cv2.VideoCapture(ffmpeg_name(self.properties.path), cv2.CAP_FFMPEG)
        self._position = 0
        if not self._capture.isOpened():
            raise refusal(self._video, "OpenCV cannot read it")

    def _next_frame(self) -> np.ndarray:
        """Return the frame at the position, uint8 [H, W, 3] RGB."""
        self._skip_frame()
        decoded, pixels = self._capture.retrieve()
        expected = (self.properties.height, self.properties.width, 3)
        if not decoded or pixels.shape != expected:
            got = list(pixels.shape) if decoded else "none"
            raise refusal(self._video, f"OpenCV gives pixels {got}, expected {list(expected)}")
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

    def _skip_frame(self) -> None:
        """Decode the frame at the position, and check its time: OpenCV skips frames that it cannot decode."""
        path, num_frames = self.properties.path, self.properties.num_frames
        if not self._capture.grab():
            raise VideoError(
                f"{path}: only {self._position} of {num_frames} frames can be decoded; the file is damaged or cut short"
            )
        shown_seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        pts_seconds = self._video.pts_seconds
        if self._position == 0:
            self._first_shown_seconds = shown_seconds
        expected_seconds = self._first_shown_seconds + pts_seconds[self._position] - pts_seconds[0]
        # A later time of 0 means that OpenCV does not know it (the last frames of H.264 in avi).
        if shown_seconds and abs(shown_seconds - expected_seconds) > self._tolerance_seconds:
            raise VideoError(f"{path}: frame {self._position} cannot be decoded; the file is damaged")
        self._position += 1

    def _check_end(self) -> None:
        if self._capture.grab():
            num_frames = self.properties.num_frames
            raise VideoError(f"{self.properties.path}: more frames can be decoded than the {num_frames} that it lists")

    def close(self) -> None:
        """See `ForwardReader.close`."""
        self._capture.release()
