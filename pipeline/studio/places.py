"""Where the files of a studio are, and which of them it may show."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pipeline.annotations.layouts import FRAMES, LIVE, SEGMENTS
from pipeline.errors import InputError
from pipeline.files import VIDEO_SUFFIXES, canonical, find_files, leads_out

STATE = ".studio"  # in the data set: what the studio keeps beside the labels
LABELS, VIDEOS = "labels", "videos"
CLASHING = tuple(layout.removesuffix(".csv") for layout in (FRAMES, SEGMENTS, LIVE))
ID_LENGTH = 16  # hexadecimal digits


@dataclass(frozen=True)
class Video:
    """A video of the studio.

    Attributes:
        id: What requests call it, which is never a path.
        path: The file.
        inside: The folder that it may not lead out of by a link; None where it may.
        fault: Why its content is not shown; None where it is.
    """

    id: str
    path: Path
    inside: Path | None = None
    fault: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why its content is not shown now; None where it is."""
        if self.fault is None and self.inside is not None and leads_out(self.path, self.inside):
            return "is a link out of the data set: --follow-links shows it"
        return self.fault

    @property
    def stem(self) -> str:
        """The name without the suffix, which connects the video with its labels."""
        return self.path.stem

    def shorten(self, message: str) -> str:
        """Return a message about the video without its name, for a place that names it already."""
        return message.removeprefix(f"{self.path}: ").removeprefix(f"{self.path.name}: ")


@dataclass(frozen=True)
class Places:
    """The folders of a studio.

    Attributes:
        root: The data set; of labels that are only looked at, their folder.
        videos: The folder of the videos.
        labels: The folder of the label files, which may be missing.
        state: The folder of what the studio keeps: journals, backups, caches.
        read_only: Why nothing can be changed; None where it can.
        follow_links: Whether videos and label files may be links out of their folder.
    """

    root: Path
    videos: Path
    labels: Path
    state: Path
    read_only: str | None = None
    follow_links: bool = False

    @property
    def is_dataset(self) -> bool:
        """Whether the root is a data set, and not a folder of label files that are only looked at."""
        return self.labels != self.root

    def find_videos(self) -> dict[str, Video]:
        """Find the videos, by their ids, sorted by name. Videos of one stem share their labels: only the first counts.

        Raises:
            InputError: There are none.
        """
        try:
            files = find_files([self.videos], VIDEO_SUFFIXES, kind="video")
        except InputError:
            raise InputError(
                f"{self.videos}: holds no video: put videos there, as .mp4, .mov or .avi for example"
            ) from None
        paths = [path for path in files if _is_text(path.name)]
        names = {canonical(name) for path in paths for name in (path.stem, path.name)}
        inside = None if self.follow_links else self.root if self.videos.is_relative_to(self.root) else self.videos
        found: dict[str, Video] = {}
        for path in paths:
            video = Video(id_of(path.stem), path, inside, _find_clash(path.stem, names))
            found.setdefault(video.id, video)
        return found


def _is_text(name: str) -> bool:
    """Return whether a name is in UTF-8: others cannot be shown, nor be in any table."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _find_clash(stem: str, names: set[str]) -> str | None:
    """Describe whose label file that of a video would be taken for; None for nobody's.

    >>> _find_clash("a.frames", {"a", "a.mp4", "a.frames", "a.frames.mp4"})
    "its label file would be taken for one of 'a': rename the video"
    """
    for suffix in (*CLASHING, *VIDEO_SUFFIXES):
        other = canonical(stem).removesuffix(suffix)
        if other != canonical(stem) and other in names:
            return f"its label file would be taken for one of {other!r}: rename the video"
    return None


def id_of(stem: str) -> str:
    """Return the id of a video by its stem, which is the same in every Unicode form and every session."""
    return hashlib.sha256(canonical(stem).encode()).hexdigest()[:ID_LENGTH]


def find_places(place: Path, videos: Path | None, *, state: Path, follow_links: bool = False) -> Places:
    """Find the folders of a studio.

    Args:
        place: A data set; or, with `videos`, a folder of label files that are only looked at.
        videos: The folder of the videos of such label files; None for a data set.
        state: Where a studio that changes nothing keeps its caches.
        follow_links: See `Places`.

    Raises:
        InputError: A folder is missing.
    """
    for folder in filter(None, (place, videos)):
        if not folder.is_dir():
            raise InputError(f"{folder}: is not a folder: expected a data set, or label files with --videos DIR")
    if videos is not None:
        reason = "these labels are only looked at: name a data set, without --videos, to change them"
        return Places(place, videos, place, state, reason, follow_links)
    inside = place / VIDEOS
    if not inside.is_dir() and not any(path.suffix.lower() in VIDEO_SUFFIXES for path in place.iterdir()):
        raise InputError(
            f"{place}: has neither a folder {VIDEOS}/ nor videos: put videos into {inside}, or name their folder with"
            " --videos DIR to look at label files"
        )
    folder = inside if inside.is_dir() else place
    return Places(place, folder, place / LABELS, place / STATE, None, follow_links)
