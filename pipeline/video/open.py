"""Opening videos: the functions choose the reader that fits the file."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from pipeline.errors import InputError
from pipeline.files import InputFile
from pipeline.video.types import Backend, ReaderName, ScaledReader, VideoError, VideoReader, scaling_reader

if TYPE_CHECKING:
    from pipeline.video.readers.forward import ForwardReader
    from pipeline.video.region import Region
    from pipeline.video.types import VideoIndex


def open_video(path: InputFile | str, *, backend: Backend = "auto") -> VideoReader:
    """Open a video file.

    Args:
        path: The video.
        backend: The reader. "auto" is decord, which is the fastest with whole frames, and PyAV for the files that
            decord refuses (see `readers.decord`).

    Raises:
        VideoError: The file is missing, empty, cut short, not a video, without frames, or refused by the backend.
        ValueError: There is no such backend.
    """
    # Decoders are slow to import, and the callers of this module often need only its names.
    from pipeline.video.survey import index_video

    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")
    return open_indexed(index_video(_as_file(path)), backend=backend)


def _as_file(path: InputFile | str) -> InputFile:
    return Path(path) if isinstance(path, str) else path


def open_indexed(video: "VideoIndex", *, backend: Backend = "auto") -> VideoReader:
    """Open a video as `open_video` does, for a caller that already has its index.

    Args:
        video: The index, from `index_video`.
        backend: See `open_video`.

    Raises:
        VideoError: The backend refuses the video.
    """
    if backend != "auto":
        return _open_whole(video, backend)
    try:
        return _open_whole(video, "decord")
    except VideoError:
        return _open_whole(video, "pyav")


def _open_whole(video: "VideoIndex", name: ReaderName) -> "ForwardReader":
    if name == "decord":
        from pipeline.video.readers.decord import DecordReader

        return DecordReader(video)
    if name == "opencv":
        from pipeline.video.readers.opencv import OpenCVReader

        return OpenCVReader(video)
    if name == "nvdec":
        from pipeline.video.readers.nvdec import open_nvdec

        return open_nvdec(video, None)
    from pipeline.video.readers.pyav import PyAVReader

    return PyAVReader(video)


def open_scaled(
    path: InputFile | str,
    region: "Region",
    *,
    surveyed: bool | None = None,
    reader: Backend = "auto",
    index: "VideoIndex | None" = None,
) -> ScaledReader:
    """Open a video file for reading only a region of interest of its frames, at the region's size.

    Args:
        path: The video.
        region: The region of interest, and the size (height, width) in pixels to which it is scaled.
        surveyed: See `index_video`.
        reader: The reader. "auto" is PyAV, which scales frames before they are converted to RGB; this is much cheaper
            than scaling whole RGB frames, as is done with those of decord and OpenCV.
        index: The index of the file, for PyAV only: the file is not searched again, and reading of a range begins near
            its start. None: it is made now.

    Returns:
        A reader of frames uint8 [T, height, width, 3].

    Raises:
        VideoError: As for `open_video`; also where decord or OpenCV would read the video differently from PyAV.
        InputError: The video is smaller than the region of interest.
        ValueError: There is no such reader.
    """
    if index is not None:
        from pipeline.video.readers.jumping import JumpingReader

        return JumpingReader(index, region)
    from pipeline.video.survey import index_video

    video = index_video(_as_file(path), surveyed=surveyed)
    name = scaling_reader(reader)
    try:
        region.crop_box(width=video.properties.width, height=video.properties.height)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if region.follow_motion:
        from pipeline.video.readers.following import FollowingReader

        return FollowingReader(partial(_open_part, video, name), video, region)
    return _open_part(video, name, region)


def _open_part(video: "VideoIndex", name: ReaderName, region: "Region") -> ScaledReader:
    if name == "pyav":
        from pipeline.video.readers.pyav import PyAVReader

        return PyAVReader(video, region)
    if name == "nvdec":
        from pipeline.video.readers.nvdec import open_nvdec

        return open_nvdec(video, region)
    from pipeline.video.readers.scaled import RescaledReader

    return RescaledReader(_open_whole(video, name), name, region)
