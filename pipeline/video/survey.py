"""What can be decoded of a video whose packets do not say it, found by decoding all of it.

It takes as long as decoding does, so only those files are surveyed that could not be read as their packets promise:
damaged ones, and whole ones where a packet is not always a frame, has no time, or where times begin anew, since several
files were joined byte by byte: there each part is shown after the one before, as players do it.
"""

import heapq
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from pipeline.video.containers.registry import describe_damage
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
    """What is seen on the way through a file."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.times: list[float | None] = []  # of the whole frames, as they come out of the decoder
        self.packet_seconds: list[float] = []
        self.num_packets = 0
        self.num_errors = 0
        self.is_joined = False  # of several videos, each with times of its own
        self.first: av.VideoFrame | None = None


def index_video(path: Path, *, surveyed: bool | None = None) -> VideoIndex:
    """The frames of a video by its packets or, `surveyed`, by decoding it. None: by its packets, and where they do not
    tell, by decoding it if it is whole.

    Raises VideoError where the file is damaged; surveyed, only where not one frame can be decoded.
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
    """Index a video by decoding it: its whole frames, and between them those that cannot be decoded, as lost.

    Its `problems` say what is wrong with the file; without any, it is whole. Lost frames before the first and after the
    last whole one are counted, and not in the index.

    Raises VideoError where not one frame can be decoded.
    """
    check_is_file(path)
    seen = _Decoded()
    if damage := describe_damage(path):
        seen.problems.append(damage)
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
    """The frames that come out of the decoder without an error, in its order; what fails is passed over and noted.

    The same ones each time.
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
    if seen.num_errors or seen.problems:  # of a whole file, packets without a frame show nothing
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
    )


def _times(path: Path, stream: av.VideoStream, seen: _Decoded) -> np.ndarray:
    """Of the whole frames, ascending: as they come out of the decoder they are in the order in which they are shown,
    also where a container exchanges the times of frames that it packed together. A bare stream, which has no times at
    all, is shown at its frame rate."""
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
    """Where times in the decoder's order begin anew: they go back by more places than a container may exchange, and
    those of the next frames too, or one of them is damaged."""
    starts = []
    latest: list[float] = []  # of the times since the last start, a heap
    for index, seconds in enumerate(times.tolist()):
        if len(latest) > MAX_EXCHANGED and max(times[index : index + 3]) < latest[0]:
            starts.append(index)
            latest = []
        heapq.heappush(latest, seconds)
        if len(latest) > MAX_EXCHANGED + 1:
            heapq.heappop(latest)
    return starts


def _lost_seconds(times: np.ndarray, seen: _Decoded) -> np.ndarray:
    """When packets between the first and the last whole frame are shown that gave no frame."""
    lost = np.setdiff1d(np.array(seen.packet_seconds), times)
    return lost[(lost > times[0]) & (lost < times[-1])]
