"""What no file of another program keeps is said when it is written, and the rest comes back."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_exchanges import placed, presence

from pipeline.annotations.foreign.base import LabelledVideo
from pipeline.annotations.foreign.document import Document, Loss
from pipeline.annotations.foreign.registry import foreign_format
from pipeline.annotations.foreign.unkept import CHANGED, CLOSE
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.times import FrameTimes

IN_SECONDS = {"boris": "a.boris", "boris-table": "a.csv", "elan": "a.eaf", "activitynet": "a.json", "via": "a.csv"}
ALL = IN_SECONDS | {"praat": "a.TextGrid", "label-studio": "a.json"}


def exchanged(name: str, video: LabelledVideo, folder: Path) -> tuple[list[Loss], Document]:
    form = foreign_format(name)
    assert form is not None
    assert form.write is not None
    assert form.read is not None
    return form.write(folder / ALL[name], [video]), form.read(folder / ALL[name])


@pytest.mark.parametrize("name", IN_SECONDS)
@given(
    steps=st.lists(st.integers(200, 3_000), min_size=1, max_size=20),
    start=st.integers(0, 5_000_000),
    seed=st.integers(0, 1 << 32),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_frames_come_back_or_are_too_close(name: str, steps: list[int], start: int, seed: int, tmp_path: Path) -> None:
    pts = np.cumsum([start, *steps[:-1]]) / 1e6
    labels = np.random.default_rng(seed).integers(0, 2, len(steps))
    times = FrameTimes(pts, steps[-1] / 1e6)
    video = LabelledVideo(Path("clips/day 1.mp4"), labels, LabelSpace(("a", "b")), times, 10.0)
    losses, document = exchanged(name, video, tmp_path)
    if not any(loss.kind == CLOSE for loss in losses):
        np.testing.assert_array_equal(placed(document.recordings[0], video), presence(video))


def video_named(video: str, *classes: str) -> LabelledVideo:
    times = FrameTimes(np.arange(len(classes)) / 10, 0.1)
    return LabelledVideo(Path(video), np.arange(len(classes)), LabelSpace(classes), times, 10.0)


@pytest.mark.parametrize("name", ALL)
def test_blanks_at_the_end_of_a_class_are_said_to_be_lost(name: str, tmp_path: Path) -> None:
    losses, document = exchanged(name, video_named("a.mp4", " a", "b b"), tmp_path)
    assert [loss.what for loss in losses if loss.kind == CHANGED] == ["' a'"]
    assert {event.label for event in document.recordings[0].events} == {"a", "b b"}


@pytest.mark.parametrize("name", ["via", "boris-table", "activitynet"])
@pytest.mark.parametrize("video", ["a;b.mp4", "a|b.mp4", "player #2:.mp4", "a player #2:b;c.mp4", " a.mp4", "a\n.mp4"])
def test_any_name_of_a_video_comes_back_or_is_said_to_be_lost(name: str, video: str, tmp_path: Path) -> None:
    losses, document = exchanged(name, video_named(str(tmp_path / video), "a", "b"), tmp_path)
    (media,) = document.recordings[0].media
    written = Path(video).stem if name == "activitynet" else video
    assert media.file_name == written or [loss.kind for loss in losses] == [CHANGED]
    assert not document.losses
