"""The one way to open a video: the reader that fits the file."""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from pipeline.errors import InputError
from pipeline.video.types import Backend, VideoError, VideoReader

if TYPE_CHECKING:
    from pipeline.video.readers.pyav import PyAVReader
    from pipeline.video.region import Region
    from pipeline.video.types import VideoIndex


def open_video(path: Path | str, *, backend: Backend = "auto") -> VideoReader:
    """Open a video file.

    `auto` takes decord, which is the fastest with whole frames, and PyAV for the files that decord refuses (see
    `readers.decord`).

    Raises:
        VideoError: the file is missing, empty, cut short, not a video, without frames, or refused by the backend.
    """
    # Decoders are slow to import, and the callers of this module often need only its names.
    from pipeline.video.survey import index_video

    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")
    return open_indexed(index_video(Path(path)), backend=backend)


def open_indexed(video: "VideoIndex", *, backend: Backend = "auto") -> VideoReader:
    """As `open_video`, for a caller that has asked `index_video` already."""
    if backend in ("auto", "decord"):
        from pipeline.video.readers.decord import DecordReader

        try:
            return DecordReader(video)
        except VideoError:
            if backend == "decord":
                raise
    if backend == "opencv":
        from pipeline.video.readers.opencv import OpenCVReader

        return OpenCVReader(video)
    from pipeline.video.readers.pyav import PyAVReader

    return PyAVReader(video)


def open_scaled(path: Path | str, region: "Region", *, surveyed: bool | None = None) -> "PyAVReader":
    """Open a video file whose frames come as a region of interest, at its size.

    They are scaled on their way out of the decoder, which is much cheaper than scaling them afterwards. `surveyed` as
    in `index_video`.

    Raises:
        VideoError: as `open_video`.
        InputError: the video is smaller than the region of interest.
    """
    from pipeline.video.readers.pyav import PyAVReader
    from pipeline.video.survey import index_video

    video = index_video(Path(path), surveyed=surveyed)
    try:
        return PyAVReader(video, region)
    except VideoError:
        raise
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
