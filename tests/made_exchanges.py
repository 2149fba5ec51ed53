"""Labels at random, to be written for another program and read back; and files that are damaged at random."""

import copy
import json
import os
import random
import string
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import openpyxl
import pytest
from hypothesis import strategies as st

from pipeline.annotations.foreign.base import ForeignFormat, LabelledVideo
from pipeline.annotations.foreign.document import Document, Recording, Unit
from pipeline.annotations.label_space import IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.times import FrameTimes

DATA = Path(os.environ.get("FRAMESCRIBE_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
REAL = DATA / "annotations"  # real files of other programs; not on every machine
needs_real_files = pytest.mark.skipif(not REAL.is_dir(), reason="the real files are not here")
NAMES = (
    "walk",
    "=1+1",
    "-",
    "@x",
    "a, \"b\" 'c'",
    "<b>&c",
    "[1.5]",
    "Grüße 😀",
    "a  b",
    "0",
    "{}",
    "# no",
    "!x",
    "C:\\n",
)
FORMULAS = ("=walk, left", 'eats "grass"', "-läuft", "@x|y", "'+a", "rest")  # for programs without the names above
FIRST = st.integers(0, 3_000_000)  # microseconds at which a video begins
STEPS = st.integers(1_100, 90_000)  # microseconds between frames: more than the milliseconds that times are rounded to


@st.composite
def labelled_videos(
    draw, *, first=FIRST, steps=STEPS, name="clip 1%.mp4", names=NAMES, has_groups=False
) -> LabelledVideo:
    """Labels of a video whose rate varies and which begins later than 0; of either kind of classes.

    Where classes have groups, some frames are unlabelled.
    """
    durations = draw(st.lists(steps, min_size=1, max_size=30))
    pts = np.cumsum([draw(first), *durations[:-1]]) / 1e6
    classes = tuple(draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True)))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    num_frames, num_classes = len(durations), len(classes)
    if draw(st.booleans()):
        space = LabelSpace(classes)
        labels = rng.integers(-1, num_classes, num_frames)
        labels[labels < 0] = IGNORE_INDEX
    elif has_groups:
        space = LabelSpace(classes, groups=tuple(draw(st.sampled_from("abc")) for _ in classes))
        labels = _one_of_each_group(space, num_frames, rng)
        labels[rng.random(num_frames) < draw(st.sampled_from([0, 0.2]))] = IGNORE_INDEX
    else:
        space = LabelSpace.independent(classes)
        labels = rng.integers(0, 2, (num_frames, num_classes)).astype(np.int8)
    probabilities = rng.random(labels.shape, np.float32) if draw(st.booleans()) else None
    times = FrameTimes(pts, durations[-1] / 1e6)
    return LabelledVideo(Path("/videos") / name, labels, space, times, 25.0, probabilities)


def _one_of_each_group(space: LabelSpace, num_frames: int, rng: np.random.Generator) -> np.ndarray:
    labels = np.zeros((num_frames, space.num_classes), dtype=np.int8)
    for group in sorted(set(space.groups)):
        members = [index for index, of in enumerate(space.groups) if of == group]
        chosen = rng.integers(-1, len(members), num_frames)
        for position, member in enumerate(members):
            labels[chosen == position, member] = PRESENT
    return labels


def presence(video: LabelledVideo) -> np.ndarray:
    """bool [T, K]: which classes each frame has; unlabelled frames have none."""
    if video.label_space.is_exclusive:
        return video.labels[:, np.newaxis] == np.arange(video.label_space.num_classes)
    return video.labels == PRESENT


def placed(recording: Recording, video: LabelledVideo) -> np.ndarray:
    """bool [T, K]: the events of a recording on the frames of the video, by their times."""
    space, times = video.label_space, video.times
    found = np.zeros((times.num_frames, space.num_classes), bool)
    (media,) = recording.media
    for event in recording.events:
        start, stop = event.start - media.start, event.stop - media.start
        if recording.unit is Unit.SECONDS:
            start, stop = times.segment(start, stop, resolution=recording.resolution)
        found[int(start) : int(stop), space.index(event.label)] = True
    return found


def check_round_trip(foreign: ForeignFormat, video: LabelledVideo, path: Path) -> Document:
    """Write labels, read them, and check that every frame has the same ones."""
    losses = foreign.write(path, [video])
    is_unlabelled = bool((~video.label_space.is_labelled(video.labels)).any())
    assert any("without a label" in loss.kind for loss in losses) == is_unlabelled
    document = foreign.read(path)
    assert not document.losses
    if document.recordings:
        (recording,) = document.recordings
        np.testing.assert_array_equal(placed(recording, video), presence(video))
        assert all((event.score is None) == (video.probabilities is None) for event in recording.events)
    else:
        assert losses
        assert not presence(video).any()
    return document


def made_workbook(target: Path | BytesIO, **sheets: list[list[Any]]) -> Path | BytesIO:
    """Write a workbook with the rows of each sheet, and return where it is."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(target)
    return target


def refusal(path: Path, read: Callable[[Path], object]) -> str:
    """The one sentence with which a file is refused, without its path."""
    with pytest.raises(AnnotationError) as refused:
        read(path)
    (problem,) = refused.value.problems
    assert "\n" not in str(problem)
    return str(problem).removeprefix(str(path))


ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1.5, 10**400),
    *("", "x", "1,5", "-3", "2016-12-01", "1e999", "a\nb", "file://[", "http://["),
    *([], {}, [[]], [None], {"a": 1}),
)


def damaged_json(content: Any, rng: random.Random) -> Any:
    """A copy of a JSON value in which a few parts are taken out, replaced by others, or repeated."""
    content = copy.deepcopy(content)
    for _ in range(rng.randint(1, 4)):
        places = list(_places(content))
        if not places:
            return rng.choice(ODD_VALUES)
        parent, key = rng.choice(places)
        action = rng.randrange(4)
        if action == 0:
            del parent[key]
        elif action == 1 and isinstance(parent, list):
            parent.insert(0, parent[key])
        elif action == 2:
            parent[key] = copy.deepcopy(rng.choice(places)[0])
        else:
            parent[key] = copy.deepcopy(rng.choice(ODD_VALUES))
    return content


def _places(value: Any) -> Iterable[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def damaged_xml(root: ElementTree.Element, rng: random.Random) -> bytes:
    """The text of a tree in which a few elements or attributes are taken out, replaced, or moved."""
    root = copy.deepcopy(root)
    for _ in range(rng.randint(1, 5)):
        elements = list(root.iter())
        chosen, other = rng.choice(elements), rng.choice(elements)
        action = rng.randrange(5)
        if action == 0 and len(chosen):
            chosen.remove(rng.choice(list(chosen)))
        elif action == 1 and chosen.attrib:
            del chosen.attrib[rng.choice(list(chosen.attrib))]
        elif action == 2 and chosen.attrib:
            chosen.set(
                rng.choice(list(chosen.attrib)), rng.choice(["", "x", "-5", "1e999", "1,5", "9" * 400, "ts1", "a1"])
            )
        elif action == 3:
            chosen.tag = other.tag
        else:
            chosen.text = rng.choice([None, "", "x", "-1"])
    return ElementTree.tostring(root)


def damaged_text(text: str, rng: random.Random) -> str:
    """A text that is cut off, or of which some characters or lines are replaced."""
    lines = text.splitlines(keepends=True)
    for _ in range(rng.randint(1, 3)):
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        action = rng.randrange(5)
        if action == 0:
            lines = lines[: at + 1]
        elif action == 1:
            lines[at] = lines[other]
        elif action == 2:
            lines[at] = ""
        elif lines[at]:
            place = rng.randrange(len(lines[at]))
            odd = rng.choice([*string.punctuation, "9" * 400, "\t", "\n", "nan", "", "1,5", "😀"])
            lines[at] = lines[at][:place] + odd + lines[at][place + 1 :]
    return "".join(lines)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A file that is cut off, or of which some bytes are replaced; or some values where it is JSON."""
    how = rng.choice(["values", "cut", "bytes"])
    if how == "values" and content.lstrip()[:1] in (b"{", b"["):
        return json.dumps(damaged_json(json.loads(content), rng)).encode()
    if how == "cut":
        return content[: rng.randrange(len(content) + 1)]
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(changed) + 1)
        changed[at : at + rng.randint(0, 12)] = rng.choice([b"", b"\n", b",", b"NA", rng.randbytes(3)])
    return bytes(changed)


def check_is_read_or_refused(content: bytes, path: Path, read: Callable[[Path], Document]) -> None:
    """Read a damaged file: nothing but AnnotationError may come out, and every event must be usable."""
    path.write_bytes(content)
    try:
        document = read(path)
    except AnnotationError as error:
        document, problems = Document(path, []), [str(problem) for problem in error.problems]
    else:
        problems = []
    assert not any("\n" in problem for problem in problems)
    for recording in document.recordings:
        assert all(isinstance(media.file_name, str) for media in recording.media)
        for event in recording.events:
            assert isinstance(event.label, str)
            assert event.label
            assert np.isfinite(event.start)
            assert event.stop is None or event.start <= event.stop
    for loss in document.losses:
        assert loss.kind
        assert "\n" not in loss.kind + loss.place
    assert all(isinstance(name, str) for name in document.labels())
