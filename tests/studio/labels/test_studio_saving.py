import csv
import io
import shutil
import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_labels import EXCLUSIVE, OVERLAPPING, GivenClocks, make_dataset, places_of

from pipeline.annotations.formats.scored import read_scored
from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.annotations.segments import Segment
from pipeline.errors import InputError
from pipeline.studio.labels.backups import Backups
from pipeline.studio.labels.edits import Mark
from pipeline.studio.labels.files import LabelFiles, OnDisk, digest
from pipeline.studio.labels.saving import carry_out, content_of, make_plan
from pipeline.studio.labels.table_rows import with_rows
from pipeline.studio.labels.tracks import Tracks
from pipeline.studio.places import Video, id_of

T = 9
TIMES = GivenClocks({"clip": T}).clock(Video(id_of("clip"), Path("clip.mp4"))).times


def save(root: Path, space: LabelSpace, tracks: Tracks, *, marks: tuple[Mark, ...] = (), stem: str = "clip") -> OnDisk:
    """Write labels and marks into a data set, and read them again."""
    places = places_of(root)
    files, backups = LabelFiles(places), Backups(root / ".studio" / "backups")
    video = places.find_videos()[id_of(stem)]
    disk = files.read(video, TIMES, space)
    assert not disk.problems
    new, old = content_of(tracks, marks, TIMES), content_of(disk.tracks, disk.marks, TIMES)
    plan = make_plan(files, video, disk, tracks, new, old)
    carry_out(plan, backups)
    found = LabelFiles(places).read(video, TIMES, space)
    assert found.parts == plan.parts
    return found


def exclusive_labels() -> st.SearchStrategy[np.ndarray]:
    values = st.sampled_from([IGNORE_INDEX, 0, 1, 2])
    return st.lists(values, min_size=T, max_size=T).map(lambda row: np.array(row, dtype=np.int64))


def overlapping_labels() -> st.SearchStrategy[np.ndarray]:
    value = st.sampled_from([IGNORE_INDEX, ABSENT, PRESENT])
    row = st.tuples(value, value, value).filter(lambda found: found[:2] != (PRESENT, PRESENT))
    return st.lists(row, min_size=T, max_size=T).map(lambda rows: np.array(rows, dtype=np.int8))


LABELS = st.one_of(
    exclusive_labels().map(lambda labels: (EXCLUSIVE, labels)),
    overlapping_labels().map(lambda labels: (OVERLAPPING, labels)),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(LABELS, st.data())
def test_labels_are_read_as_they_were_written_with_what_is_unknown(
    tmp_path: Path, given_labels: tuple[LabelSpace, np.ndarray], data: st.DataObject
) -> None:
    space, first = given_labels
    second = data.draw(exclusive_labels() if space.is_exclusive else overlapping_labels())
    shutil.rmtree(tmp_path / "data", ignore_errors=True)
    root = make_dataset(tmp_path / "data", space, "clip", "other")
    for labels in (first, second, first):
        tracks = Tracks.from_labels(labels, space)
        for frame in data.draw(st.sets(st.integers(1, T - 1))):
            tracks.cut(0, frame)
        found = save(root, space, tracks)
        assert not found.problems
        assert np.array_equal(found.tracks.to_labels(), labels)
        assert found.tracks.segments() == tracks.segments()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(overlapping_labels(), overlapping_labels())
def test_what_was_looked_at_in_other_videos_stays(tmp_path: Path, mine: np.ndarray, others: np.ndarray) -> None:
    shutil.rmtree(tmp_path / "data", ignore_errors=True)
    root = make_dataset(tmp_path / "data", OVERLAPPING, "clip", "other")
    save(root, OVERLAPPING, Tracks.from_labels(others, OVERLAPPING), stem="other")
    save(root, OVERLAPPING, Tracks.from_labels(mine, OVERLAPPING))
    files = LabelFiles(places_of(root))
    other = files.places.find_videos()[id_of("other")]
    assert np.array_equal(files.read(other, TIMES, OVERLAPPING).tracks.to_labels(), others)


def test_rows_of_other_videos_stay_to_the_byte(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, OVERLAPPING, "clip", "other")
    kept = b'stem,start,stop,class\r\n other ,0,"3",eats\r\n\r\n"other",3,4,\r\n'
    (root / "scored.csv").write_bytes(kept + b"clip,0,1,\r\nother,5,6,rears")
    labels = np.full((T, 3), ABSENT, dtype=np.int8)
    labels[2:4, 2] = IGNORE_INDEX
    save(root, OVERLAPPING, Tracks.from_labels(labels, OVERLAPPING))
    written = (root / "scored.csv").read_bytes()
    new = b"clip,0,2,\r\nclip,4,9,\r\nclip,2,4,eats\r\nclip,2,4,sleeps\r\n"
    assert written == kept + b"other,5,6,rears\r\n" + new


def test_a_table_without_a_column_for_classes_gets_one(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, OVERLAPPING, "clip", "other")
    (root / "scored.csv").write_bytes("\ufeffstem;start;stop\nöther;0;3\nother;3;4\n".encode())
    labels = np.full((T, 3), IGNORE_INDEX, dtype=np.int8)
    labels[0:2, 1] = PRESENT
    save(root, OVERLAPPING, Tracks.from_labels(labels, OVERLAPPING))
    written = (root / "scored.csv").read_bytes().decode()
    assert written == "\ufeffstem;start;stop;class\nöther;0;3;\nother;3;4;\nclip;0;2;sleeps\n"
    assert read_scored(root / "scored.csv", OVERLAPPING)["other"] == [(3, 3, 4, None)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
def test_a_table_keeps_its_encoding_and_its_separator(encoding: str) -> None:
    content = "stem\tclass\r\nclip\twalk\r\na;b\trest\r\n".encode(encoding)
    found = with_rows(content, ("stem", "class"), {"clip": []})
    assert found == "stem\tclass\r\na;b\trest\r\n".encode(encoding)


def test_a_new_table_quotes_names_as_csv_does() -> None:
    found = with_rows(b"", ("stem", "class"), {'a,"b"': [('a,"b"', "=1+1")]})
    assert list(csv.reader(io.StringIO(found.decode()))) == [["stem", "class"], ['a,"b"', "=1+1"]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("clip.txt", "walk\n" * 4 + "\n" * 5),
        ("clip.tsv", "start\tstop\tclass\n0\t4\twalk\n"),
        ("clip.csv", "class,stop,start,comment\nwalk,4,0,'nice'\n"),
        ("clip.mp4.csv", "start,stop,class\n0,4,walk\n"),
        ("clip.csv", "start_seconds,stop_seconds,class\n0,0.16,walk\n"),
        ("clip.csv", "frame,class\n" + "".join(f"{f},{'walk' if f < 4 else ''}\n" for f in range(T))),
        ("clip.csv", "walk,rest,jump\n" + "1,0,0\n" * 4 + ",,\n" * 5),
        ("clip.segments.csv", "start,stop,start_seconds,stop_seconds,label,probability\n0,4,0,0.16,walk,0.9\n"),
    ],
)
def test_a_label_file_of_another_layout_is_replaced_and_kept_as_a_copy(tmp_path: Path, name: str, content: str) -> None:
    root = make_dataset(tmp_path, EXCLUSIVE, "clip")
    (root / "labels").mkdir()
    (root / "labels" / name).write_text(content)
    labels = np.array([0, 0, 0, 0, *[IGNORE_INDEX] * 5])
    tracks = Tracks.from_labels(labels, EXCLUSIVE)
    assert save(root, EXCLUSIVE, tracks).source == name  # nothing has changed, and nothing is written
    assert (root / "labels" / name).read_text() == content
    tracks.paint(0, 6, 8, 2)
    found = save(root, EXCLUSIVE, tracks)
    assert found.source == (name if name == "clip.mp4.csv" else "clip.csv")
    assert [path.name for path in (root / "labels").iterdir()] == [found.source]
    assert (root / "labels" / found.source).read_text() == "start,stop,class\n0,4,walk\n6,8,jump\n"
    (copy,) = (root / ".studio" / "backups").iterdir()
    assert copy.name.startswith(f"{name}.")
    assert copy.read_text() == content


def test_the_two_files_of_a_model_are_replaced_together(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, EXCLUSIVE, "clip")
    (root / "labels").mkdir()
    rows = "".join(f"{f},{f / 25:.6f},{'walk' if f < 4 else 'rest'},0.9\n" for f in range(T))
    (root / "labels" / "clip.frames.csv").write_text("frame,time_seconds,label,probability\n" + rows)
    segments = "start,stop,start_seconds,stop_seconds,label,probability\n0,4,0,0.16,walk,0.9\n4,9,0.16,0.36,rest,0.9\n"
    (root / "labels" / "clip.segments.csv").write_text(segments)
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1])
    found = save(root, EXCLUSIVE, Tracks.from_labels(labels, EXCLUSIVE))
    assert np.array_equal(found.tracks.to_labels(), labels)
    assert [path.name for path in (root / "labels").iterdir()] == ["clip.csv"]
    assert len([*(root / ".studio" / "backups").iterdir()]) == 2


def test_the_class_of_a_whole_video_goes_from_labels_csv_into_its_own_file(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, EXCLUSIVE, "clip", "other")
    content = "stem,class\nother,rest\nclip,walk\n"
    (root / "labels.csv").write_text(content)
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1])
    found = save(root, EXCLUSIVE, Tracks.from_labels(labels, EXCLUSIVE))
    assert np.array_equal(found.tracks.to_labels(), labels)
    assert (root / "labels.csv").read_text() == "stem,class\nother,rest\n"
    (copy,) = (root / ".studio" / "backups").iterdir()
    assert copy.read_text() == content


@pytest.mark.parametrize("space", [EXCLUSIVE, OVERLAPPING])
def test_a_video_without_any_label_has_no_label_file(tmp_path: Path, space: LabelSpace) -> None:
    root = make_dataset(tmp_path, space, "clip")
    labels = space.unlabelled(T)
    labels[0] = 0
    save(root, space, Tracks.from_labels(labels, space))
    found = save(root, space, Tracks.empty(T, space))
    assert not [*(root / "labels").iterdir()]
    assert found.tracks.num_labelled == 0


def test_a_video_in_which_no_class_was_seen_is_labelled(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, OVERLAPPING, "clip")
    labels = np.full((T, 3), ABSENT, dtype=np.int8)
    found = save(root, OVERLAPPING, Tracks.from_labels(labels, OVERLAPPING))
    assert (root / "labels" / "clip.csv").read_text() == "start,stop,class\n"
    assert not (root / "scored.csv").exists()
    assert np.array_equal(found.tracks.to_labels(), labels)


def test_ranges_that_would_take_exclusive_labels_away_go(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, EXCLUSIVE, "clip", "other")
    (root / "scored.csv").write_text("stem,start,stop\nother,0,2\nclip,0,4\n")
    inside = np.array([0, 0, *[IGNORE_INDEX] * 7])
    save(root, EXCLUSIVE, Tracks.from_labels(inside, EXCLUSIVE))
    assert "clip" in (root / "scored.csv").read_text()
    save(root, EXCLUSIVE, Tracks.from_labels(np.zeros(T, dtype=np.int64), EXCLUSIVE))
    assert (root / "scored.csv").read_text() == "stem,start,stop\nother,0,2\n"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_the_label_file_is_found_in_any_form_of_a_name(tmp_path: Path, form: Literal["NFC", "NFD"]) -> None:
    root = make_dataset(tmp_path, EXCLUSIVE, unicodedata.normalize("NFC", 'café, "größe" =1'))
    (root / "labels").mkdir()
    name = unicodedata.normalize(form, 'café, "größe" =1.csv')
    (root / "labels" / name).write_text("start,stop,class\n0,4,walk\n")
    labels = np.ones(T, dtype=np.int64)
    found = save(root, EXCLUSIVE, Tracks.from_labels(labels, EXCLUSIVE), stem='café, "größe" =1')
    assert np.array_equal(found.tracks.to_labels(), labels)
    assert [path.name for path in (root / "labels").iterdir()] == [name]


def test_names_of_classes_may_be_anything_that_a_list_can_hold(tmp_path: Path) -> None:
    space = LabelSpace(('a,"b"', "=1+1", "<script>", "sep=;", "größer"))
    root = make_dataset(tmp_path, space, "clip")
    labels = np.array([0, 1, 2, 3, 4, 4, 1, 0, 3])
    assert np.array_equal(save(root, space, Tracks.from_labels(labels, space)).tracks.to_labels(), labels)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50)
MARKS = st.tuples(st.integers(0, T - 1), TEXT, TEXT)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(MARKS, max_size=5))
def test_marks_are_read_as_they_were_written(tmp_path: Path, found: list[tuple[int, str, str]]) -> None:
    shutil.rmtree(tmp_path / "data", ignore_errors=True)
    root = make_dataset(tmp_path / "data", EXCLUSIVE, "clip")
    marks = tuple(Mark(f"m{number}", *mark) for number, mark in enumerate(found, start=1))
    disk = save(root, EXCLUSIVE, Tracks.empty(T, EXCLUSIVE), marks=marks)
    assert disk.marks == marks
    assert (root / "notes" / "clip.csv").exists() == bool(marks)
    assert not (root / "labels").exists()


def test_a_spreadsheet_computes_nothing_from_marks(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, EXCLUSIVE, "clip")
    save(root, EXCLUSIVE, Tracks.empty(T, EXCLUSIVE), marks=(Mark("m1", 2, "=1+1", "@x\nb"),))
    content = (root / "notes" / "clip.csv").read_text()
    assert content == "frame,time_seconds,name,text\n2,0.080000,'=1+1,\"'@x\nb\"\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"frame,text\n", "header"),
        (b"", "header"),
        (b"frame,time_seconds,name,text\n9,0,a,b\n", "from 0 to 8"),
        (b"frame,time_seconds,name,text\n1,0,a\n", "4 columns"),
        (b"frame,time_seconds,name,text\n-1,0,a,b\n", "from 0 to 8"),
        (b'frame,time_seconds,name,text\n1,0,a,"b\n', "double quote"),
        (b"frame,time_seconds,name,text\n1,0,a,\xff\n", "UTF-8"),
        (b"frame,time_seconds,name,text\n1,0,%b,b\n" % (b"a" * 201), "201 characters"),
    ],
)
def test_notes_that_cannot_be_read_are_a_problem(tmp_path: Path, content: bytes, message: str) -> None:
    root = make_dataset(tmp_path, EXCLUSIVE, "clip")
    (root / "notes").mkdir()
    (root / "notes" / "clip.csv").write_bytes(content)
    files = LabelFiles(places_of(root))
    (problem,) = files.read(files.places.find_videos()[id_of("clip")], TIMES, EXCLUSIVE).problems
    assert problem.startswith("notes/clip.csv: ")
    assert message in problem


def test_copies_are_made_once_and_never_written_over(tmp_path: Path) -> None:
    backups, path = Backups(tmp_path / "backups"), tmp_path / "clip.csv"
    backups.keep(path)  # there is none yet
    for content in (b"first", b"second", b"first"):
        path.write_bytes(content)
        backups.keep(path)
        backups.keep(path)
    path.write_bytes(b"by the studio")
    backups.note_own(digest(b"by the studio"))
    backups.keep(path)
    assert sorted(copy.read_bytes() for copy in (tmp_path / "backups").iterdir()) == [b"first", b"second"]


def test_segments_of_one_class_that_touch_stay_two_rows(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, EXCLUSIVE, "clip")
    tracks = Tracks.from_labels(np.zeros(T, dtype=np.int64), EXCLUSIVE)
    tracks.cut(0, 4)
    assert save(root, EXCLUSIVE, tracks).tracks.segments() == [Segment(0, 4, 0), Segment(4, 9, 0)]


@pytest.mark.parametrize("name", ["scored.csv", "labels.csv"])
def test_a_table_of_all_videos_that_cannot_be_read_is_a_problem_until_it_is_solved(tmp_path: Path, name: str) -> None:
    root = make_dataset(tmp_path, OVERLAPPING, "clip")
    (root / name).write_text("nonsense\n1\n")
    files = LabelFiles(places_of(root))
    video = files.places.find_videos()[id_of("clip")]
    for _ in range(2):
        assert files.read(video, TIMES, OVERLAPPING).problems[0].startswith(f"{name}:1: ")
    (root / name).unlink()
    assert not files.read(video, TIMES, OVERLAPPING).problems


def test_a_link_out_of_the_data_set_says_nothing_of_what_is_there(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "data", OVERLAPPING, "clip")
    (tmp_path / "secret").write_text("a secret")
    (root / "scored.csv").symlink_to(tmp_path / "secret")
    files = LabelFiles(places_of(root))
    (problem,) = files.read(files.places.find_videos()[id_of("clip")], TIMES, OVERLAPPING).problems
    assert "link out of the data set" in problem
    assert "a secret" not in problem


def test_a_name_that_a_table_cannot_keep_is_refused_rather_than_told_wrongly(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, OVERLAPPING, " clip")
    labels = OVERLAPPING.unlabelled(T)
    labels[0, 0] = PRESENT
    with pytest.raises(InputError, match="rename the video"):
        save(root, OVERLAPPING, Tracks.from_labels(labels, OVERLAPPING), stem=" clip")
    assert not (root / "labels").exists()
