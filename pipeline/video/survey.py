"""The index of a video whose packets are not enough, found by decoding the whole video.

A survey takes as long as decoding, so only files that cannot be read as their packets describe them are surveyed. These
are damaged files, and whole files where a packet is not always a frame or has no time, or where the times restart
because several files were joined byte by byte. In a joined file each part follows the previous one, as in players.
"""

import heapq
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from pipeline.video.containers.registry import check_structure
from pipeline.video.ffmpeg import (
    DECODING_ERRORS,
    check_is_file,
    decode_strictly,
    demux,
    naming_errors,
    open_file,
    video_stream,
)
from pipeline.video.index import MAX_EXCHANGED, describe_frames, describe_picture, probe_video
from pipeline.video.types import VideoError, VideoIndex


class _Decoded:
    """The observations of one pass through a file."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.times: list[float | None] = []  # of the whole frames, in the order of the decoder
        self.packet_seconds: list[float] = []
        self.num_packets = 0
        self.num_errors = 0
        self.is_joined = False  # from several videos, each with its own times
        self.first: av.VideoFrame | None = None


def index_video(path: Path, *, surveyed: bool | None = None) -> VideoIndex:
    """Index a video by its packets or by decoding it.

    Args:
        path: The video.
        surveyed: Whether to decode the video instead of reading its packets. None: the packets are read, and where they
            are not enough, the video is decoded if it is whole.

    Raises:
        VideoError: The file is damaged; with `surveyed`, only if not a single frame can be decoded.
    """
    if surveyed:
        return survey_video(path)
    try:
        return probe_video(path)
    except VideoError:
        if surveyed is not None or not path.is_file():
            raise
        with suppress(VideoError):
            index = survey_video(path)
            if not index.problems:
                return index
        raise


def survey_video(path: Path) -> VideoIndex:
    """Index a video by decoding it.

    Returns:
        The index of the whole frames and, between them, of the frames that cannot be decoded, marked as lost. Lost
        frames before the first whole frame and after the last one are counted, but are not in the index. `problems`
        lists what is wrong with the file; without any, it is whole.

    Raises:
        VideoError: Not a single frame can be decoded, or the file does not give the times of its frames.
    """
    check_is_file(path)
    seen = _Decoded()
    damage, notes = check_structure(path)
    seen.problems += [damage] if damage else []
    seen.notes += notes
    with naming_errors(path), open_file(path) as container:
        stream = video_stream(path, container)
        for frame in whole_frames(container, stream, seen):
            seen.first = seen.first or frame
            seen.times.append(frame.time)
        if seen.first is None:
            raise VideoError(f"{path}: no frame can be decoded; the file has no frames or is damaged")
        return _index(path, container, stream, seen.first, seen)


def whole_frames(
    container: av.container.InputContainer, stream: av.VideoStream, seen: _Decoded | None = None
) -> Iterator[av.VideoFrame]:
    """Yield the frames that can be decoded without an error, in the decoder's order.

    The rest is skipped. Two passes through a file yield the same frames.

    Args:
        container: The open file, at its start.
        stream: Its video stream.
        seen: The errors and packets are recorded in it; None records nothing.
    """
    seen = seen or _Decoded()
    decode_strictly(stream, frame_threads=False)
    packets = demux(container, stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            seen.problems.append(f"cannot be read on after {len(seen.times)} frames ({error.strerror})")
            return
        if packet is None:
            return
        _note_packet(packet, seen)
        try:
            frames = packet.decode()
        except DECODING_ERRORS:
            seen.num_errors += 1
            continue
        for frame in frames:
            if frame.is_corrupt:
                seen.num_errors += 1
            else:
                yield frame


def _note_packet(packet: av.Packet, seen: _Decoded) -> None:
    if not packet.size or packet.is_discard:
        return
    seen.num_packets += 1
    if packet.is_corrupt:
        seen.num_errors += 1
    if packet.pts is not None and packet.time_base is not None:
        seen.packet_seconds.append(float(packet.pts * packet.time_base))


def _index(
    path: Path,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    first: av.VideoFrame,
    seen: _Decoded,
) -> VideoIndex:
    times = _times(path, stream, seen)
    lost, num_failed = np.empty(0), 0
    if seen.num_errors or seen.problems:  # in a whole file, packets without a frame do not matter
        lost = np.empty(0) if seen.is_joined else _lost_seconds(times, seen)
        num_failed = max(len(lost), seen.num_packets - len(times))
    if seen.num_errors:
        seen.problems.append(
            f"{num_failed} of {len(times) + num_failed} frames cannot be decoded; the file is damaged"
            if num_failed
            else "is damaged, or joined from several, though every frame can be decoded"
        )
    all_times = np.concatenate([times, lost])
    order = np.argsort(all_times, kind="stable")
    return VideoIndex(
        describe_frames(path, stream, all_times[order], first),
        all_times[order],
        container.format.name,
        describe_picture(first),
        is_lost=order >= len(times),
        num_failed=num_failed,
        problems=tuple(seen.problems),
        notes=tuple(seen.notes),
    )


def _times(path: Path, stream: av.VideoStream, seen: _Decoded) -> np.ndarray:
    """Return the times of the whole frames, ascending.

    The decoder gives frames in the order of presentation, also where a container exchanges the times of frames that it
    packed together. A bare stream, which has no times at all, is played at its frame rate.
    """
    if all(seconds is None for seconds in seen.times):
        rate = stream.average_rate or stream.guessed_rate
        if rate is None:
            raise VideoError(f"{path}: says neither when its frames are shown nor how many a second")
        return np.arange(len(seen.times)) / float(rate)
    if None in seen.times:
        raise VideoError(f"{path}: does not say for every frame when it is shown; copy it into an mp4 or mkv file")
    times = np.array(seen.times, dtype=np.float64)
    starts = _restarts(times)
    step = np.median(np.diff(np.unique(times))) if starts else 0.0
    for start, stop in pairwise([*starts, len(times)]):
        times[start:stop] += times[:start].max() + step - times[start:stop].min()
    seen.is_joined = bool(starts)
    order = np.argsort(times, kind="stable")
    moved = np.abs(order - np.arange(len(order))) > MAX_EXCHANGED
    if moved.any():
        seen.problems.append(
            f"the times of its frames, from frame {moved.argmax()} on, are not in order; it is damaged"
        )
    return times[order]


def _restarts(times: np.ndarray) -> list[int]:
    """Find where times in the decoder's order restart.

    There the times go back by more places than a container may exchange. So do the times of the next frames; otherwise
    a single time is damaged.
    """
    starts = []
    latest: list[float] = []  # the latest times since the last start, as a heap
    for index, seconds in enumerate(times.tolist()):
        if len(latest) > MAX_EXCHANGED and max(times[index : index + 3]) < latest[0]:
            starts.append(index)
            latest = []
        heapq.heappush(latest, seconds)
        if len(latest) > MAX_EXCHANGED + 1:
            heapq.heappop(latest)
    return starts


def _lost_seconds(times: np.ndarray, seen: _Decoded) -> np.ndarray:
    """Return the times of the packets without a frame between the first and the last whole frame."""
    lost = np.setdiff1d(np.array(seen.packet_seconds), times)
    return lost[(lost > times[0]) & (lost < times[-1])]
