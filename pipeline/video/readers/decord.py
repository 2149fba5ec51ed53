"""Reading with decord (package decord2), the fastest reader of whole frames, for mp4, mov, mkv and webm files.

Seven properties of decord decide how it is used here:
- It seeks wrongly where groups of frames are open or the frame rate varies, also to skip frames. The reader therefore
  only goes forward, frame by frame; it reopens the file to reach an earlier range.
- It decodes ahead without limit while its caller is busy, and only a seek would stop it. Therefore it only gets videos
  that fit into memory as a whole; PyAV reads the longer ones.
- It loses frames or their times in containers other than its usual ones (avi, mpg, ts, gif).
- It replaces frames that it cannot decode with a neighbour. Its tolerance is set so that it replaces none.
- It returns black frames for colours by palette, as in grey QuickTime files: PyAV reads those.
- It does not mirror frames, and rotates by quarters only: PyAV reads those that need more.
- It takes an interlaced frame, which shows two moments, for one picture: PyAV reads those.
"""

import cv2  # noqa: F401  Before decord, whose FFmpeg is visible to all libraries loaded later: OpenCV would call it.
import decord
import numpy as np

from pipeline.video.ffmpeg import ffmpeg_name
from pipeline.video.readers.agreement import check_first_frame, refusal
from pipeline.video.readers.forward import ForwardReader
from pipeline.video.types import VideoError, VideoIndex

decord.logging.set_level(decord.logging.QUIET)

CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})  # FFmpeg's names
PALETTE = "pal8"  # FFmpeg's name
MAX_DECODED_BYTES = 512 * 2**20
TIMESTAMP_TOLERANCE_SECONDS = 1e-3


class DecordReader(ForwardReader):
    """A `VideoReader` that uses decord.

    Args:
        video: The index of the video.

    Raises:
        VideoError: decord cannot read the file exactly and within bounded memory.
    """

    def __init__(self, video: VideoIndex) -> None:
        super().__init__(video)
        self._check_kind()
        self._check_decoded_size()
        self._open()
        self._check_timestamps()
        check_first_frame(video, self._next_frame(), name="decord")
        self._open()

    def _open(self) -> None:
        path = self.properties.path
        try:
            # A tolerance between 0 and 1 is a share of the frames; this one is less than one frame of any video.
            self._decoder = decord.VideoReader(ffmpeg_name(path), num_threads=0, fault_tol=1e-9)
        except (decord.DECORDError, RuntimeError, AssertionError) as error:
            raise refusal(self._video, "decord cannot read it") from error
        self._position = 0

    def _next_frame(self) -> np.ndarray:
        """Return the frame at the position, uint8 [H, W, 3] RGB."""
        path = self.properties.path
        try:
            pixels = self._decoder.next().asnumpy()
        except (decord.DECORDError, RuntimeError, StopIteration) as error:
            raise VideoError(f"{path}: frame {self._position} cannot be decoded; the file is damaged") from error
        expected = (self.properties.height, self.properties.width, 3)
        if pixels.shape != expected:
            raise refusal(self._video, f"decord gives pixels {list(pixels.shape)}, expected {list(expected)}")
        self._position += 1
        return pixels

    def _skip_frame(self) -> None:
        self._next_frame()

    def _check_kind(self) -> None:
        container, picture = self._video.container, self._video.picture
        if container not in CONTAINERS:
            raise refusal(self._video, f"decord loses frames or their times in files of the format {container}")
        if self._video.is_lost is not None:
            raise refusal(self._video, "decord finds frames by their packets, which do not tell those of this file")
        if picture.pixel_format == PALETTE:
            raise refusal(self._video, "decord gives black frames for colours by palette (pixel format pal8)")
        if not picture.is_upright:
            raise refusal(self._video, "decord does not mirror pictures, nor round the angle by which they are turned")
        if picture.is_interlaced:
            raise refusal(self._video, "decord takes interlaced frames, which show two moments, for whole pictures")

    def _check_decoded_size(self) -> None:
        properties = self.properties
        decoded_bytes = properties.num_frames * properties.height * properties.width * 3
        if decoded_bytes > MAX_DECODED_BYTES:
            raise refusal(
                self._video,
                f"decord might decode all {properties.num_frames} frames before they are asked for,"
                f" {decoded_bytes / 2**20:.0f} MB, expected at most {MAX_DECODED_BYTES / 2**20:.0f} MB",
            )

    def _check_timestamps(self) -> None:
        num_frames = self.properties.num_frames
        if len(self._decoder) != num_frames:
            raise refusal(self._video, f"decord finds {len(self._decoder)} of its {num_frames} frames")
        # decord counts time from the first frame, as float32, whose error grows with the time.
        decord_seconds = self._decoder.get_frame_timestamp(range(num_frames))[:, 0].astype(np.float64)
        expected_seconds = self._video.pts_seconds - self._video.pts_seconds[0]
        tolerance = TIMESTAMP_TOLERANCE_SECONDS + 1e-6 * expected_seconds
        if not (np.abs(decord_seconds - decord_seconds[0] - expected_seconds) <= tolerance).all():
            raise refusal(self._video, "decord gives its frames other times than the file")

    def close(self) -> None:
        """See `ForwardReader.close`."""
        self.__dict__.pop("_decoder", None)
