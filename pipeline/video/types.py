"""What every reader of videos promises, and the values that it gives.

A reader gives every frame of a video once, in presentation order, as RGB, turned the way a player shows it. Frames are
numbered 0..num_frames-1, and `pts_seconds` is the presentation time that the file gives the frame: it need not start
at 0 and need not grow evenly. A reader that cannot keep this promise for a file raises `VideoError`.

Shapes: T frames, H height, W width.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, Self, get_args

import numpy as np

from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.video.region import Region

ReaderName = Literal["pyav", "decord", "opencv"]
Backend = Literal["auto", ReaderName]

VIDEO_SUFFIXES = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".dv", ".f4v", ".flv", ".gif", ".h264", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov"}
    | {".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)


# How PyAV's frames are scaled, for the fingerprints of what is made from them.
SCALING = "swscale bilinear, full chroma"


def scaling_reader(reader: Backend) -> ReaderName:
    """The reader that `open_scaled` takes: for `auto` PyAV, which scales frames before they are converted to RGB."""
    if reader not in get_args(Backend):
        raise ValueError(f"reader must be one of {', '.join(get_args(Backend))}, got {reader!r}")
    return "pyav" if reader == "auto" else reader


def scaling_of(reader: Backend) -> str:
    """How `open_scaled` decodes and scales by this reader, for the fingerprints of what is made from its frames."""
    name = scaling_reader(reader)
    return SCALING if name == "pyav" else f"{SCALING}, of whole RGB frames by {name}"


class VideoError(InputError):
    """A file that is not a readable video, or that a reader cannot read truthfully."""


class FrameBatch(NamedTuple):
    """Consecutive frames of one video."""

    pixels: np.ndarray  # uint8 [T, H, W, 3], RGB
    index: np.ndarray  # type: ignore[assignment]  # int64 [T], position in the video from 0; hides tuple.index
    pts_seconds: np.ndarray  # float64 [T], presentation time


@dataclass(frozen=True)
class VideoProperties:
    """What is known of a video before its frames are decoded."""

    path: Path
    num_frames: int
    frame_rate: Fraction  # average, frames a second
    width: int  # as shown: after rotation
    height: int
    declared_frames: int | None  # what the file's header says, None where it says nothing
    variable_frame_rate: bool
    rotation_degrees: int  # by which a player turns it, counterclockwise: 0, 90, 180 or 270


@dataclass(frozen=True)
class DecodeReport:
    """What became of the frames of a video.

    declared_frames     how many the file's header says, None where it says nothing
    decoded_frames      came out of the decoder whole
    failed_frames       are in the file, and did not
    substituted_frames  those of them in whose place the frame before was read, so that the others keep their places
    sizes               of the frames as shown, such as "640x360": more than one where the size changes
    problems            what is wrong with the file, in words that follow its name
    reader              what decoded it; reports from before there was a choice do not name it
    """

    declared_frames: int | None
    decoded_frames: int
    failed_frames: int
    substituted_frames: int
    variable_frame_rate: bool
    rotation_degrees: int
    sizes: tuple[str, ...]
    problems: tuple[str, ...]
    reader: ReaderName = "pyav"

    @classmethod
    def of_unreadable(cls, problem: str, reader: ReaderName = "pyav") -> "DecodeReport":
        """Of a file of which not one frame can be decoded, or which the reader refuses."""
        return cls(
            declared_frames=None,
            decoded_frames=0,
            failed_frames=0,
            substituted_frames=0,
            variable_frame_rate=False,
            rotation_degrees=0,
            sizes=(),
            problems=(problem,),
            reader=reader,
        )


class DamagedVideoError(VideoError):
    """A video of which not all frames can be read."""

    def __init__(self, message: str, report: DecodeReport) -> None:
        super().__init__(message)
        self.report = report


class VideoReader(Protocol):
    """An open video. Use it in a `with` statement, or call `close`."""

    @property
    def properties(self) -> VideoProperties: ...

    def read(self, start: int = 0, stop: int | None = None, *, batch_size: int = 32) -> Iterator[FrameBatch]:
        """Yield frames [start, stop) in batches of `batch_size`, the last one shorter; `stop=None` means to the end.

        Every range gives the same pixels as a read of the whole video. A reader has one position: do not read two
        ranges of it at the same time.

        Raises:
            ValueError: the range does not lie within the video, or batch_size < 1.
            VideoError: a frame cannot be decoded.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ScaledReader(VideoReader, Protocol):
    """An open video whose frames come as a region of interest, at its size."""

    @property
    def index(self) -> "VideoIndex":
        """What it was opened by: another reader of the file need not look for its frames again."""
        ...

    def report(self) -> DecodeReport:
        """What became of the frames; call it when all of them were read."""
        ...


class OpenScaled(Protocol):
    """`open_scaled`, or what does the same elsewhere."""

    def __call__(
        self, path: Path | str, region: "Region", *, surveyed: bool | None = None, reader: Backend = "auto"
    ) -> ScaledReader: ...


def check_range(properties: VideoProperties, start: int, stop: int | None, batch_size: int) -> int:
    """The frame to stop at. Raises ValueError where [start, stop) does not lie within the video."""
    num_frames = properties.num_frames
    stop = num_frames if stop is None else stop
    if not 0 <= start <= stop <= num_frames:
        raise ValueError(f"frames [{start}, {stop}) do not lie within the {num_frames} frames of {properties.path}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    return stop


class Picture(NamedTuple):
    """How the first frame of a video is stored, which decides whether another decoder than PyAV shows it as it is.

    pixel_format    FFmpeg's name, such as "yuv420p"
    is_interlaced   whether it is made of two fields, which show two moments
    color_transfer  a number of ITU-T H.273; 16 and 18 are those of high dynamic range
    """

    pixel_format: str
    is_interlaced: bool
    color_transfer: int


@dataclass(frozen=True)
class VideoIndex:
    """The frames of a video before they are decoded: as its packets promise them or, if it was surveyed, as they are.

    is_lost     bool [T]: the frames that cannot be decoded; None where the video was not surveyed
    num_failed  frames that cannot be decoded, also those that are not in the index
    problems    what is wrong with the file, in words that follow its name
    """

    properties: VideoProperties
    pts_seconds: np.ndarray  # float64 [T], ascending
    container: str  # FFmpeg's name of the format, such as "matroska,webm"
    picture: Picture
    is_lost: np.ndarray | None = None
    num_failed: int = 0
    problems: tuple[str, ...] = ()
