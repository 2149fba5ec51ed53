"""Folders of label files are summarized by video and by group, with the times that they or the videos have."""

import csv
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.write import write_frames, write_segments
from pipeline.errors import InputError
from pipeline.metrics.budget_tables import HEADERS, budget_rows, format_summaries, transition_rows, write_tables
from pipeline.metrics.budgets import ALL, Summaries, read_groups, summarize_folder

SPACE = LabelSpace(("rest", "walk"))


def predict(folder: Path, stem: str, labels: list[int]) -> None:
    folder.mkdir(exist_ok=True)
    array = np.array(labels)
    write_frames(folder / f"{stem}.frames.csv", array, probabilities=np.ones(len(array)), label_space=SPACE,
                 pts_seconds=0.5 * np.arange(len(array)))  # fmt: skip


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Two videos of 2 frames per second in two groups."""
    folder = tmp_path / "labels"
    predict(folder, "a", [0, 1, 1, 0])
    predict(folder, "b", [0, 0, 0, 0])
    (tmp_path / "groups.csv").write_text("stem,group\nb,treated\na,control\nother,treated\n")
    return folder


def rows_of(summaries: Summaries) -> list[dict[str, str]]:
    return [dict(zip(HEADERS["budget.csv"], row, strict=True)) for row in budget_rows(summaries)]


def test_videos_and_all_of_them_have_rows_by_hand(labels: Path) -> None:
    summaries = summarize_folder(labels)
    assert [*summaries.groups] == [ALL]
    rows = {(row["stem"], row["class"]): row for row in rows_of(summaries)}
    assert [*rows] == [(stem, name) for stem in ("", "a", "b") for name in ("rest", "walk")]
    assert [*rows["a", "walk"].values()][2:] == [
        "walk", "1", "1", "0.5", "1", "30", "2", "1", "1", "1", "0.5", "4", "2", "2", "2", "1"
    ]  # fmt: skip
    assert [*rows["b", "walk"].values()][2:] == [
        "walk", "1", "0", "0", "0", "0", "2", "0", "", "", "", "4", "0", "", "", ""
    ]  # fmt: skip
    assert [*rows["", "rest"].values()][2:] == [
        "rest", "2", "2", "0.75", "3", "45", "4", "3", "1", "0.5", "0", "8", "6", "2", "1", "0"
    ]  # fmt: skip
    assert [*transition_rows(summaries)] == [
        [ALL, "", "rest", "walk", "1", "1"], [ALL, "", "walk", "rest", "1", "1"],
        [ALL, "a", "rest", "walk", "1", "1"], [ALL, "a", "walk", "rest", "1", "1"],
    ]  # fmt: skip
    assert format_summaries(summaries).splitlines()[2].split() == [
        "rest",
        "75.0",
        "3",
        "45.0",
        "3.0",
        "1.0",
        "0.5",
        "0.0",
    ]


def test_groups_are_those_of_the_table(labels: Path, tmp_path: Path) -> None:
    summaries = summarize_folder(labels, groups=tmp_path / "groups.csv")
    assert summaries.groups == {"control": ["a"], "treated": ["b"]}
    assert [(row["group"], row["stem"]) for row in rows_of(summaries)][::2] == [
        ("control", ""), ("treated", ""), ("control", "a"), ("treated", "b")
    ]  # fmt: skip
    assert [*summaries.bars(0)] == ["control", "treated"]
    assert [*summarize_folder(labels).bars(1)] == [ALL]
    assert [*summarize_folder(labels).bars(2)] == ["a", "b"]


def test_labels_without_times_give_frames_only(labels: Path) -> None:
    (labels / "b.frames.csv").unlink()
    (labels / "b.txt").write_text("rest\n" * 4)
    summaries = summarize_folder(labels)
    assert summaries.without_times == ["b"]
    seconds = [name for name in HEADERS["budget.csv"] if name.endswith("seconds") or name == "bouts_per_minute"]
    for row in rows_of(summaries):
        assert all((row[name] == "") for name in seconds) or row["stem"] == "a"
        assert row["share"]
    assert "total (frames)" in format_summaries(summaries)


def test_times_of_videos_are_preferred_and_give_the_length(tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / "a.csv").write_text("start,stop,class\n1,3,eat\n")
    (tmp_path / "classes.csv").write_text("class,group\neat,eat\ngroom,groom\n")
    assert summarize_folder(folder).without_length == ["a"]
    summaries = summarize_folder(folder, edges=lambda stem: np.arange(5.0))
    (bouts, _) = summaries.videos["a"].bouts
    assert (bouts.labelled_seconds, bouts.share, bouts.latency_seconds) == (4, 0.5, 1)
    assert (summaries.without_length, summaries.without_times) == ([], [])


def test_what_nobody_looked_at_does_not_count(labels: Path) -> None:
    (labels / "scored.csv").write_text("stem,start,stop\na,1,3\n")
    rest, walk = summarize_folder(labels).videos["a"].bouts
    assert (rest.num_bouts, walk.share, walk.labelled_seconds) == (0, 1, 1)


def test_a_video_that_cannot_be_used_costs_no_other_one(labels: Path) -> None:
    (labels / "c.frames.csv").write_text("frame,time_seconds,label,probability\n0,1,rest,1\n1,1,rest,1\n")
    (labels / "d.txt").write_text("rest\nrest\n")

    def edges(stem: str) -> np.ndarray | None:
        if stem == "b":
            raise InputError("b.mp4: is damaged")
        return np.arange(8.0) if stem == "d" else None

    summaries = summarize_folder(labels, edges=edges)
    assert [*summaries.videos] == ["a"]
    assert [failure.partition(": ")[2] for failure in summaries.failures] == [
        "its video cannot be used: b.mp4: is damaged",
        "got the time 1.0 s for frame 1, expected one after that of the frame before",
        "got 2 labels for 7 frames of its video: they are of different videos or frame rates",
    ]
    for path in labels.glob("[abd].*"):
        path.unlink()
    with pytest.raises(AnnotationError, match="got the time"):
        summarize_folder(labels)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stem,group\na,x\n", "has no row for 'b': expected the group of each label file"),
        ("stem,group\na,x\na,y\nb,x\n", ":3: 'a' is here a second time, in another group"),
        ("stem,group\na,\nb,x\n", ":2: got a,: expected a stem and its group"),
        ("video,group\na,x\n", "got the header 'video,group', expected 'stem,group'"),
    ],
)
def test_groups_that_do_not_fit_are_refused(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(AnnotationError) as refused:
        read_groups(tmp_path / "groups.csv", ["a", "b"])
    assert expected in str(refused.value)


def test_segments_and_frames_of_the_same_labels_have_the_same_summary(labels: Path, tmp_path: Path) -> None:
    array = np.array([0, 1, 1, 0])
    other = tmp_path / "segments"
    other.mkdir()
    write_segments(other / "a.segments.csv", array, probabilities=np.ones(4), pts_seconds=0.5 * np.arange(4),
                   label_space=SPACE, frame_duration_seconds=0.5)  # fmt: skip
    (labels / "b.frames.csv").unlink()
    for name, folder in (("one", labels), ("two", other)):
        (tmp_path / name).mkdir()
        write_tables(tmp_path / name, summarize_folder(folder))
    for name in HEADERS:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_no_name_is_a_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    array = np.array([0, 1, 0])
    write_frames(tmp_path / "labels/-x.frames.csv", array, probabilities=np.ones(3), pts_seconds=np.arange(3.0),
                 label_space=LabelSpace(("=1+1", "@SUM(A1)")))  # fmt: skip
    (tmp_path / "groups.csv").write_text("stem,group\n-x,+y\n")
    write_tables(tmp_path, summarize_folder(tmp_path / "labels", groups=tmp_path / "groups.csv"))
    for name in HEADERS:
        with (tmp_path / name).open(newline="") as file:
            cells = {cell for row in csv.reader(file) for cell in row}
        assert cells >= {"'=1+1", "'@SUM(A1)", "'-x", "'+y"}
        assert not [cell for cell in cells if cell.startswith(("=", "@", "-", "+"))]
