"""The times of frames come back from the files that have them."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.read import read_edges
from pipeline.annotations.write import write_frames, write_segments

SPACE = LabelSpace(("rest", "walk"))
PAIR = LabelSpace.independent(("rest", "walk"))


def columns(labels: np.ndarray, pts: np.ndarray, space: LabelSpace) -> dict:
    return {"probabilities": np.ones(labels.shape), "pts_seconds": pts, "label_space": space}


@pytest.mark.parametrize("space", [SPACE, PAIR])
def test_frames_have_their_times_and_the_last_one_lasts_as_long_as_the_median(space: LabelSpace, tmp_path: Path):
    labels = np.array([0, 1, 1, 0]) if space.is_exclusive else np.array([[0, 1]] * 4, dtype=np.int8)
    path = tmp_path / "clip.frames.csv"
    write_frames(path, labels, **columns(labels, np.array([0.5, 0.6, 0.7, 1.7]), space))
    np.testing.assert_allclose(read_edges(path, 4), [0.5, 0.6, 0.7, 1.7, 1.8])


@given(st.lists(st.integers(0, 1), min_size=1, max_size=20), st.data())
def test_segments_have_the_times_at_which_they_start_and_stop(values: list[int], data: st.DataObject):
    labels = np.array(values)
    steps = data.draw(st.lists(st.integers(1, 500), min_size=len(labels), max_size=len(labels)))
    edges = np.cumsum([250, *steps]) / 1000
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.segments.csv"
        write_segments(path, labels, **columns(labels, edges[:-1], SPACE), frame_duration_seconds=steps[-1] / 1000)
        found = read_edges(path, len(labels))
    borders = [0, *(np.flatnonzero(np.diff(labels)) + 1), len(labels)]
    np.testing.assert_allclose(found[borders], edges[borders])
    assert (np.diff(found) > 0).all()


def test_frames_outside_of_all_segments_are_as_long_as_the_others_in_the_mean(tmp_path: Path):
    path = tmp_path / "clip.segments.csv"
    path.write_text("start,stop,start_seconds,stop_seconds,label,probability\n2,6,1.0,3.0,a,1\n4,8,2.5,4.0,b,1\n")
    np.testing.assert_allclose(read_edges(path, 10), [0, 0.5, 1, 1.75, 2.5, 2.75, 3, 3.5, 4, 4.5, 5])


def test_labels_without_times_have_none(tmp_path: Path):
    labels = np.array([0, 1])
    write_frames(tmp_path / "a.frames.csv", labels, **columns(labels, np.full(2, np.nan), SPACE))
    write_frames(tmp_path / "b.frames.csv", labels[:1], **columns(labels[:1], np.zeros(1), SPACE))
    (tmp_path / "c.txt").write_text("rest\nwalk\n")
    (tmp_path / "d.segments.csv").write_text("start,stop,start_seconds,stop_seconds,label,probability\n")
    # People's own tables, whose names are those of files with times.
    (tmp_path / "e.segments.csv").write_text("start,stop,class\n0,10,walk\n")
    (tmp_path / "f.segments.csv").write_text("class,stop,start\nwalk,10,0\n")
    (tmp_path / "g.frames.csv").write_text("frame,class\n0,rest\n1,walk\n")
    assert [read_edges(path, 2) for path in sorted(tmp_path.iterdir())] == [None] * 7


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (("0", "0:01"), ":3: got '0:01', expected a time in seconds"),
        (("0", "nan"), ":3: got 'nan', expected a time in seconds"),
        (("1", "1"), ":3: got the time 1.0 s for frame 1, expected one after that of the frame before"),
    ],
)
def test_times_that_cannot_be_right_are_refused(times: tuple[str, str], expected: str, tmp_path: Path):
    path = tmp_path / "clip.frames.csv"
    path.write_text(f"frame,time_seconds,label,probability\n0,{times[0]},rest,1\n1,{times[1]},rest,1\n")
    with pytest.raises(AnnotationError) as refused:
        read_edges(path, 2)
    assert str(refused.value).endswith(expected)
