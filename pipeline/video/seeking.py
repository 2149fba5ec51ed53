"""Reading single frames in any order, exactly as the pipeline decodes them, for pages on which people look at them.

Seeking is not reliable in any decoder, so nothing is taken from a seek on trust. Decoding begins at a packet of which
the stream itself says that it may, and every frame that comes out must be the next one of the index by its exact time.
Where that does not hold, the frames are decoded from the start, as `PyAVReader` does.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator

import av
import numpy as np

from pipeline.video.entries import Entry, find_entry, is_unreferenced, may_jump, packet_seconds
from pipeline.video.ffmpeg import DECODING_ERRORS, StrictDecoder, naming_errors, open_file, video_stream
from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.region import Region
from pipeline.video.scaling import Scaler
from pipeline.video.types import VideoIndex
from pipeline.video.units import Units

NUM_KEPT = 16  # decoded frames, 3 MB each at 1080p, so that stepping back is instant
NUM_NEAR = 60  # frames further on that are decoded without a seek: a step of a second or two
MAX_FAILURES = 3  # after which seeks in a file are given up


class StoppedError(Exception):
    """The caller no longer wants the frame that it asked for."""


class _MissedError(Exception):
    """Something else came out of the decoder than the index says."""


class _Forward(PyAVReader):
    """Decodes the frames one after the other, without converting them."""

    @property
    def position(self) -> int:
        """The position of the next frame."""
        return self._position

    def next_picture(self) -> av.VideoFrame:
        """Return the frame at the position, or the previous one where it is lost.

        Raises:
            VideoError: It cannot be decoded.
        """
        if not self._is_lost():
            self._last_picture = self._advance()
        self._position += 1
        return self._last_picture


class _Jumps:
    """Decodes from key frames inside a file.

    Args:
        video: The index of the video.
    """

    def __init__(self, video: VideoIndex) -> None:
        path = video.properties.path
        self._video, self._times = video, video.pts_seconds
        with naming_errors(path):
            self._container = open_file(path)
        self._stream = video_stream(path, self._container)
        self._units = Units(self._stream)
        self._decoder = StrictDecoder(self._stream, frame_threads=True)
        self._frames: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._first_full = 0  # from this position on, no frame is left out
        self.position: int | None = None  # the next one, where it is known

    @property
    def are_possible(self) -> bool:
        """Whether the times of packets say which frame a seek has reached."""
        return may_jump(self._video, self._stream)

    def read_up_to(self, position: int, *, num_before: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield frames with their positions, ascending, up to and with the one at a position.

        Args:
            position: The last frame.
            num_before: The number of frames before it that are not left out, as far as they are still to come.

        Raises:
            _MissedError: A frame is missing, or is none of the index.
            DECODING_ERRORS: A frame cannot be decoded.
        """
        if self.position is None or not self.position <= position <= self.position + NUM_NEAR:
            self._seek(position)
        self._first_full = max(0, position - num_before)
        for found, frame in self._frames:
            self.position = found + 1
            if found > position:
                break
            yield found, frame
            if found == position:
                return
        raise _MissedError

    def close(self) -> None:
        """Free the decoder."""
        self._frames = iter(())
        self._container.close()

    def forget(self) -> None:
        """Forget the position, after an error."""
        self.position = None

    def _seek(self, position: int) -> None:
        self.position = None
        entry = find_entry(self._container, self._stream, self._units, float(self._times[position]))
        if entry is None:
            raise _MissedError
        self._decoder.restart()
        self._frames = self._decode(entry)
        self.position = int(np.searchsorted(self._times, entry.seconds))

    def _decode(self, entry: Entry) -> Iterator[tuple[int, av.VideoFrame]]:
        expected = int(np.searchsorted(self._times, entry.seconds))
        left_out = set[int]()

        def decode(packet: av.Packet) -> list[av.VideoFrame]:
            return [] if self._leaves_out(packet, left_out) else self._decoder.decode(packet)

        for frame in entry.decode(decode):
            found = None if frame.time is None else self._position_of(float(frame.time))
            if found is None or frame.is_corrupt or not left_out.issuperset(range(expected, found)):
                raise _MissedError
            left_out.difference_update(range(expected, found))
            if found < expected:
                raise _MissedError
            expected = found + 1
            yield found, frame

    def _leaves_out(self, packet: av.Packet, left_out: set[int]) -> bool:
        """Return whether a packet need not be decoded, and note its position then."""
        if packet.pts is None or packet.is_discard or not is_unreferenced(packet, self._units):
            return False
        position = self._position_of(packet_seconds(packet))
        if position is None or position >= self._first_full:
            return False
        left_out.add(position)
        return True

    def _position_of(self, seconds: float) -> int | None:
        position = int(np.searchsorted(self._times, seconds))
        is_known = position < len(self._times) and self._times[position] == seconds
        return position if is_known else None


class SeekingReader:
    """Gives single frames of a video in any order, with the pixels of `PyAVReader`.

    Memory is bounded by NUM_KEPT decoded frames and those that FFmpeg's threads work on. Not safe for several threads.

    Args:
        video: The index of the video.

    Raises:
        VideoError: The file cannot be opened.
    """

    def __init__(self, video: VideoIndex) -> None:
        properties = video.properties
        self._video = video
        self._kept: OrderedDict[int, av.VideoFrame] = OrderedDict()
        self._scale = Scaler(Region(size=(properties.height, properties.width)))
        self._forward: _Forward | None = None
        self._jumps: _Jumps | None = _Jumps(video)
        self.num_failures = 0
        if not self._jumps.are_possible:
            self._give_up_seeks()

    @property
    def index(self) -> VideoIndex:
        """The index of the video."""
        return self._video

    def picture(self, position: int, *, is_wanted: Callable[[], bool] = lambda: True) -> av.VideoFrame:
        """Return a frame as the decoder gives it, which is neither converted nor turned.

        Args:
            position: The frame, from 0.
            is_wanted: It is called after each frame that is decoded on the way.

        Raises:
            ValueError: There is no such frame.
            StoppedError: The frame is no longer wanted. The reader can be used on.
            VideoError: The frame cannot be decoded.
        """
        num_frames = self._video.properties.num_frames
        if not 0 <= position < num_frames:
            raise ValueError(f"got frame {position}, expected 0 to {num_frames - 1}")
        if position not in self._kept:
            self._find(position, is_wanted)
        self._kept.move_to_end(position)
        return self._kept[position]

    def pixels(self, position: int) -> np.ndarray:
        """Return a frame as `PyAVReader` does: uint8 [H, W, 3], RGB, as a player shows it; raises as `picture`."""
        return self._scale(self.picture(position))

    def close(self) -> None:
        """Free the decoders; the reader cannot be used afterwards."""
        self._kept.clear()
        self._give_up_seeks()
        if self._forward is not None:
            self._forward.close()

    def _find(self, position: int, is_wanted: Callable[[], bool]) -> None:
        if self._jumps is None:
            return self._find_forward(position, is_wanted)
        # A step back is mostly followed by others.
        steps_back = bool(self._kept) and position < min(self._kept)
        num_before = NUM_KEPT - 1 if steps_back else NUM_KEPT // 4
        try:
            for found, frame in self._jumps.read_up_to(position, num_before=num_before):
                self._keep(found, frame)
                _check(is_wanted)
        except (_MissedError, *DECODING_ERRORS):
            self._jumps.forget()
            self.num_failures += 1
            if self.num_failures >= MAX_FAILURES:
                self._give_up_seeks()
            self._find_forward(position, is_wanted)

    def _find_forward(self, position: int, is_wanted: Callable[[], bool]) -> None:
        if self._forward is None or self._forward.position > position:
            if self._forward is not None:
                self._forward.close()
            self._forward = _Forward(self._video)
        while self._forward.position <= position:
            self._keep(self._forward.position, self._forward.next_picture())
            _check(is_wanted)

    def _keep(self, position: int, frame: av.VideoFrame) -> None:
        self._kept[position] = frame
        self._kept.move_to_end(position)
        while len(self._kept) > NUM_KEPT:
            self._kept.popitem(last=False)

    def _give_up_seeks(self) -> None:
        if self._jumps is not None:
            self._jumps.close()
            self._jumps = None


def _check(is_wanted: Callable[[], bool]) -> None:
    if not is_wanted():
        raise StoppedError
