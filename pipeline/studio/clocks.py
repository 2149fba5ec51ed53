"""When the frames of each video are shown: found once from its packets, and kept on disk until the file changes.

T frames.
"""

import json
from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from pipeline.annotations.times import FrameTimes
from pipeline.errors import InputError
from pipeline.files import replacing, version_of
from pipeline.studio.places import Video

MAX_KEPT = 8  # clocks in memory: one of ten hours takes 7 MB


@dataclass(frozen=True)
class VideoFacts:
    """What is known of a video from its packets.

    Attributes:
        num_frames: T.
        width: In pixels, as it is shown.
        height: As `width`.
        frame_rate: The nominal frame rate, in frames per second.
        start_seconds: The time of the first frame.
        duration_seconds: From the start of the first frame to the end of the last one.
        container: FFmpeg's name of the format.
        codec: FFmpeg's name of the codec.
        rotation_degrees: See `VideoProperties`.
        variable_frame_rate: Whether the time between frames changes.
        is_surveyed: Whether its packets were not enough, and the whole video was decoded.
        problems: What is wrong with the file.
    """

    num_frames: int
    width: int
    height: int
    frame_rate: float
    start_seconds: float
    duration_seconds: float
    container: str
    codec: str
    rotation_degrees: int
    variable_frame_rate: bool
    is_surveyed: bool
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class VideoClock:
    """The facts of a video, and the times of its frames."""

    facts: VideoFacts
    times: FrameTimes


class Clocks:
    """The clocks of videos. All methods may be called from any thread.

    Args:
        folder: Where they are kept on disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: OrderedDict[str, tuple[tuple[int, int], VideoClock]] = OrderedDict()
        self._lock = Lock()
        self._reading: dict[str, Lock] = {}

    def facts(self, video: Video) -> VideoFacts | None:
        """Return the facts of a video where they are known already; they are not looked for."""
        try:
            return self._read_facts(video)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def clock(self, video: Video) -> VideoClock:
        """Return the clock of a video; where it is not known yet, this reads all packets of the file.

        Raises:
            InputError: The video cannot be read, or is not shown.
        """
        if video.refusal:
            raise InputError(f"{video.path.name}: {video.refusal}")
        with self._lock:
            reading = self._reading.setdefault(video.id, Lock())
        with reading:
            version = version_of(video.path)
            if version is None:
                raise InputError(f"{video.path.name}: is not there any more")
            with self._lock:
                kept = self._kept.get(video.id)
                if kept and kept[0] == version:
                    self._kept.move_to_end(video.id)
                    return kept[1]
            clock = self._load(video, version) or self._find(video, version)
            with self._lock:
                self._kept[video.id] = version, clock
                while len(self._kept) > MAX_KEPT:
                    self._kept.popitem(last=False)
            return clock

    def _files(self, video: Video) -> tuple[Path, Path]:
        return self._folder / f"{video.id}.json", self._folder / f"{video.id}.npy"

    def _read_facts(self, video: Video) -> VideoFacts | None:
        content = json.loads(self._files(video)[0].read_text(encoding="utf-8"))
        if tuple(content["version"]) != version_of(video.path):
            return None
        fields: dict[str, Any] = content["facts"]
        return VideoFacts(**fields | {"problems": tuple(fields["problems"])})

    def _load(self, video: Video, version: tuple[int, int]) -> VideoClock | None:
        facts = self.facts(video)
        if facts is None:
            return None
        try:
            edges = np.load(self._files(video)[1], allow_pickle=False)
        except (OSError, ValueError):
            return None
        if edges.shape != (facts.num_frames + 1,) or version_of(video.path) != version:
            return None
        return VideoClock(facts, FrameTimes(edges[:-1], frame_seconds=float(edges[-1] - edges[-2])))

    def _find(self, video: Video, version: tuple[int, int]) -> VideoClock:
        try:
            clock = read_clock(video.path)
        except InputError as error:
            raise InputError(str(error).replace(str(video.path), video.path.name)) from error
        with suppress(OSError, InputError):  # on a full disk it is found again each time
            self._keep(video, version, clock)
        return clock

    def _keep(self, video: Video, version: tuple[int, int], clock: VideoClock) -> None:
        facts, times = self._files(video)
        with replacing(times) as temporary:
            np.save(temporary, np.append(clock.times.pts_seconds, clock.times.end_seconds))
        with replacing(facts) as temporary:
            content = {"version": version, "facts": asdict(clock.facts)}
            temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def read_clock(path: Path) -> VideoClock:
    """Read when the frames of a video are shown, in the order and the number in which the pipeline decodes them.

    Raises:
        VideoError: The video cannot be read.
    """
    from pipeline.video.ffmpeg import naming_errors, open_file, video_stream
    from pipeline.video.survey import index_video  # decoders are slow to import

    index = index_video(path)
    with naming_errors(path), open_file(path) as container:
        codec = video_stream(path, container).codec_context.name
    p, pts = index.properties, index.pts_seconds
    times = FrameTimes(pts, frame_seconds=float(1 / p.frame_rate))
    facts = VideoFacts(
        num_frames=p.num_frames,
        width=p.width,
        height=p.height,
        frame_rate=float(p.frame_rate),
        start_seconds=float(pts[0]),
        duration_seconds=times.end_seconds - float(pts[0]),
        container=index.container,
        codec=codec,
        rotation_degrees=p.rotation_degrees,
        variable_frame_rate=p.variable_frame_rate,
        is_surveyed=index.is_lost is not None,
        problems=index.problems,
    )
    return VideoClock(facts, times)
