"""The index of a video file from its packets: how many frames it has, and the time of each.

Only the first frame is decoded, so this takes milliseconds where decoding the whole video takes minutes. Every packet
of the video stream counts as one frame; the readers compare that with what they decode, and refuse a file where it does
not hold.
"""

from array import array
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np

from pipeline.files import InputFile
from pipeline.video.containers.errors import Structure
from pipeline.video.containers.registry import check_structure
from pipeline.video.ffmpeg import (
    DURATION_TOLERANCE_SECONDS,
    SKIPPING_DEMUXERS,
    check_is_file,
    demux,
    duration_seconds,
    naming_errors,
    open_file,
    packet_end_seconds,
    video_stream,
)
from pipeline.video.orientation import orientation_of
from pipeline.video.side_messages import SideMessages
from pipeline.video.types import Picture, VideoError, VideoIndex, VideoProperties

# In avi the times of frames that were packed together are exchanged, by at most as many places as H.264 may reorder.
MAX_EXCHANGED = 16

# A video is called variable if its steps between frames differ by more than this part of the usual step. Containers
# round times (Matroska to 1 ms), so steps of a constant rate differ too.
STEP_TOLERANCE = 0.1


MAX_CLOCK = 90_000  # ticks per second, in which the usual durations of frames are whole


class _Packets(NamedTuple):
    """All that is kept of the packets of the video stream: the packets themselves would keep the file in memory.

    Attributes:
        num_packets: The number of packets.
        num_corrupt: The number of those that are damaged.
        num_early: The number of those before the first key frame; 0 where there is no key frame.
        num_misplaced: The number of further packets that are not shown, since their times are after the end.
        ticks: The presentation times, in decoding order, of the packets that have one, in units of the time base.
        end_seconds: The time at which the last packet of any stream ends.
        last_seconds: How long the frame that is shown last stands; 0 where its packet does not say.
        notes: What does not fit together, but concerns no frame.
    """

    num_packets: int
    num_corrupt: int
    num_early: int
    num_misplaced: int
    ticks: "array[int]"
    end_seconds: float
    last_seconds: float
    notes: tuple[str, ...]


class CutOff:
    """Follows the packets that an edit list cuts off from a video, which are decoded but not shown.

    Those that it cuts off at the end are the last ones of the file, but for reordering. Others whose times are after
    the end have damaged times.
    """

    def __init__(self) -> None:
        self._num_shown = 0
        self._last: int | None = None  # the time of the packet that is shown last, in ticks
        self._cut: list[tuple[int, int]] = []  # the time of each packet that is cut off, and the number shown before it

    def note(self, packet: av.Packet) -> None:
        """Record a packet of the video stream."""
        if packet.pts is None:
            return
        if packet.is_discard:
            self._cut.append((packet.pts, self._num_shown))
        else:
            self._num_shown += 1
            self._last = packet.pts if self._last is None else max(self._last, packet.pts)

    def num_misplaced(self) -> int:
        """Return the number of packets with damaged times, after the last packet was recorded."""
        return sum(
            self._last is not None and ticks > self._last and self._num_shown - num_before > MAX_EXCHANGED
            for ticks, num_before in self._cut
        )


def probe_video(path: InputFile) -> VideoIndex:
    """Index a video file by its packets.

    Raises:
        VideoError: The file is missing, not a video or damaged, or its packets do not give the time of every frame.
    """
    check_is_file(path)
    structure = check_structure(path)
    if structure.damage:
        raise VideoError(f"{path}: {structure.damage}")
    with naming_errors(path):
        with open_file(path) as container:
            first = next(container.decode(video_stream(path, container)), None)
        if first is None:
            raise VideoError(f"{path}: no frame can be decoded; the file has no frames or is damaged")
        with open_file(path) as container:
            index = _index(path, container, first, structure)
            return replace(index, notes=(*structure.notes, *index.notes))


def estimate_num_frames(path: InputFile) -> int:
    """Estimate the number of frames of a video from its header; 0 where the header has none or cannot be read."""
    try:
        check_is_file(path)
        with open_file(path) as container:
            stream = video_stream(path, container)
            seconds = (container.duration or 0) / av.time_base
            return stream.frames or round(seconds * float(stream.average_rate or 0))
    except (av.FFmpegError, OSError, VideoError):
        return 0


def _index(
    path: InputFile, container: av.container.InputContainer, first: av.VideoFrame, structure: Structure
) -> VideoIndex:
    stream = video_stream(path, container)
    packets = _video_packets(container, stream)
    num_packets, end_seconds = packets.num_packets, packets.end_seconds
    if not num_packets:
        raise VideoError(f"{path}: holds a video stream but no frames")
    if packets.num_corrupt:
        raise VideoError(f"{path}: {packets.num_corrupt} of {num_packets} frames are damaged or cut short")
    if missing := structure.missing(stream.index, num_packets):
        raise VideoError(f"{path}: {missing}")
    if packets.num_misplaced:
        raise VideoError(
            f"{path}: is damaged, {packets.num_misplaced} of {num_packets + packets.num_misplaced} frames are to be"
            " shown after its end"
        )
    if packets.num_early:
        raise VideoError(f"{path}: {packets.num_early} of {num_packets} frames are before the first key frame")
    declared_seconds = (container.duration or 0) / av.time_base
    if container.format.name in SKIPPING_DEMUXERS and declared_seconds - end_seconds > DURATION_TOLERANCE_SECONDS:
        raise VideoError(f"{path}: is damaged, {end_seconds:.1f} of {declared_seconds:.1f} seconds can be found")
    ticks = np.unique(packets.ticks)
    if len(ticks) < num_packets:
        raise VideoError(f"{path}: does not say for every frame when it is shown; copy it into an mp4 or mkv file")
    # Exact integers times the time base, rounded once: the same doubles as PyAV's frame.time.
    numerator, denominator = stream.time_base.numerator, stream.time_base.denominator
    pts_seconds = np.fromiter((int(tick) * numerator / denominator for tick in ticks), np.float64, len(ticks))
    properties = describe_frames(path, stream, pts_seconds, first, last_seconds=packets.last_seconds)
    return VideoIndex(properties, pts_seconds, container.format.name, describe_picture(first), notes=packets.notes)


def describe_frames(
    path: InputFile, stream: av.VideoStream, pts_seconds: np.ndarray, first: av.VideoFrame, *, last_seconds: float
) -> VideoProperties:
    """Describe a video.

    Args:
        path: The file.
        stream: The video stream.
        pts_seconds: float64 [T], ascending, the presentation time of each frame.
        first: The first frame, decoded: only a decoded frame has the rotation.
        last_seconds: How long the last frame stands, by its packet; 0 where that does not say.
    """
    orientation = orientation_of(first)
    width, height = orientation.shown(first.width, first.height)
    steps = np.diff(pts_seconds)
    return VideoProperties(
        path=path,
        num_frames=len(pts_seconds),
        frame_rate=_frame_rate(stream, pts_seconds, last_seconds),
        width=width,
        height=height,
        declared_frames=stream.frames or None,
        variable_frame_rate=bool(len(steps)) and bool(np.ptp(steps) > STEP_TOLERANCE * np.median(steps)),
        rotation_degrees=orientation.rotation_degrees,
    )


def describe_picture(first: av.VideoFrame) -> Picture:
    """Describe how the first frame, decoded, is stored."""
    orientation = orientation_of(first)
    is_upright = orientation.is_exact and not orientation.is_mirrored
    return Picture(first.format.name, bool(first.interlaced_frame), int(first.color_trc), is_upright)


def _video_packets(container: av.container.InputContainer, stream: av.VideoStream) -> _Packets:
    num_packets, num_corrupt = 0, 0
    first_key: int | None = None
    ticks = array("q")
    end_seconds, last_seconds = 0.0, 0.0
    last_tick: int | None = None
    messages, cut_off = SideMessages(stream), CutOff()
    for packet in demux(container):
        end_seconds = max(end_seconds, packet_end_seconds(packet))
        if packet.stream.index != stream.index or not packet.size:  # the packet without size ends the stream
            continue
        cut_off.note(packet)
        if packet.is_keyframe and first_key is None:  # or one that an edit list cuts off: later frames refer to it
            first_key = num_packets
        if packet.is_discard:  # decoded but not shown
            continue
        num_packets += 1
        num_corrupt += packet.is_corrupt
        messages.fill(packet)
        if packet.pts is not None:
            ticks.append(packet.pts)
            if last_tick is None or packet.pts > last_tick:
                last_tick, last_seconds = packet.pts, duration_seconds(packet)
    num_misplaced = cut_off.num_misplaced()
    return _Packets(
        num_packets, num_corrupt, first_key or 0, num_misplaced, ticks, end_seconds, last_seconds, messages.notes
    )


def _frame_rate(stream: av.VideoStream, pts_seconds: np.ndarray, last_seconds: float) -> Fraction:
    """Return the average frame rate or, where the usual step between frames is another, that of the last frame.

    After a pause of an hour the average says little, and some formats state the rate of their clock.
    """
    rate = stream.average_rate or stream.guessed_rate
    step = float(np.median(np.diff(pts_seconds))) if len(pts_seconds) > 1 else last_seconds
    if rate and (step <= 0 or abs(1 / rate - step) <= STEP_TOLERANCE * step):
        return Fraction(rate)
    seconds = Fraction(last_seconds if last_seconds > 0 else step).limit_denominator(MAX_CLOCK)
    return 1 / seconds if seconds > 0 else Fraction(rate or 1)
