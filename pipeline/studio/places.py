"""Where the files of a studio are, and which of them it may show."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.files import VIDEO_SUFFIXES, canonical, find_files, leads_out

STATE = ".studio"  # in the data set: what the studio keeps beside the labels
LABELS, VIDEOS = "labels", "videos"
ID_LENGTH = 16  # hexadecimal digits


@dataclass(frozen=True)
class Video:
    """A video of the studio.

    Attributes:
        id: What requests call it, which is never a path.
        path: The file.
        refusal: Why its content is not shown; None where it is.
    """

    id: str
    path: Path
    refusal: str | None = None

    @property
    def stem(self) -> str:
        """The name without the suffix, which connects the video with its labels."""
        return self.path.stem


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

    def find_videos(self) -> dict[str, Video]:
        """Find the videos, by their ids, sorted by name. Videos of one stem share their labels: only the first counts.

        Raises:
            InputError: There are none.
        """
        found: dict[str, Video] = {}
        for path in find_files([self.videos], VIDEO_SUFFIXES, kind="video"):
            refusal = None
            if not self.follow_links and leads_out(path, self.videos):
                refusal = "is a link out of the data set: --follow-links shows it"
            video = Video(id_of(path.stem), path, refusal)
            found.setdefault(video.id, video)
        return found


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
