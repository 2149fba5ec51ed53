"""`scenes`, the embedded data set: moving coloured shapes, drawn from a seed and written as real video files.

`script` decides what happens, and `draw` draws it. This module describes it in words and writes it in the layout of a
data set on disk, together with `video_captions.csv` (video,start,stop,caption), which has one caption for each labelled
segment. There are no `splits/`: the reader of the data set splits it by group. Every image of `captions.csv` is a frame
of a scene and of a session that no other image shares, so that images can be split in any way. Each caption of an image
names both shapes, both colours and the position of one figure relative to the other. `overlapping` is a variant of the
data set in which several figures act.

Shapes: H x W pixels; images are uint8 [H, W, 3] RGB.
"""

import csv
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.annotations.segments import Segment
from pipeline.datasets.scenes.draw import draw_actor, draw_background, draw_figure, film
from pipeline.datasets.scenes.script import (
    CLASSES,
    COLORS,
    FEWEST_FRAMES,
    SHAPES,
    VIDEOS_PER_GROUP,
    Figure,
    Scene,
    script_scene,
)
from pipeline.errors import InputError
from pipeline.video.writer import VideoWriter

CAPTIONS_PER_IMAGE = 3

# These templates name no action, as a single frame does not show it.
_IMAGE_TEMPLATES = (
    "{actor} {relation} {landmark}",
    "{relation} {landmark} is {actor}",
    "{actor} is {relation} {landmark}",
    "{landmark} with {actor} {relation} it",
    "there is {actor} {relation} {landmark}",
)
_SEGMENT_TEMPLATES = (
    "{actor} {moves} {relation} {landmark}",
    "{relation} {landmark} {actor} is {moving}",
    "{actor} {relation} {landmark} {moves}",
)
_UNRELATED_TEMPLATES = (
    "{actor} {moves} while {landmark} stands still",
    "{actor} is {moving} and {landmark} stands still",
)
_OPPOSITE = {
    "above": "below",
    "below": "above",
    "to the left of": "to the right of",
    "to the right of": "to the left of",
}
_FIGURE_PATTERN = f"an? (?P<{{}}>(?:{'|'.join(COLORS)}) (?:{'|'.join(SHAPES)}))"
_IMAGE_PATTERNS = [
    re.compile(
        template.format(
            actor=_FIGURE_PATTERN.format("actor"),
            landmark=_FIGURE_PATTERN.format("landmark"),
            relation=f"(?P<relation>{'|'.join(_OPPOSITE)})",
        )
    )
    for template in _IMAGE_TEMPLATES
]
_STILL_GROUPS = 1 << 32  # groups with smaller numbers are those of videos; also the step between attempts at a still
_JPEG_QUALITY = 95
_MIN_GROWTH = 1.4


def make_scenes(
    root: Path, *, num_videos: int, num_images: int, seed: int, num_frames: tuple[int, int], noise: float
) -> None:
    """Write the data set, completely or not at all. The same arguments write the same bytes.

    A video or image depends only on the seed and its own number: a larger data set begins with the same ones.

    Args:
        root: The folder of the data set.
        num_videos: The number of videos.
        num_images: The number of images.
        seed: The seed.
        num_frames: The minimum and the maximum length of a video.
        noise: The standard deviation of the average camera's noise, in grey levels of 255.

    Raises:
        InputError: A number is out of its range, or there is something at `root` already.
    """
    root = Path(root)
    check_arguments(root, num_videos=num_videos, num_images=num_images, num_frames=num_frames, noise=noise)
    partial = root.with_name(f".{root.name}.{os.getpid()}.partial")
    try:
        for folder in ("videos", "labels", "images"):
            (partial / folder).mkdir(parents=True)
        _write_videos(partial, num_videos=num_videos, seed=seed, num_frames=num_frames, noise=noise)
        _write_images(partial, num_images=num_images, seed=seed, noise=noise)
        partial.replace(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def image_captions(scene: Scene, rng: np.random.Generator) -> dict[int, list[str]]:
    """Describe one frame of each segment that has a clear one.

    Args:
        scene: The scene.
        rng: The source of the choice of words.

    Returns:
        By the index of the frame, its captions. The frame is the one nearest to the middle of the segment in which the
        actor is visible and its position relative to the landmark is clear.
    """
    captions = {}
    for segment in scene.segments:
        middle = (segment.start + segment.stop) // 2
        for frame in sorted(range(segment.start, segment.stop), key=lambda frame: abs(frame - middle)):
            relation = scene.relation(frame)
            if relation and scene.track.visible[frame]:
                templates = rng.choice(_IMAGE_TEMPLATES, CAPTIONS_PER_IMAGE, replace=False)
                captions[frame] = [_caption(str(template), scene, segment, relation) for template in templates]
                break
    return captions


def script_still(seed: int, still_index: int) -> tuple[Scene, int, list[str]]:
    """Draw the script of a still image from a scene that no video and no other still shares.

    Its figures are enlarged, up to twice, as far as they fit, as a still gives a viewer only one view of them.

    Args:
        seed: The seed of the data set.
        still_index: The number of the image, from 0.

    Returns:
        The scene, the index of a frame of it in which all is clear, and the captions of that frame.
    """
    group_index = still_index
    while True:
        group_index += _STILL_GROUPS
        video_index = group_index * VIDEOS_PER_GROUP + still_index % VIDEOS_PER_GROUP  # sizes go with the remainder
        scene = script_scene(seed, video_index, num_frames=(FEWEST_FRAMES, FEWEST_FRAMES))
        captions = image_captions(scene, np.random.default_rng([seed, 2, video_index]))
        for frame, texts in captions.items():
            factor = _room_to_grow(scene, frame)
            if factor >= _MIN_GROWTH:
                return _enlarged(scene, min(factor, 2.0)), frame, texts


def _room_to_grow(scene: Scene, frame: int) -> float:
    """Return the factor at which the figures of this frame would touch each other or the border of the picture."""
    x, y, radius = scene.track.x[frame], scene.track.y[frame], scene.track.radius[frame]
    circles = ((x, y, radius), (scene.landmark_x, scene.landmark_y, scene.landmark_radius))
    borders = [min(cx, cy, scene.width - cx, scene.height - cy) / r for cx, cy, r in circles]
    distance = math.hypot(x - scene.landmark_x, y - scene.landmark_y)
    return min(*borders, distance / (radius + scene.landmark_radius))


def _enlarged(scene: Scene, factor: float) -> Scene:
    track = scene.track._replace(radius=factor * scene.track.radius)
    return replace(scene, track=track, landmark_radius=factor * scene.landmark_radius)


def image_fact(caption: str) -> tuple[str, str, str] | None:
    """Parse a caption of an image.

    Returns:
        (figure, relation, figure), such as ("red star", "above", "blue circle"): of the two ways to express the
        relation, the one that sorts first. None for a caption that no image can have.
    """
    for pattern in _IMAGE_PATTERNS:
        if match := pattern.fullmatch(caption):
            actor, relation, landmark = (match[name] for name in ("actor", "relation", "landmark"))
            return min((actor, relation, landmark), (landmark, _OPPOSITE[relation], actor))
    return None


def segment_caption(scene: Scene, segment: Segment, rng: np.random.Generator) -> str:
    """Describe what happens in one segment, and where, if that is the same from its first frame to its last.

    Args:
        scene: The scene.
        segment: The segment of the scene.
        rng: The source of the choice of words.
    """
    relations = {scene.relation(frame) for frame in range(segment.start, segment.stop)}
    relation = relations.pop() if len(relations) == 1 else None
    template = rng.choice(_SEGMENT_TEMPLATES if relation else _UNRELATED_TEMPLATES)
    return _caption(str(template), scene, segment, relation)


def draw_frames(
    scene: Scene, frames: Iterable[int], *, noise: float, rng: np.random.Generator
) -> Iterator[NDArray[np.uint8]]:
    """Draw frames of a scene.

    Args:
        scene: The scene.
        frames: The indices of the frames, in any order.
        noise: See `make_scenes`.
        rng: The source of the noise.

    Yields:
        uint8 [H, W, 3] of each frame, in the order of `frames`.
    """
    behind = draw_background(scene.session, width=scene.width, height=scene.height, rng=rng)
    draw_figure(behind, scene.landmark, (scene.landmark_x, scene.landmark_y), scene.landmark_radius)

    def draw(frame: int) -> NDArray[np.uint8]:
        pixels = behind.copy()
        draw_actor(pixels, scene.actor, scene.track, frame)
        return pixels

    pictures = ((float(scene.pts_seconds[frame]), draw(frame)) for frame in frames)
    return film(pictures, scene.session, noise=noise, rng=rng)


def check_arguments(root: Path, *, num_videos: int, num_images: int, num_frames: tuple[int, int], noise: float) -> None:
    """Check the arguments of `make_scenes`; raise InputError with all that is wrong with them."""
    shortest, longest = num_frames
    problems = []
    if num_videos < 1:
        problems.append(f"num_videos is {num_videos}, expected at least 1")
    if num_images < 0:
        problems.append(f"num_images is {num_images}, expected 0 or more")
    if not FEWEST_FRAMES <= shortest <= longest:
        problems.append(f"num_frames is {shortest} to {longest}, expected {FEWEST_FRAMES} <= shortest <= longest")
    if not 0 <= noise < 128:
        problems.append(f"noise is {noise}, expected 0 or more, and less than 128, grey levels")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        problems.append("it exists already, and a data set is never written over: remove it first")
    if problems:
        raise InputError(f"cannot make scenes in {root}: {'; '.join(problems)}")


def _write_videos(root: Path, *, num_videos: int, seed: int, num_frames: tuple[int, int], noise: float) -> None:
    groups: list[tuple[str, str]] = []
    captions: list[tuple[str, int, int, str]] = []
    for video_index in tqdm(range(num_videos), desc="making scenes", unit="video"):
        scene = script_scene(seed, video_index, num_frames=num_frames)
        words_rng = np.random.default_rng([seed, 2, video_index])
        pixels_rng = np.random.default_rng([seed, 3, video_index])
        write_video(root, scene, draw_frames(scene, range(len(scene.labels)), noise=noise, rng=pixels_rng))
        rows = [(segment.start, segment.stop, CLASSES[segment.class_index]) for segment in scene.segments]
        write_csv(root / "labels" / f"{scene.stem}.csv", ("start", "stop", "class"), rows)
        groups.append((scene.stem, scene.session.name))
        captions += [
            (scene.stem, segment.start, segment.stop, segment_caption(scene, segment, words_rng))
            for segment in scene.segments
        ]
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8", newline="\n")
    write_csv(root / "groups.csv", ("stem", "group"), groups)
    write_csv(root / "video_captions.csv", ("video", "start", "stop", "caption"), captions)


class Filmed(Protocol):
    """A scene of which a video is written."""

    @property
    def stem(self) -> str:
        """The stem of the video's name."""
        ...

    @property
    def width(self) -> int:
        """In pixels."""
        ...

    @property
    def height(self) -> int:
        """In pixels."""
        ...

    @property
    def frame_rate(self) -> Fraction:
        """The nominal frame rate, in frames per second."""
        ...

    @property
    def pts_seconds(self) -> NDArray[np.float64]:
        """The presentation time of each frame, float64 [T]."""
        ...


def write_video(root: Path, scene: Filmed, frames: Iterable[NDArray[np.uint8]]) -> None:
    """Write videos/<stem>.mp4 below `root`, of frames uint8 [H, W, 3]."""
    path = root / "videos" / f"{scene.stem}.mp4"
    with VideoWriter(path, width=scene.width, height=scene.height, frame_rate=scene.frame_rate) as writer:
        for pixels, pts_seconds in zip(frames, scene.pts_seconds, strict=True):
            writer.write(pixels, float(pts_seconds))


def _write_images(root: Path, *, num_images: int, seed: int, noise: float) -> None:
    captions: list[tuple[str, str]] = []
    for still_index in tqdm(range(num_images), desc="making stills", unit="image"):
        scene, frame, texts = script_still(seed, still_index)
        (pixels,) = draw_frames(scene, [frame], noise=noise, rng=np.random.default_rng([seed, 4, still_index]))
        name = f"still_{still_index:05d}.jpg"
        (root / "images" / name).write_bytes(_encode_jpeg(pixels))
        captions += [(name, text) for text in texts]
    write_csv(root / "captions.csv", ("image", "caption"), captions)


def _encode_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return encoded.tobytes()


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table whose bytes do not depend on the machine."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _caption(template: str, scene: Scene, segment: Segment, relation: str | None) -> str:
    verb, *direction = CLASSES[segment.class_index].split("_")
    participle = verb.removesuffix("s").removesuffix("e") + "ing"
    return template.format(
        actor=_noun_phrase(scene.actor),
        landmark=_noun_phrase(scene.landmark),
        moves=" ".join([verb, *direction]),
        moving=" ".join([participle, *direction]),
        relation=relation,
    )


def _noun_phrase(figure: Figure) -> str:
    return f"{'an' if figure.color[0] in 'aeiou' else 'a'} {figure.color} {figure.shape}"
