"""The videos that a file of another program names, as they are found on this machine, and when their frames are shown.

Files of other programs have paths of other machines. A video is found by its name anywhere below a folder.
"""

import difflib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.foreign.document import Media
from pipeline.annotations.times import FrameTimes
from pipeline.errors import InputError
from pipeline.files import canonical, is_hidden
from pipeline.text.wording import listed
from pipeline.video.ffmpeg import clock_start_seconds
from pipeline.video.survey import index_video
from pipeline.video.types import VIDEO_SUFFIXES

# Suffixes of other media that lie beside a video, such as its sound.
MEDIA_SUFFIXES = VIDEO_SUFFIXES | {".aac", ".flac", ".m4a", ".mp3", ".npy", ".ogg", ".wav", ".wma"}
MAX_SHOWN = 3
LENGTH_TOLERANCE = 0.01  # programs state the length of the sound, or that of another decoder
LENGTH_TOLERANCE_SECONDS = 0.5


class TimedVideo(NamedTuple):
    """A video, and when its frames are shown.

    Attributes:
        path: The file.
        times: When its frames are shown, on the clock of players.
        frame_rate: The average number of frames per second.
        is_variable: Whether the steps between frames differ.
        clock_start: The time stamp at which that clock is 0.
    """

    path: Path
    times: FrameTimes
    frame_rate: float
    is_variable: bool
    clock_start: float

    @property
    def stamps(self) -> FrameTimes:
        """When the frames are shown, by their time stamps: our own label files have these."""
        return FrameTimes(self.times.pts_seconds + self.clock_start, self.times.frame_seconds)


@lru_cache(maxsize=4)  # a recording has few media files, and an index of days of video is large
def read_times(path: Path, *, from_first: bool = False) -> TimedVideo:
    """Index a video.

    Its clock is that of players: the start of a file of a broadcast format (MPEG-TS, MPEG-PS) is 0, and in other
    formats the time stamps count as they are, so that a video which starts late does so here too.

    Args:
        path: The video.
        from_first: Whether the first frame is shown at 0 instead, whatever the time stamps say, as in some players.

    Raises:
        InputError: The video is damaged or no video.
    """
    index = index_video(path)
    frame_rate = float(index.properties.frame_rate)
    start_seconds = float(index.pts_seconds[0]) if from_first else clock_start_seconds(path)
    times = FrameTimes(np.asarray(index.pts_seconds) - start_seconds, 1 / frame_rate)
    return TimedVideo(path, times, frame_rate, index.properties.variable_frame_rate, start_seconds)


class VideoFolder:
    """The videos in folders, and in the folders below them.

    Args:
        places: The folders; a file stands for itself.

    Raises:
        InputError: A place is missing, or there is no video.
    """

    def __init__(self, *places: Path) -> None:
        self.paths: list[Path] = []
        self._name = listed([str(place) for place in places], MAX_SHOWN)
        seen: set[tuple[int, int]] = set()  # a data set has hard links to videos that may be in the folder too
        for place in map(Path, places):
            if not place.exists():
                raise InputError(f"{place}: is missing: expected the folder of the videos")
            found = sorted(place.rglob("*")) if place.is_dir() else [place]
            for path in (path for path in found if path.suffix.lower() in VIDEO_SUFFIXES):
                inside = path.relative_to(place) if place.is_dir() else Path(path.name)
                if path.is_file() and not any(is_hidden(Path(part)) for part in inside.parts):
                    status = path.stat()
                    if (status.st_dev, status.st_ino) not in seen:
                        self.paths.append(path)
                    seen.add((status.st_dev, status.st_ino))
        if not self.paths:
            raise InputError(f"{self._name}: has no video: expected one of {', '.join(sorted(VIDEO_SUFFIXES))}")

    def stamps_of(self, stem: str) -> FrameTimes | None:
        """Return when the frames of a video are shown, by their time stamps; None where it is not there or damaged."""
        try:
            return read_times(self.find(Media(stem))).stamps
        except InputError:
            return None

    def has(self, name: str) -> bool:
        """Return whether there is a video with this name or this stem."""
        return any(_is_same(part, name) for path in self.paths for part in (path.name, path.stem))

    def find(self, media: Media) -> Path:
        """Find a video by its name; where the suffix differs, by its stem; where several have the name, by its length.

        Raises:
            InputError: There is none, or there are several that fit.
        """
        name = media.file_name
        stem = Path(name).stem if Path(name).suffix.lower() in MEDIA_SUFFIXES else name
        # The name itself; the stem of another file, such as the sound that was cut out of the video.
        for attribute, wanted in (("name", name), ("stem", stem)):
            named = [(getattr(path, attribute), path) for path in self.paths]
            found = [path for other, path in named if canonical(other) == canonical(wanted)]
            found = found or [path for other, path in named if _is_same(other, wanted)]
            if found:
                return found[0] if len(found) == 1 else self._by_length(media, found)
        known = {canonical(path.name).casefold(): path.name for path in self.paths}
        similar = [known[key] for key in difflib.get_close_matches(canonical(name).casefold()[:200], known, n=3)]
        hint = f": did you mean {listed([repr(other) for other in similar], MAX_SHOWN)}?" if similar else ""
        raise InputError(f"there is no video {name[:200]!r} in {self._name}{hint}")

    def _by_length(self, media: Media, found: Sequence[Path]) -> Path:
        """Tell videos of one name apart by the length that the file states."""
        fitting = [path for path in found if media.seconds is not None and _has_length(path, media.seconds)]
        if len(fitting) == 1:
            return fitting[0]
        stated = "states no length" if media.seconds is None else f"states a length of {media.seconds:g} seconds"
        places = listed([str(path) for path in fitting or found], MAX_SHOWN)
        raise InputError(
            f"several videos are named {media.file_name!r} ({places}), and the file {stated}: name the folder of the"
            " right one (--videos), or rename the others"
        )


def _is_same(name: str, other: str) -> bool:
    """Tell whether names are the same in any Unicode form, and as systems that ignore case see them."""
    return canonical(name).casefold() == canonical(other).casefold()


def _has_length(path: Path, seconds: float) -> bool:
    try:
        times = read_times(path).times
    except InputError:
        return False
    length = times.end_seconds - float(times.pts_seconds[0])
    return abs(length - seconds) <= max(LENGTH_TOLERANCE_SECONDS, LENGTH_TOLERANCE * seconds)
