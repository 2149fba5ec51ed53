"""The script of a synthetic scene: the actor's state and the action's label in every frame, without any pixels.

An actor performs one action after another. By construction, no single frame reveals the action: action, length and
speed are drawn independently of the actor's state, and drawn again if they would move it out of the picture. Every
action thus starts at any place where it fits, all with the same probability, and each action and its opposite pass
through the same states in opposite order, so that a place, size or angle is evidence for neither. The only exceptions
are the frames in which a blinking actor is hidden, which reveal that it blinks.

Units and shapes: T frames. Positions and radii are in pixels, x to the right and y down; angles are in radians,
clockwise from upright.
"""

import colorsys
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segments import Segment, segments_from_frames

# The first is the background class. An action is drawn with a probability in proportion to its weight, which is larger
# for actions that fit into the picture less often. An action and its opposite have the same weight; otherwise a place
# would be evidence for one of them.
WEIGHTS = {
    "rests": 1.3,
    "moves_left": 2.2,
    "moves_right": 2.2,
    "moves_up": 5.0,
    "moves_down": 5.0,
    "grows": 4.5,
    "shrinks": 4.5,
    "turns": 1.0,
    "blinks": 1.0,
    "shakes": 1.0,
}
LABEL_SPACE = LabelSpace(tuple(WEIGHTS), background="rests")
CLASSES = LABEL_SPACE.classes
SHAPES = ("circle", "square", "triangle", "star")
COLORS = {
    "red": (222, 52, 50),
    "orange": (245, 140, 25),
    "yellow": (248, 220, 60),
    "green": (62, 182, 76),
    "blue": (50, 112, 235),
    "purple": (160, 75, 205),
    "white": (242, 242, 238),
}
SIZES = ((128, 96), (160, 120), (176, 144), (192, 108))  # width, height
FRAME_RATES = (Fraction(12), Fraction(15), Fraction(24000, 1001), Fraction(25), Fraction(30))
VIDEOS_PER_GROUP = 4
FEWEST_FRAMES = 16

SEGMENT_SECONDS = (0.5, 2.0)
MAX_SEGMENT_FRAMES = 36  # so that a short video at a high frame rate has several segments too
RADIUS = (0.085, 0.25)  # of the picture's height
LANDMARK_RADIUS = 0.12
BORDER_PIXELS = 2.0  # between the actor and the border of the picture

_DIRECTIONS = {"moves_left": (-1, 0), "moves_right": (1, 0), "moves_up": (0, -1), "moves_down": (0, 1)}


class Figure(NamedTuple):
    """A shape of SHAPES in a color of COLORS."""

    shape: str
    color: str


class Track(NamedTuple):
    """The actor's state in each frame.

    Attributes:
        x: float64 [T], pixels.
        y: float64 [T], pixels.
        radius: float64 [T], pixels.
        angle: float64 [T], radians.
        visible: bool [T].
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    radius: NDArray[np.float64]
    angle: NDArray[np.float64]
    visible: NDArray[np.bool_]

    def at(self, frames: NDArray[np.int64]) -> "Track":
        """Return the states in these frames."""
        return Track(self.x[frames], self.y[frames], self.radius[frames], self.angle[frames], self.visible[frames])


class Session(NamedTuple):
    """The properties that the videos of one group share, as recordings of one afternoon do.

    Attributes:
        name: The name of the group.
        palette: The colors of its figures.
        background: RGB, 0 to 255.
        noise_factor: This camera's noise relative to the average camera's.
    """

    name: str
    palette: tuple[str, ...]
    background: tuple[float, float, float]
    noise_factor: float


@dataclass(frozen=True)
class Scene:
    """The ground truth of one video.

    Attributes:
        stem: The stem of the video's name.
        session: The group of the video.
        width: In pixels.
        height: In pixels.
        frame_rate: The nominal frame rate, in frames per second.
        pts_seconds: float64 [T], the presentation time of each frame.
        actor: The figure that acts.
        track: The state of the actor in each frame.
        landmark: The figure that stands still.
        landmark_x: In pixels.
        landmark_y: In pixels.
        landmark_radius: In pixels.
        labels: int64 [T], indices into CLASSES; IGNORE_INDEX where unlabelled.
    """

    stem: str
    session: Session
    width: int
    height: int
    frame_rate: Fraction
    pts_seconds: NDArray[np.float64]
    actor: Figure
    track: Track
    landmark: Figure
    landmark_x: float
    landmark_y: float
    landmark_radius: float
    labels: NDArray[np.int64]

    @property
    def segments(self) -> list[Segment]:
        """The labelled segments, in order."""
        return segments_from_frames(self.labels)

    def relation(self, frame: int) -> str | None:
        """Return the actor's position relative to the landmark in one frame.

        Args:
            frame: The index of the frame; the actor need not be visible in it.

        Returns:
            The relation in words; None where no single relation is clear.
        """
        dx, dy = self.track.x[frame] - self.landmark_x, self.track.y[frame] - self.landmark_y
        near, far = sorted((abs(dx), abs(dy)))
        apart = 0.8 * (self.track.radius[frame] + self.landmark_radius)
        if far < 1.5 * near or far < apart:
            return None
        if abs(dx) > abs(dy):
            return "to the left of" if dx < 0 else "to the right of"
        return "above" if dy < 0 else "below"


def script_session(seed: int, group_index: int) -> Session:
    """Draw the shared properties of a group of videos; the same arguments give the same session.

    Args:
        seed: The seed of the data set.
        group_index: The number of the group in the data set, from 0.
    """
    rng = np.random.default_rng([seed, 0, group_index])
    background = colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.15, 0.4), rng.uniform(0.25, 0.45))
    return Session(
        name=f"session_{group_index:02d}",
        palette=tuple(str(color) for color in rng.choice(list(COLORS), 4, replace=False)),
        background=(255 * background[0], 255 * background[1], 255 * background[2]),
        noise_factor=float(rng.uniform(0.5, 1.5)),
    )


def script_scene(seed: int, video_index: int, *, num_frames: tuple[int, int]) -> Scene:
    """Draw the script of one video; the same arguments give the same scene.

    One video in 32 has a variable frame rate: frames are dropped at random, and the others come a little early or late.

    Args:
        seed: The seed of the data set.
        video_index: The number of the video in the data set, from 0.
        num_frames: The minimum and the maximum length.
    """
    rng = np.random.default_rng([seed, 1, video_index])
    session = script_session(seed, video_index // VIDEOS_PER_GROUP)
    width, height = SIZES[video_index % len(SIZES)]
    frame_rate = FRAME_RATES[video_index % len(FRAME_RATES)]
    total = int(rng.integers(num_frames[0], num_frames[1] + 1))
    variable = video_index % 32 == 3
    num_acted = total + total // 12 if variable else total
    track, labels = act(num_acted, width=width, height=height, frame_rate=frame_rate, rng=rng)
    kept = np.sort(rng.choice(num_acted, total, replace=False))
    moments = kept + (rng.uniform(-0.2, 0.2, total) if variable else 0.0)
    actor_color, landmark_color = rng.choice(session.palette, 2, replace=False)
    return Scene(
        stem=f"scene_{video_index:03d}",
        session=session,
        width=width,
        height=height,
        frame_rate=frame_rate,
        pts_seconds=(moments - moments[0]) / float(frame_rate),
        actor=Figure(str(rng.choice(SHAPES)), str(actor_color)),
        track=track.at(kept),
        landmark=Figure(str(rng.choice(SHAPES)), str(landmark_color)),
        landmark_x=width * float(rng.uniform(0.3, 0.7)),
        landmark_y=height * float(rng.uniform(0.3, 0.7)),
        landmark_radius=height * LANDMARK_RADIUS,
        labels=_leave_gaps(labels[kept], rng),
    )


def act(
    num_frames: int,
    *,
    width: int,
    height: int,
    frame_rate: Fraction,
    rng: np.random.Generator,
    weights: Mapping[str, float] = WEIGHTS,
) -> tuple[Track, NDArray[np.int64]]:
    """Draw one action after another, never the same twice in a row, until `num_frames` are filled.

    Args:
        num_frames: T.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        frame_rate: In frames per second.
        rng: The source of the actions, their lengths and their speeds.
        weights: The weight of each action, to which its probability is in proportion.

    Returns:
        The state of the actor in each frame, and int64 [T], the index of its action in `weights`.
    """
    longest = min(round(SEGMENT_SECONDS[1] * frame_rate), MAX_SEGMENT_FRAMES, num_frames // 2)
    shortest = min(math.ceil(SEGMENT_SECONDS[0] * frame_rate), longest)
    track = _enter(width=width, height=height, rng=rng)
    actions, probabilities = list(weights), np.array(list(weights.values())) / sum(weights.values())
    tracks: list[Track] = []
    labels: list[int] = []
    while len(labels) < num_frames:
        class_index = int(rng.choice(len(actions), p=probabilities))
        length = int(rng.integers(shortest, longest + 1))
        if num_frames - len(labels) - length < shortest:
            length = num_frames - len(labels)
        candidate = _perform(actions[class_index], track, length, width=width, rng=rng)
        if (labels and class_index == labels[-1]) or not _fits(candidate, width=width, height=height):
            continue
        track = candidate
        tracks.append(track)
        labels += [class_index] * length
    return Track(*(np.concatenate(values) for values in zip(*tracks, strict=True))), np.array(labels, dtype=np.int64)


def _enter(*, width: int, height: int, rng: np.random.Generator) -> Track:
    """Draw the actor's state in the frame before its first action; all states that fit are equally likely."""
    while True:
        radius = height * np.exp(rng.uniform(math.log(RADIUS[0]), math.log(RADIUS[1]), size=1))
        x, y, angle = rng.uniform(0.0, (width, height, 2 * math.pi), size=3)
        track = Track(np.array([x]), np.array([y]), radius, np.array([angle]), np.array([True]))
        if _fits(track, width=width, height=height):
            return track


def _perform(action: str, before: Track, num_frames: int, *, width: int, rng: np.random.Generator) -> Track:
    """Perform one action for `num_frames` frames, the first of which is one step after the last frame of `before`."""
    steps = np.arange(1, num_frames + 1)
    x, y, radius, angle = (np.full(num_frames, values[-1]) for values in before[:4])
    visible = np.ones(num_frames, dtype=bool)
    sign = rng.choice((-1, 1))
    if action in _DIRECTIONS:
        speed = width * rng.uniform(0.015, 0.024)
        x = x + speed * steps * _DIRECTIONS[action][0]
        y = y + speed * steps * _DIRECTIONS[action][1]
    elif action in ("grows", "shrinks"):
        rate = rng.uniform(0.03, 0.045)
        radius = radius * np.exp((rate if action == "grows" else -rate) * steps)
    elif action == "turns":
        angle = angle + sign * math.radians(rng.uniform(8, 16)) * steps
    elif action == "blinks":
        visible = (steps - 1) // rng.integers(2, 5) % 2 == 1
    elif action == "shakes":
        x = x + sign * width * rng.uniform(0.025, 0.04) * np.sin(2 * math.pi * steps / rng.uniform(4.5, 6.5))
    return Track(x, y, radius, angle, visible)


def _fits(track: Track, *, width: int, height: int) -> bool:
    """Return whether the actor stays entirely in the picture, and its radius within its limits."""
    reach = track.radius + BORDER_PIXELS
    inside = (track.x >= reach) & (track.x <= width - reach) & (track.y >= reach) & (track.y <= height - reach)
    return bool(np.all(inside & (track.radius >= RADIUS[0] * height) & (track.radius <= RADIUS[1] * height)))


def _leave_gaps(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Remove the labels of three frames at about every fifth change of action, and at one change at least."""
    changes = np.flatnonzero(np.diff(labels)) + 1
    labels = labels.copy()
    for change in rng.choice(changes, max(1, round(len(changes) / 5)), replace=False):
        labels[change - 2 : change + 1] = LABEL_SPACE.unlabelled(1)
    return labels
