"""Tables of frames and phases or tools are read as Cholec80 has them, every nth frame too."""

from pathlib import Path

import pytest

from pipeline.annotations.foreign.document import Document, Event, Span
from pipeline.annotations.foreign.frame_table import FORMAT
from pipeline.annotations.problems import AnnotationError

PHASES = "Frame\tPhase\n0\tPreparation\n1\tPreparation\n2\tClippingCutting\n"
TOOLS = "Frame\tGrasper\tBipolar\n0\t1\t0\n25\t1\t1\n50\t0\t0\n"


def read(tmp_path: Path, text: str, name: str = "video01-phase.txt") -> Document:
    (tmp_path / name).write_text(text)
    return FORMAT.read(tmp_path / name)


def test_phases_are_exclusive(tmp_path: Path) -> None:
    document = read(tmp_path, PHASES)
    assert (document.classes, document.may_overlap) == (["ClippingCutting", "Preparation"], False)
    (recording,) = document.recordings
    assert recording.events == [
        Event(0, 2, "Preparation", place="line 2"),
        Event(2, 3, "ClippingCutting", place="line 4"),
    ]
    assert (recording.name, recording.num_frames, recording.scored) == ("video01", 3, None)
    assert document.notes == []


def test_a_row_for_every_25th_frame_stands_for_25_frames(tmp_path: Path) -> None:
    document = read(tmp_path, TOOLS, "video01-tool.txt")
    assert (document.classes, document.may_overlap) == (["Grasper", "Bipolar"], True)
    (recording,) = document.recordings
    assert [(event.start, event.stop, event.label) for event in recording.events] == [
        (0, 50, "Grasper"), (25, 50, "Bipolar")
    ]  # fmt: skip
    assert (recording.name, recording.num_frames, recording.scored) == ("video01", None, [Span(0, 75)])
    assert document.notes == ["It has a row for every 25 frames, and each row stands for 25 frames."]


@pytest.mark.parametrize(
    ("first", "start", "scored", "note"),
    [
        (1, 0, None, "Its frames are numbered from 1."),
        (7, 7, [Span(7, 9)], "It begins at frame 7; those before count as unlabelled."),
    ],
)
def test_numbers_from_1_are_moved_and_later_ones_are_not(
    first: int, start: int, scored: list[Span] | None, note: str, tmp_path: Path
) -> None:
    document = read(tmp_path, f"frame,phase\n{first},cut\n{first + 1},sew\n", "a.csv")
    (recording,) = document.recordings
    assert [event.start for event in recording.events] == [start, start + 1]
    assert (recording.num_frames, recording.scored) == (start + 2, scored)
    assert document.notes == [note]


def test_missing_rows_and_rows_without_a_number_are_counted(tmp_path: Path) -> None:
    document = read(tmp_path, "Frame\tPhase\n0\ta\n2\ta\n4\ta\nx\ta\n10\tb\n")
    assert [(loss.place, loss.what) for loss in document.losses] == [
        ("line 5", "'x'"),
        ("after line 4", "frames 6 to 9"),
    ]
    assert document.recordings[0].scored == [Span(0, 6), Span(10, 12)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Phase\tFrame\na\t0\n", "got the first column 'Phase', expected 'Frame'"),
        ("Frame\n0\n", "got the first column 'Frame', expected 'Frame' and at least one more"),
        ("Frame\tPhase\n00:00:01\ta\n", ":2: got '00:00:01' in the column 'Frame', expected the number of a frame: it"),
        ("Frame\tPhase\n", ":1: got '' in the column 'Frame', expected the number of a frame"),
        ("Frame\tPhase\n0\ta\n2\ta\n4\ta\n1\ta\n", ":5: got frame 1, expected 6: the frames of the rows ascend"),
        ("Frame\tPhase\n0\ta\n2\ta\n4\ta\n7\ta\n", ":5: got frame 7, expected 6"),
        ("Frame\tPhase\n0\ta\n1\ta\n99999999999\ta\n", "has frames up to 99,999,999,999 in 3 rows"),
        ("Frame\tA\tB\n0\tx\ty\n", "has no column with a class, or with 0 and 1. Columns with other cells"),
        ("Frame\tA\tA\n0\t1\t1\n", "names a class twice: 'A'"),
        ("Frame\tPhase\n0\t\n1\t\n", "has no column with a class"),
    ],
)
def test_another_table_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError) as refused:
        read(tmp_path, text)
    assert expected in str(refused.value)


def test_missing_rows_of_many_columns_do_not_fill_the_memory(tmp_path: Path) -> None:
    header = "\t".join(f"tool {index}" for index in range(300))
    rows = (f"{frame}" + "\t0" * 300 for frame in (0, 1, 2, 9_999_998))
    with pytest.raises(AnnotationError, match="has frames up to 9,999,998 in 4 rows and 300 columns, expected at most"):
        read(tmp_path, "\n".join([f"Frame\t{header}", *rows]))
