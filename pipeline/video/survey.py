"""The index of a video whose packets are not enough, found by decoding the whole video.

A survey takes as long as decoding, so only files that cannot be read as their packets describe them are surveyed. These
are damaged files, and whole files where a packet is not always a frame or has no time, or where the times restart
because several files were joined byte by byte. In a joined file each part follows the previous one, as in players.
"""

import heapq
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import av
import numpy as np
from av.video.frame import PictureType

from pipeline.files import InputFile
from pipeline.video.containers.registry import check_structure
from pipeline.video.ffmpeg import (
    DECODING_ERRORS,
    StrictDecoder,
    check_is_file,
    demux,
    duration_seconds,
    naming_errors,
    open_file,
    video_stream,
)
from pipeline.video.index import (
    MAX_EXCHANGED,
    CutOff,
    describe_frames,
    describe_picture,
    probe_video,
)
from pipeline.video.side_messages import SideMessages
from pipeline.video.types import VideoError, VideoIndex

# The decoders of these codecs show frames before the first key frame, though these consist of changes alone.
SHOWING_CHANGES = frozenset(
    {"flv", "h263", "h263i", "h263p", "mpeg4", "msmpeg4", "msmpeg4v1", "msmpeg4v2", "rv10", "rv20", "wmv1", "wmv2"}
)
# Of these codecs, each packet is a frame that is shown. Others have packets for a field, or for a picture that is shown
# later, or never.
ONE_FRAME_PER_PACKET = frozenset({"av1", "hevc"})


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
        self.messages: SideMessages | None = None
        self.first: av.VideoFrame | None = None
        self.last_seconds = 0.0  # how long the latest whole frame stands; 0 where it does not say
        self._num_before_key: int | None = None  # packets before the first key frame; None before that
        self._key_seconds: float | None = None  # the time of that frame
        self._num_early_errors = 0  # of packets before that frame
        self._has_reference = False  # whether later frames can refer to one that was whole
        self._num_packets_at_first = 0  # when the first whole frame came
        self._cut_off = CutOff()

    def note_packet(self, packet: av.Packet) -> None:
        """Record a packet of the video stream before it is decoded."""
        if not packet.size:
            return
        self._cut_off.note(packet)
        seconds = _packet_seconds(packet)
        if packet.is_keyframe and self._num_before_key is None:  # or one that is cut off: later frames refer to it
            self._num_before_key, self._key_seconds = self.num_packets, seconds
        if packet.is_discard:
            return
        self.num_packets += 1
        if seconds is not None:
            self.packet_seconds.append(seconds)
        if packet.is_corrupt:
            self.note_error(packet)

    def note_error(self, packet: av.Packet, *, only_lacks_references: bool = False) -> None:
        """Record that a packet cannot be decoded, which does not matter where frames before a key frame lack others."""
        seconds = _packet_seconds(packet)
        is_before = seconds is not None and self._key_seconds is not None and seconds < self._key_seconds
        if only_lacks_references and (self._num_before_key is None or is_before):
            self._num_early_errors += 1
        else:
            self.num_errors += 1

    def lacks_reference(self, frame: av.VideoFrame, codec: str) -> bool:
        """Tell whether a frame was decoded from changes alone: some decoders show such frames, grey or smeared."""
        if not self._has_reference:
            self._has_reference = self._num_before_key == 0 or frame.pict_type == PictureType.I
        return codec in SHOWING_CHANGES and not self._has_reference

    def note_frame(self, frame: av.VideoFrame) -> None:
        """Record a whole frame."""
        if self.first is None:
            self.first, self._num_packets_at_first = frame, self.num_packets
        self.times.append(frame.time)
        self.last_seconds = duration_seconds(frame)

    def finish(self) -> None:
        """Conclude, after the last packet, what was found: without any key frame, the first errors do matter."""
        if self._num_before_key is None:
            self.num_errors += self._num_early_errors
        num_misplaced = self._cut_off.num_misplaced()
        self.num_packets += num_misplaced
        self.num_errors += num_misplaced

    def num_before(self, first_seconds: float) -> int:
        """Return the number of packets that gave no frame as they are before the first key frame, or refer to such.

        Args:
            first_seconds: The time of the first whole frame.
        """
        if not self.packet_seconds:  # of a bare stream
            return self._num_before_key or 0
        first_packets = self.packet_seconds[: self._num_packets_at_first + MAX_EXCHANGED]
        return sum(seconds < first_seconds for seconds in first_packets)


def index_video(path: InputFile, *, surveyed: bool | None = None) -> VideoIndex:
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


def survey_video(path: InputFile) -> VideoIndex:
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
    structure = check_structure(path)
    seen.problems += [structure.damage] if structure.damage else []
    seen.notes += structure.notes
    with naming_errors(path), open_file(path) as container:
        stream = video_stream(path, container)
        for _ in whole_frames(container, stream, seen):
            pass
        seen.finish()
        missing = structure.missing(stream.index, seen.num_packets)
        seen.problems += [missing] if missing else []
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
        seen: The frames, errors and packets are recorded in it; None for a caller that does not need them.
    """
    seen = seen or _Decoded()
    messages = seen.messages = SideMessages(stream)
    decoder = StrictDecoder(stream, frame_threads=False)
    lenient = _lenient_decoder(stream)
    packets = demux(container, stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            seen.problems.append(f"cannot be read on after {len(seen.times)} frames ({error.strerror})")
            return
        if packet is None:
            return
        messages.fill(packet)
        seen.note_packet(packet)
        is_acceptable = seen.first is None and _is_acceptable(lenient, packet)
        try:
            frames = decoder.decode(packet)
        except DECODING_ERRORS:
            seen.note_error(packet, only_lacks_references=is_acceptable)
            continue
        for frame in frames:
            if frame.is_corrupt:
                seen.note_error(packet)
            elif not seen.lacks_reference(frame, stream.codec_context.name):
                seen.note_frame(frame)
                yield frame


def _lenient_decoder(stream: av.VideoStream) -> av.VideoCodecContext:
    """Return another decoder for a stream, which does not mind what a frame refers to being absent."""
    context = stream.codec_context
    lenient = av.VideoCodecContext.create(context.name, "r")
    lenient.extradata = context.extradata
    lenient.thread_count = 1
    return lenient


def _is_acceptable(lenient: av.VideoCodecContext, packet: av.Packet) -> bool:
    try:
        lenient.decode(packet)
    except DECODING_ERRORS:
        return False
    return True


def _packet_seconds(packet: av.Packet) -> float | None:
    return None if packet.pts is None or packet.time_base is None else float(packet.pts * packet.time_base)


def _index(
    path: InputFile,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    first: av.VideoFrame,
    seen: _Decoded,
) -> VideoIndex:
    times = _times(path, stream, seen)
    lost, num_failed = np.empty(0), seen.num_before(float(times[0]))
    if num_failed:
        seen.notes.append(
            f"{num_failed} frames before its first key frame cannot be decoded: it was cut from the middle of a video"
        )
    seen.notes += seen.messages.notes if seen.messages else ()
    if stream.codec.canonical_name in ONE_FRAME_PER_PACKET:
        seen.num_errors += max(0, seen.num_packets - len(times) - num_failed - seen.num_errors)
    if seen.num_errors or seen.problems:  # otherwise packets without a frame do not matter
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
        describe_frames(path, stream, all_times[order], first, last_seconds=seen.last_seconds),
        all_times[order],
        container.format.name,
        describe_picture(first),
        is_lost=order >= len(times),
        num_failed=num_failed,
        problems=tuple(seen.problems),
        notes=tuple(seen.notes),
    )


def _times(path: InputFile, stream: av.VideoStream, seen: _Decoded) -> np.ndarray:
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
