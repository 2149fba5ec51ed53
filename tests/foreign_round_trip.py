"""Random labels, written for another program and read again; and real files that were damaged at random."""

import copy
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st

from pipeline.annotations.foreign.base import ForeignFormat, LabelledVideo
from pipeline.annotations.foreign.document import Document, Recording
from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.segments import Segment, frames_from_segments, presence_from_segments
from pipeline.annotations.times import FrameTimes

DATA = Path(os.environ.get("FRAMESCRIBE_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
REAL = DATA / "annotations"
needs_real_files = pytest.mark.skipif(not REAL.is_dir(), reason="the real files are not here")
CLASSES = ("=walk, left", 'eats "grass"', "-läuft", "@x|y", "'+a", "rest")


class Made(NamedTuple):
    """Labels of a video, and its classes."""

    labels: np.ndarray
    label_space: LabelSpace
    times: FrameTimes
    probabilities: np.ndarray | None


@st.composite
def made_labels(
    draw: st.DrawFn, first_microseconds: int = -50_000, shortest_microseconds: int = 1_100, has_unlabelled: bool = True
) -> Made:
    """Draw labels of frames at a variable rate, the first of which is not shown at 0."""
    steps = draw(st.lists(st.integers(shortest_microseconds, 90_000), min_size=1, max_size=30))
    pts = np.cumsum([draw(st.integers(first_microseconds, 5_000_000)), *steps[:-1]]) / 1e6
    num_classes = draw(st.integers(1, len(CLASSES)))
    classes = CLASSES[:num_classes]
    groups = draw(st.none() | st.lists(st.sampled_from("abc"), min_size=num_classes, max_size=num_classes).map(tuple))
    unlabelled = [IGNORE_INDEX] if has_unlabelled else []
    if groups is None:
        values = st.sampled_from([*range(num_classes), *unlabelled])
        labels = np.array(draw(st.lists(values, min_size=len(steps), max_size=len(steps))), dtype=np.int64)
    else:
        labels = np.full((len(steps), num_classes), ABSENT, dtype=np.int8)
        for group in sorted(set(groups)):
            members = [index for index in range(num_classes) if groups[index] == group]
            values = st.sampled_from([None, *members])
            for frame, member in enumerate(draw(st.lists(values, min_size=len(steps), max_size=len(steps)))):
                if member is not None:
                    labels[frame, member] = 1
        if has_unlabelled and draw(st.booleans()):
            labels[draw(st.integers(0, len(steps) - 1))] = IGNORE_INDEX
    probabilities = np.round(np.linspace(0, 1, labels.size, dtype=np.float32).reshape(labels.shape), 4)
    times = FrameTimes(pts, steps[-1] / 1e6)
    return Made(labels, LabelSpace(classes, groups=groups), times, draw(st.sampled_from([probabilities, None])))


def labelled_video(made: Made, video: Path = Path("clips/day 1.mp4")) -> LabelledVideo:
    return LabelledVideo(video, made.labels, made.label_space, made.times, 25.0, made.probabilities)


def place(recording: Recording, made: Made) -> np.ndarray:
    """Return the labels that the events of a recording give, by the times of the frames."""
    (media,) = recording.media
    segments = []
    for event in recording.events:
        assert event.stop is not None
        start, stop = event.start - media.start, event.stop - media.start
        frames = made.times.segment(start, stop, resolution=recording.resolution)
        segments.append(Segment(*frames, made.label_space.classes.index(event.label)))
    if made.label_space.is_exclusive:
        return frames_from_segments(segments, len(made.labels))
    return presence_from_segments(segments, len(made.labels), made.label_space)


def expected(made: Made) -> np.ndarray:
    """Return the labels without those that say that nobody looked, which other programs do not have."""
    return made.labels if made.label_space.is_exclusive else np.where(made.labels == 1, 1, 0).astype(np.int8)


def check_round_trip(foreign: ForeignFormat, made: Made, path: Path) -> Document:
    """Write labels, read them, and check that every frame has the same ones."""
    assert foreign.write is not None
    assert foreign.read is not None
    losses = foreign.write(path, [labelled_video(made)])
    is_unlabelled = bool((~made.label_space.is_labelled(made.labels)).any())
    assert any("without a label" in loss.kind for loss in losses) == is_unlabelled
    document = foreign.read(path)
    assert not document.losses
    if document.recordings:
        (recording,) = document.recordings
        np.testing.assert_array_equal(place(recording, made), expected(made))
        assert all((event.score is None) == (made.probabilities is None) for event in recording.events)
    else:
        assert losses
        assert not (expected(made) >= 0).any() if made.label_space.is_exclusive else not expected(made).any()
    return document


WRONG: tuple[Any, ...] = (None, True, -1, 10**400, 1e300, "", "x", "1,5", [], [[]], {}, {"a": None}, "2016-12-01")


def mutate_json(draw: st.DrawFn, content: Any) -> Any:
    """Delete or replace a few values of JSON at random places."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        parent: Any = content
        while isinstance(parent, dict | list) and parent:
            key = draw(st.sampled_from([*parent] if isinstance(parent, dict) else range(len(parent))))
            if isinstance(parent[key], dict | list) and parent[key] and draw(st.integers(0, 4)):
                parent = parent[key]
            elif draw(st.booleans()):
                del parent[key]
                break
            else:
                parent[key] = copy.deepcopy(draw(st.sampled_from(WRONG)))
                break
    return content


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw a damaged version of a file: of JSON with other values, of any file cut, or with other bytes."""
    how = draw(st.sampled_from(["values", "cut", "bytes"]))
    if how == "values" and content.lstrip()[:1] in (b"{", b"["):
        return json.dumps(mutate_json(draw, json.loads(content))).encode()
    if how == "cut":
        return content[: draw(st.integers(0, len(content)))]
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(changed) - 1))
        changed[at : at + draw(st.integers(0, 12))] = draw(
            st.binary(max_size=3) | st.sampled_from([b"\n", b",", b"NA"])
        )
        if not changed:
            break
    return bytes(changed)


def check_only_annotation_errors(foreign: ForeignFormat, path: Path) -> None:
    """Check that a file, whatever it has, is read, or refused with one sentence for each problem."""
    assert foreign.read is not None
    try:
        document = foreign.read(path)
    except AnnotationError as error:
        lines = [str(problem) for problem in error.problems]
    else:
        lines = []
        events = [event for recording in document.recordings for event in recording.events]
        assert all(np.isfinite(event.start) and (event.stop is None or event.stop >= event.start) for event in events)
    assert not any("\n" in line for line in lines)
