"""The interface of the readers of videos, and the types of their results.

A reader returns every frame of a video once, in presentation order, as RGB, rotated as a player shows it. Frames are
numbered 0..num_frames-1, and `pts_seconds` is the presentation time that the file gives the frame: it need not start
at 0 and need not grow evenly. A reader that cannot keep this promise for a file raises `VideoError`.

Shapes: T frames, H x W pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, Self, get_args

import numpy as np

from pipeline.errors import InputError
from pipeline.files import VIDEO_SUFFIXES as VIDEO_SUFFIXES
from pipeline.files import InputFile

if TYPE_CHECKING:
    from pipeline.video.region import Region

ReaderName = Literal["pyav", "decord", "opencv", "nvdec"]
Backend = Literal["auto", ReaderName]

# The scaling of PyAV's frames, for the fingerprints of data that is computed from them.
SCALING = "swscale bilinear, full chroma"


def scaling_reader(reader: Backend) -> ReaderName:
    """Return the reader of `open_scaled`: for "auto" PyAV, which scales frames before they are converted to RGB.

    Raises:
        ValueError: There is no such reader.
    """
    if reader not in get_args(Backend):
        raise ValueError(f"reader must be one of {', '.join(get_args(Backend))}, got {reader!r}")
    return "pyav" if reader == "auto" else reader


def scaling_of(reader: Backend) -> str:
    """Describe how `open_scaled` decodes and scales with a reader, for fingerprints of data computed from frames."""
    name = scaling_reader(reader)
    if name == "nvdec":
        return "bilinear from NV12 on a GPU"
    return SCALING if name == "pyav" else f"{SCALING}, of whole RGB frames by {name}"


def reads_in_part(name: ReaderName) -> bool:
    """Return whether a damaged video can be read in part: by PyAV, to which also nvdec leaves such videos."""
    return name in ("pyav", "nvdec")


class VideoError(InputError):
    """A file is not a readable video, or a reader cannot read it correctly."""


class FrameBatch(NamedTuple):
    """Frames of one video, in order.

    Attributes:
        pixels: uint8 [T, H, W, 3], RGB.
        index: int64 [T], the position of each frame in the video, from 0.
        pts_seconds: float64 [T], the presentation time of each frame.
    """

    pixels: np.ndarray
    index: np.ndarray  # type: ignore[assignment]  # it hides tuple.index
    pts_seconds: np.ndarray


@dataclass(frozen=True)
class VideoProperties:
    """The properties of a video that are known before its frames are decoded.

    Attributes:
        path: The file.
        num_frames: The number of frames.
        frame_rate: In frames per second; the last frame stands for one frame of this rate. It is the average, or where
            the usual step between frames is another, what the duration of the last frame says.
        width: In pixels, as a player shows the video: after rotation.
        height: In pixels, as a player shows the video: after rotation.
        declared_frames: The number of frames in the header of the file; None where it has none.
        variable_frame_rate: Whether the steps between frames differ.
        rotation_degrees: The rotation by a player, counterclockwise, rounded to 0, 90, 180 or 270. Where the file also
            states that the picture is mirrored, it is turned upside down as in a mirror before.
    """

    path: InputFile
    num_frames: int
    frame_rate: Fraction
    width: int
    height: int
    declared_frames: int | None
    variable_frame_rate: bool
    rotation_degrees: int


@dataclass(frozen=True)
class DecodeReport:
    """A report on the decoding of a video.

    Attributes:
        declared_frames: The number of frames in the header of the file; None where it has none.
        decoded_frames: The number of frames that were decoded without an error.
        failed_frames: The number of frames in the file that could not be decoded.
        substituted_frames: The number of failed frames that the previous frame replaces, so that the others keep their
            positions.
        variable_frame_rate: See `VideoProperties`.
        rotation_degrees: See `VideoProperties`.
        sizes: The sizes of the frames as a player shows them, such as "640x360"; several if the size changes.
        problems: What is wrong with the file, in words that follow its name.
        reader: The reader that decoded it. Reports that were written before there was a choice do not name it.
        notes: What is unusual about the file without harm to a frame that has a label, in words that follow its name.
            Older reports have none.
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
    notes: tuple[str, ...] = ()

    @classmethod
    def of_unreadable(cls, problem: str, reader: ReaderName = "pyav") -> "DecodeReport":
        """Make the report on a file of which not a single frame can be decoded, or which the reader refuses.

        Args:
            problem: What is wrong with the file, in words that follow its name.
            reader: The reader that would have decoded it.
        """
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
    """Not all frames of a video can be read.

    Args:
        message: What is wrong, with the file.
        report: The report on its decoding, kept as the attribute `report`.
    """

    def __init__(self, message: str, report: DecodeReport) -> None:
        super().__init__(message)
        self.report = report


class VideoReader(Protocol):
    """An open video. Use it in a `with` statement, or call `close`."""

    @property
    def properties(self) -> VideoProperties:
        """The properties of the video."""
        ...

    def read(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        batch_size: int = 32,
        positions: np.ndarray | None = None,
    ) -> Iterator[FrameBatch]:
        """Yield the frames [start, stop) in batches, or only some of them.

        Every range gives the same pixels as a read of the whole video. A reader has one position: do not read two
        ranges of it at the same time.

        Args:
            start: The first frame.
            stop: The frame after the last one; None for the end of the video.
            batch_size: The number of frames of a batch; the last batch may be shorter.
            positions: int64 [n], n > 0, ascending, the frames of the range that are yielded. The others are decoded,
                so that damage is noticed, but neither scaled nor converted to RGB where the decoder can do without.
                None: all frames of the range.

        Raises:
            ValueError: The range does not lie within the video, or batch_size < 1.
            VideoError: A frame cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Free the decoder; the reader cannot be used afterwards."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ScaledReader(VideoReader, Protocol):
    """An open video of whose frames only a region of interest is read, at the region's size."""

    @property
    def index(self) -> "VideoIndex":
        """The index by which it was opened, so that another reader of the file need not search for its frames again."""
        ...

    def report(self) -> DecodeReport:
        """Return the report on the decoding; call it after all frames were read."""
        ...


class OpenScaled(Protocol):
    """`open_scaled`, or a function that does the same elsewhere."""

    def __call__(
        self,
        path: InputFile | str,
        region: "Region",
        *,
        surveyed: bool | None = None,
        reader: Backend = "auto",
        index: "VideoIndex | None" = None,
    ) -> ScaledReader:
        """See `open_scaled`."""
        ...


def check_range(properties: VideoProperties, start: int, stop: int | None, batch_size: int) -> int:
    """Check the arguments of `VideoReader.read`.

    Args:
        properties: The properties of the video.
        start: The first frame.
        stop: The frame after the last one; None for the end of the video.
        batch_size: The number of frames of a batch.

    Returns:
        The frame after the last one.

    Raises:
        ValueError: [start, stop) does not lie within the video, or batch_size < 1.
    """
    num_frames = properties.num_frames
    stop = num_frames if stop is None else stop
    if not 0 <= start <= stop <= num_frames:
        raise ValueError(f"frames [{start}, {stop}) do not lie within the {num_frames} frames of {properties.path}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    return stop


class Picture(NamedTuple):
    """How the first frame of a video is stored, which decides whether a decoder other than PyAV shows it correctly.

    Attributes:
        pixel_format: FFmpeg's name, such as "yuv420p".
        is_interlaced: Whether it consists of two fields, which show two moments.
        color_transfer: A number of ITU-T H.273; 16 and 18 are those of high dynamic range.
        is_upright: Whether a player turns it by a multiple of 90 degrees or not at all, and does not mirror it.
    """

    pixel_format: str
    is_interlaced: bool
    color_transfer: int
    is_upright: bool = True


@dataclass(frozen=True)
class VideoIndex:
    """The frames of a video before they are decoded: from its packets or, if it was surveyed, from a full decode.

    Attributes:
        properties: The properties of the video.
        pts_seconds: float64 [T], ascending, the presentation time of each frame.
        container: FFmpeg's name of the format, such as "matroska,webm".
        picture: How the first frame is stored.
        is_lost: bool [T], the frames that cannot be decoded; None where the video was not surveyed.
        num_failed: The number of frames that cannot be decoded, including those that are not in the index.
        problems: What is wrong with the file, in words that follow its name.
        notes: See `DecodeReport`.
    """

    properties: VideoProperties
    pts_seconds: np.ndarray
    container: str
    picture: Picture
    is_lost: np.ndarray | None = None
    num_failed: int = 0
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
