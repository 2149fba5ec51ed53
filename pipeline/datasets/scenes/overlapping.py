"""`scenes_overlapping`: a variant of `scenes` in which two or three shapes act at the same time.

Each shape has classes of its own, such as circle_grows and square_blinks. The classes of one shape exclude each other,
as a shape does one thing at a time; those of different shapes are independent. A shape that rests, or is not in the
picture, has no class. Actions, lengths and speeds are drawn as in `script`, so that no single frame reveals an action.

Every fourth video was watched in part only: `scored.csv` says which frames that are, and what happens in the others is
in no label file.

Shapes: T frames, K classes, H x W pixels.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segments import Segment, presence_from_segments, segments_from_frames
from pipeline.datasets.scenes.draw import draw_actor, draw_background, film
from pipeline.datasets.scenes.script import (
    FRAME_RATES,
    SIZES,
    VIDEOS_PER_GROUP,
    WEIGHTS,
    Figure,
    Session,
    Track,
    act,
    script_session,
)
from pipeline.datasets.scenes.write import check_arguments, write_csv, write_video

ACTORS = ("circle", "square", "triangle")
REST = "rests"  # an action without a class
_ACTIONS = {name: WEIGHTS[name] for name in (REST, "moves_left", "moves_right", "grows", "shrinks", "blinks")}
LABEL_SPACE = LabelSpace(
    tuple(f"{actor}_{action}" for actor in ACTORS for action in _ACTIONS if action != REST),
    groups=tuple(actor for actor in ACTORS for action in _ACTIONS if action != REST),
)
_WATCHED_SHARE = (0.6, 0.9)  # of a video that was watched in part


@dataclass(frozen=True)
class OverlappingScene:
    """The ground truth of one video.

    Attributes:
        stem: The stem of the video's name.
        session: The group of the video.
        width: In pixels.
        height: In pixels.
        frame_rate: In frames per second.
        actors: The figures that act, those in front last.
        tracks: The state of each actor in each frame.
        labels: int8 [T, K] of LABEL_SPACE, of all frames.
        watched: The frames [start, stop) that are labelled; None where all are.
    """

    stem: str
    session: Session
    width: int
    height: int
    frame_rate: Fraction
    actors: tuple[Figure, ...]
    tracks: tuple[Track, ...]
    labels: NDArray[np.int8]
    watched: tuple[int, int] | None

    @property
    def pts_seconds(self) -> NDArray[np.float64]:
        """The presentation time of each frame, float64 [T]."""
        return np.arange(len(self.labels)) / float(self.frame_rate)

    @property
    def segments(self) -> list[Segment]:
        """The segments of the frames that are labelled, in order."""
        start, stop = self.watched or (0, len(self.labels))
        segments = segments_from_frames(self.labels[start:stop])
        return [Segment(start + segment.start, start + segment.stop, segment.class_index) for segment in segments]


def script_overlapping_scene(seed: int, video_index: int, *, num_frames: tuple[int, int]) -> OverlappingScene:
    """Draw the script of one video; the same arguments give the same scene.

    Args:
        seed: The seed of the data set.
        video_index: The number of the video in the data set, from 0.
        num_frames: The minimum and the maximum length.
    """
    rng = np.random.default_rng([seed, 5, video_index])
    session = script_session(seed, video_index // VIDEOS_PER_GROUP)
    width, height = SIZES[video_index % len(SIZES)]
    frame_rate = FRAME_RATES[video_index % len(FRAME_RATES)]
    total = int(rng.integers(num_frames[0], num_frames[1] + 1))
    shapes = [str(shape) for shape in rng.permutation(ACTORS)[: rng.integers(2, len(ACTORS) + 1)]]
    colors = rng.choice(session.palette, len(shapes), replace=False)
    tracks, segments = [], []
    for shape in shapes:
        track, actions = act(total, width=width, height=height, frame_rate=frame_rate, rng=rng, weights=_ACTIONS)
        tracks.append(track)
        segments += list(_classes_of(shape, actions))
    watched = None
    if video_index % 4 == 1:
        length = round(total * rng.uniform(*_WATCHED_SHARE))
        start = int(rng.integers(total - length + 1))
        watched = (start, start + length)
    return OverlappingScene(
        stem=f"overlapping_{video_index:03d}",
        session=session,
        width=width,
        height=height,
        frame_rate=frame_rate,
        actors=tuple(Figure(shape, str(color)) for shape, color in zip(shapes, colors, strict=True)),
        tracks=tuple(tracks),
        labels=presence_from_segments(segments, total, LABEL_SPACE),
        watched=watched,
    )


def _classes_of(shape: str, actions: NDArray[np.int64]) -> Iterator[Segment]:
    names = list(_ACTIONS)
    for segment in segments_from_frames(actions):
        index = LABEL_SPACE.index(f"{shape}_{names[segment.class_index]}")
        if index is not None:
            yield segment._replace(class_index=index)


def draw_overlapping_frames(
    scene: OverlappingScene, *, noise: float, rng: np.random.Generator
) -> Iterator[NDArray[np.uint8]]:
    """Draw the frames of a scene in order.

    Args:
        scene: The scene.
        noise: The standard deviation of the average camera's noise, in grey levels of 255.
        rng: The source of the noise.

    Yields:
        uint8 [H, W, 3] of each frame.
    """
    behind = draw_background(scene.session, width=scene.width, height=scene.height, rng=rng)

    def draw(frame: int) -> NDArray[np.uint8]:
        pixels = behind.copy()
        for actor, track in zip(scene.actors, scene.tracks, strict=True):
            draw_actor(pixels, actor, track, frame)
        return pixels

    pictures = ((seconds, draw(frame)) for frame, seconds in enumerate(scene.pts_seconds.tolist()))
    return film(pictures, scene.session, noise=noise, rng=rng)


def make_overlapping_scenes(
    root: Path, *, num_videos: int, seed: int, num_frames: tuple[int, int], noise: float
) -> None:
    """Write the data set, completely or not at all. The same arguments write the same bytes.

    Args:
        root: The folder of the data set.
        num_videos: The number of videos.
        seed: The seed.
        num_frames: The minimum and the maximum length of a video.
        noise: See `draw_overlapping_frames`.

    Raises:
        InputError: A number is out of its range, or there is something at `root` already.
    """
    root = Path(root)
    check_arguments(root, num_videos=num_videos, num_images=0, num_frames=num_frames, noise=noise)
    partial = root.with_name(f".{root.name}.{os.getpid()}.partial")
    try:
        for folder in ("videos", "labels"):
            (partial / folder).mkdir(parents=True)
        _write(partial, num_videos=num_videos, seed=seed, num_frames=num_frames, noise=noise)
        partial.replace(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(root: Path, *, num_videos: int, seed: int, num_frames: tuple[int, int], noise: float) -> None:
    groups, scored = [], []
    for video_index in tqdm(range(num_videos), desc="making overlapping scenes", unit="video"):
        scene = script_overlapping_scene(seed, video_index, num_frames=num_frames)
        rng = np.random.default_rng([seed, 6, video_index])
        write_video(root, scene, draw_overlapping_frames(scene, noise=noise, rng=rng))
        rows = [(start, stop, LABEL_SPACE.classes[class_index]) for start, stop, class_index in scene.segments]
        write_csv(root / "labels" / f"{scene.stem}.csv", ("start", "stop", "class"), rows)
        groups.append((scene.stem, scene.session.name))
        if scene.watched:
            scored.append((scene.stem, *scene.watched))
    assert LABEL_SPACE.groups is not None
    write_csv(root / "classes.csv", ("class", "group"), list(zip(LABEL_SPACE.classes, LABEL_SPACE.groups, strict=True)))
    write_csv(root / "groups.csv", ("stem", "group"), groups)
    write_csv(root / "scored.csv", ("stem", "start", "stop"), scored)
