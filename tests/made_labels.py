"""Labels of a studio without its server, and videos that are only a number of frames."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.times import FrameTimes
from pipeline.studio.clocks import Clocks, VideoClock, VideoFacts
from pipeline.studio.labels.store import LabelStore
from pipeline.studio.labels.tracks import Tracks
from pipeline.studio.places import Places, Video, find_places, id_of

EXCLUSIVE = LabelSpace(("walk", "rest", "jump"))
OVERLAPPING = LabelSpace(("eats", "sleeps", "rears"), groups=("state", "state", "posture"))


class GivenClocks(Clocks):
    """The clocks of videos that are not decoded: all have 25 frames a second.

    Args:
        num_frames: The number of frames of each video, by its stem.
    """

    def __init__(self, num_frames: Mapping[str, int]) -> None:
        super().__init__(Path("/nowhere"))
        self.num_frames = dict(num_frames)

    def clock(self, video: Video) -> VideoClock:
        count = self.num_frames[video.stem]
        facts = VideoFacts(
            count, 64, 48, 25.0, 0.0, count / 25, "mp4", "h264", 0, variable_frame_rate=False, is_surveyed=False
        )
        return VideoClock(facts, FrameTimes(np.arange(count) / 25, frame_seconds=0.04))


def make_dataset(root: Path, space: LabelSpace, *stems: str) -> Path:
    """Write a data set with a list of classes and videos that cannot be decoded."""
    (root / "videos").mkdir(parents=True, exist_ok=True)
    for stem in stems:
        (root / "videos" / f"{stem}.mp4").touch()
    if space.groups is None:
        (root / "classes.txt").write_text("".join(f"{name}\n" for name in space.classes))
    else:
        rows = zip(space.classes, space.groups, strict=True)
        (root / "classes.csv").write_text("class,group\n" + "".join(f"{name},{group}\n" for name, group in rows))
    return root


def places_of(root: Path) -> Places:
    return find_places(root, None, state=root / "unused")


@contextmanager
def label_store(root: Path, num_frames: Mapping[str, int]) -> Iterator[LabelStore]:
    """The labels of a data set; what is not saved yet is saved at the end."""
    places = places_of(root)
    store = LabelStore(places, GivenClocks(num_frames), places.find_videos())
    try:
        yield store
    finally:
        store.close()


def video_of(store: LabelStore, stem: str) -> Video:
    return store.places.find_videos()[id_of(stem)]


def tracks_of(labels: np.ndarray, space: LabelSpace) -> Tracks:
    return Tracks.from_labels(labels, space)
