"""Annotations of other programs become a data set: on the right frames, and nothing is lost in silence."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_videos import MakeVideo

from pipeline.annotations.foreign.base import ForeignFormat
from pipeline.annotations.foreign.document import Document, Event, Loss, Media, Recording, Span, Unit
from pipeline.annotations.foreign.placing import Choices
from pipeline.annotations.layouts import IMPORT_REPORT
from pipeline.annotations.problems import AnnotationError, Problem
from pipeline.datasets.scan import scan_dataset
from pipeline.datasets.scanned import Scan
from pipeline.errors import InputError
from pipeline.interchange.dataset import write_dataset
from pipeline.interchange.imported import Imported, ImportOptions
from pipeline.interchange.importing import import_files
from pipeline.interchange.recognition import ForeignFile
from pipeline.interchange.videos import VideoFolder

FRAMES = 40  # of each video, at 25 frames per second
CLIP = (Media("C:\\far\\away\\clip.mp4"),)


@pytest.fixture
def videos(make_video: MakeVideo, tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    for name in ("clip.mp4", "deep/other.mkv"):
        path = make_video(Path(name).name, num_frames=FRAMES, size=(64, 48))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        path.rename(folder / name)
    return folder


def imported(videos: Path, *documents: Document, options: ImportOptions | None = None) -> Imported:
    contents = {document.path: document for document in documents}
    layout = ForeignFormat("test", "Test", (".test",), "", "", lambda path, head: False, read=contents.__getitem__)
    files = [ForeignFile(path, layout) for path in contents]
    return import_files(files, VideoFolder(videos), options or ImportOptions())


def document(*events: Event, name: str = "day.test", media: tuple[Media, ...] = CLIP, **options) -> Document:
    recording = Recording("day", media, events=list(events), **options)
    return Document(Path(name), [recording])


def segments(found: Imported, stem: str = "clip") -> list[tuple[int, int, str]]:
    return [segment[:3] for segment in found.videos[stem].segments]


def kinds(found: Imported) -> dict[str, int]:
    return {kind.partition(":")[0]: loss.count for kind, loss in found.losses.by_kind().items()}


def written(folder: Path, found: Imported) -> Scan:
    write_dataset(folder, found)
    scan = scan_dataset(folder)
    assert [str(problem) for problem in scan.all_problems()] == []
    return scan


def test_times_become_frames_and_the_data_set_has_no_problem(videos: Path, tmp_path: Path) -> None:
    found = imported(videos, document(Event(0.0, 0.4, "walk"), Event(0.41, 0.8, "rest"), Event(0.8, 1.6, "walk")))
    assert segments(found) == [(0, 10, "walk"), (10, 20, "rest"), (20, 40, "walk")]
    scan = written(tmp_path / "data", found)
    assert scan.label_space.classes == ("walk", "rest")
    assert scan.label_space.is_exclusive
    assert scan.labels["clip"].tolist() == [0] * 10 + [1] * 10 + [0] * 20
    assert (tmp_path / "data" / "videos" / "clip.mp4").stat().st_nlink == 2


def test_events_that_overlap_make_classes_that_may(videos: Path, tmp_path: Path) -> None:
    found = imported(videos, document(Event(0.0, 0.4, "walk"), Event(0.2, 0.8, "eat")))
    assert found.label_space.groups == ("walk", "eat")
    labels = written(tmp_path / "data", found).labels["clip"]
    assert labels.sum(axis=0).tolist() == [10, 15]
    assert labels.dtype == np.int8


def test_media_that_follow_one_another_each_get_their_part(videos: Path) -> None:
    media = (Media("clip.mp4", seconds=1.6), Media("other.mp4", start=1.6, seconds=1.6))
    found = imported(videos, document(Event(1.2, 2.0, "walk"), Event(2.4, 9.0, "rest"), media=media))
    assert segments(found) == [(30, 40, "walk")]
    assert segments(found, "other") == [(0, 10, "walk"), (20, 40, "rest")]
    assert kinds(found) == {"events that go on before the first frame or after the last one are cut off there": 1}


def test_subjects_count_together_or_each_for_itself(videos: Path, tmp_path: Path) -> None:
    events = (
        Event(0.0, 0.4, "eat", "a"),
        Event(0.2, 0.8, "eat", "b"),
        Event(0.4, 0.6, "rest", "a"),
        Event(0.9, 1.0, "rest"),
    )
    together = imported(videos, document(*events))
    assert segments(together) == [(0, 20, "eat"), (10, 15, "rest"), (22, 25, "rest")]
    assert kinds(together) == {
        "subjects are not kept": 3,
        "events overlap another one of their class, and become one with it": 1,
    }
    each = imported(videos, document(*events), options=ImportOptions(Choices(subject="each")))
    assert each.label_space.classes == ("a: eat", "a: rest", "b: eat", "rest")
    assert each.label_space.groups == ("a", "a", "b", "no subject")
    assert written(tmp_path / "data", each).label_space == each.label_space
    only = imported(videos, document(*events), options=ImportOptions(Choices(subject="b")))
    assert segments(only) == [(5, 20, "eat")]
    assert kinds(only) == {"events of other subjects are left out": 3}


def test_modifiers_points_and_remarks_are_kept_or_counted(videos: Path) -> None:
    events = (
        Event(0.0, 0.4, "groom", modifiers=("face", "left"), comment="nice", score=0.5),
        Event(0.8, None, "call"),
        Event(1.0, 1.4, "a;b"),
    )
    plain = imported(videos, document(*events))
    assert segments(plain) == [(0, 10, "groom"), (25, 35, "a,b")]
    assert kinds(plain) == {
        "comments are left out": 1,
        "modifiers are left out (see --modifiers)": 1,
        "scores are left out": 1,
        "point events, which have no duration, are left out (see --points)": 1,
        "names of classes are changed, as ';' joins the names of several classes": 1,
    }
    choices = Choices(keep_modifiers=True, point_seconds=0.2, class_map={"a;b": "", "call": "sound"})
    assert segments(imported(videos, document(*events), options=ImportOptions(choices))) == [
        (0, 10, "groom|face|left"),
        (20, 25, "sound"),
    ]


def test_frames_scored_parts_and_splits_are_kept(videos: Path, tmp_path: Path) -> None:
    events = [Event(0, 10, "walk"), Event(5, 20, "eat")]
    recording = Recording(
        "day",
        CLIP,
        Unit.FRAMES,
        events=events,
        num_frames=FRAMES,
        scored=[Span(0, 30), Span(30, 40, "eat")],
        split="val",
    )
    found = imported(videos, Document(Path("day.test"), [recording], ("eat", "walk", "fly"), may_overlap=True))
    assert found.notes == ["1 class without any event: fly"]
    scan = written(tmp_path / "data", found)
    assert scan.label_space.classes == ("eat", "walk")
    assert scan.labels["clip"][29:31].tolist() == [[0, 0], [0, -100]]
    assert scan.sources["clip"].split == "val"
    other = Document(Path("day.test"), [replace(recording, num_frames=41)])
    with pytest.raises(InputError, match=r"another number of frames .*got labels for 41 frames, the video has 40"):
        imported(videos, other)


@pytest.mark.parametrize("asked", [None, "none"])
def test_frames_in_no_event_are_unlabelled_or_the_background(asked: str | None, videos: Path) -> None:
    events = (Event(0.0, 0.4, "walk"), Event(0.8, 1.2, "rest"))
    found = imported(videos, document(*events), options=ImportOptions(background=asked))
    assert found.label_space.is_exclusive
    if asked:
        assert segments(found) == [(0, 10, "walk"), (10, 20, "none"), (20, 30, "rest"), (30, 40, "none")]
        assert found.unlabelled_share == 0.0
    else:
        assert segments(found) == [(0, 10, "walk"), (20, 30, "rest")]
        assert found.unlabelled_share == 0.5


def test_what_is_not_found_is_counted_and_named(videos: Path) -> None:
    lost = Loss("lost", "line 1")
    found = imported(
        videos,
        document(Event(0.0, 0.4, "walk"), Event(5.0, 6.0, "walk"), Event(0.5, 0.501, "walk")),
        Document(Path("b.test"), [Recording("live", ()), Recording("far", (Media("clap.mp4"),))], losses=[lost]),
        document(Event(0.6, 0.8, "rest"), name="c.test"),
    )
    assert segments(found) == [(0, 10, "walk"), (15, 20, "rest")]
    assert kinds(found) == {
        "events before the first frame or after the last one are left out": 1,
        "events shorter than a frame are left out": 1,
        "lost": 1,
        "recordings that name no media file are left out": 1,
        "media files whose video is not found are left out": 1,
        "recordings of a video that another recording labels count together with it (see --recording)": 1,
    }
    (missing,) = [loss for loss in found.losses.by_recording() if loss.kind.startswith("media")]
    assert missing.first.what == f"there is no video 'clap.mp4' in {videos}: did you mean 'clip.mp4'?"


def test_videos_of_one_name_are_told_apart_by_their_length(videos: Path, make_video: MakeVideo) -> None:
    (videos / "second").mkdir()
    make_video("clip.mp4", num_frames=100, size=(64, 48)).rename(videos / "second" / "clip.mp4")
    event = Event(0.0, 0.4, "walk")
    found = imported(videos, document(event, media=(Media("clip.mp4", seconds=4.1),)))
    assert found.videos["clip"].num_frames == 100
    with pytest.raises(InputError, match=r"several videos are named 'clip\.mp4'"):
        imported(videos, document(event))
    both = imported(
        videos,
        document(event, media=(Media("clip.mp4", seconds=4.0),)),
        document(event, name="b.test", media=(Media("clip.mp4", seconds=1.6),)),
    )
    assert list(both.videos) == ["clip", "recordings_clip"]


def test_the_report_counts_each_kind_in_each_recording(videos: Path, tmp_path: Path) -> None:
    events = [Event(0.0, 0.4, "walk", comment=text, place=f"line {i}") for i, text in enumerate(["=1+1", "b"])]
    write_dataset(tmp_path / "data", imported(videos, document(*events[:1], replace(events[1], start=0.8, stop=1.2))))
    with open(tmp_path / "data" / IMPORT_REPORT, newline="") as file:
        assert list(csv.reader(file)) == [
            ["file", "recording", "what", "count", "first_place", "first"],
            ["day.test", "day", "comments are left out", "2", "line 0", "'=1+1"],
        ]


def test_nothing_is_written_where_something_is_wrong(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = imported(videos, document(Event(0.0, 0.4, "walk")))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(InputError, match="is not empty, and a data set is never overwritten"):
        write_dataset(tmp_path / "full", found)
    monkeypatch.setattr("pipeline.interchange.dataset._write_classes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_dataset(tmp_path / "data", found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "recordings"]


def test_all_files_that_cannot_be_read_are_named_together(videos: Path, tmp_path: Path) -> None:
    def read(path: Path) -> Document:
        raise AnnotationError([Problem(path, 3, "is cut off")])

    layout = ForeignFormat("test", "Test", (".test",), "", "", lambda path, head: False, read=read)
    files = [ForeignFile(tmp_path / name, layout) for name in ("a.test", "b.test")]
    with pytest.raises(AnnotationError) as refused:
        import_files(files, VideoFolder(videos), ImportOptions())
    assert [str(problem) for problem in refused.value.problems] == [f"{file.path}:3: is cut off" for file in files]


def test_a_recording_with_the_name_of_its_video_keeps_what_the_file_states(videos: Path) -> None:
    media = (Media("clip.mp4", start=10.0, seconds=1.6, frame_rate=50.0),)
    found = imported(
        videos, Document(Path("day.test"), [Recording("clip.mp4", media, events=[Event(10.4, 10.8, "walk")])])
    )
    assert segments(found) == [(10, 20, "walk")]
    assert found.notes == [
        f"{videos}/clip.mp4: has 25 frames per second, and the file says 50; the times of the file are used as they are"
    ]


@pytest.mark.parametrize(("resolution", "start"), [(1.0, 25), (0.2, 25), (0.001, 25)])
def test_coarse_times_are_taken_as_they_are_written(resolution: float, start: int, videos: Path) -> None:
    found = imported(videos, document(Event(1.0, 1.6, "walk"), resolution=resolution))
    assert segments(found) == [(start, 40, "walk")]
    assert any("in steps of" in note for note in found.notes) == (resolution > 0.04)


def test_what_nobody_looked_at_is_unknown_and_not_absent(videos: Path, tmp_path: Path) -> None:
    walk, eat = Event(0, 5, "walk"), Event(3, 9, "eat")
    known = Recording("a", CLIP, Unit.FRAMES, events=[walk, eat], num_frames=FRAMES)
    in_part = replace(
        known, media=(Media("other.mp4"),), events=[walk], scored=[Span(0, 40, "walk"), Span(0, 20, "eat")]
    )
    scan = written(tmp_path / "one", imported(videos, Document(Path("a.test"), [known, in_part], may_overlap=True)))
    assert scan.labels["other"][[19, 20]].tolist() == [[0, 0], [0, -100]]
    unknown = replace(in_part, events=[], scored=[])
    found = imported(videos, Document(Path("a.test"), [known, unknown], may_overlap=True))
    assert list(found.videos) == ["clip"]
    assert kinds(found) == {"videos at which nobody looked are left out": 1}


def test_a_background_counts_for_its_own_file(videos: Path, tmp_path: Path) -> None:
    one = replace(document(Event(0.0, 0.4, "walk"), Event(0.4, 0.8, "other")), background="other", may_overlap=True)
    two = document(Event(0.0, 0.4, "other"), Event(0.2, 0.8, "eat"), name="two.test", media=(Media("other.mp4"),))
    found = imported(videos, one, two)
    assert segments(found) == [(0, 10, "walk")]
    assert segments(found, "other") == [(0, 10, "other"), (5, 20, "eat")]
    assert sum(kinds(found).values()) == 1


def test_media_whose_start_is_not_known_are_placed_by_the_lengths_before_or_left_out(videos: Path) -> None:
    nan = float("nan")
    media = (Media("clip.mp4", start=1.0), Media("other.mp4", start=nan))
    found = imported(videos, document(Event(1.4, 2.0, "walk"), Event(3.0, 3.4, "rest"), media=media))
    assert segments(found) == [(10, 25, "walk")]
    assert segments(found, "other") == [(10, 20, "rest")]
    lacking = (Media("clip.mp4", start=0.0), Media("gone.mp4", start=nan), Media("other.mp4", start=nan))
    found = imported(videos, document(Event(0.4, 0.8, "walk"), Event(5.0, 6.0, "rest"), media=lacking))
    assert list(found.videos) == ["clip"]
    assert "media files after one of unknown length are left out, as it is not known when they start" in kinds(found)


def test_names_that_are_asked_for_must_be_there(videos: Path) -> None:
    day = document(Event(0.0, 0.4, "walk", "Anna"))
    for options, message in (
        (ImportOptions(Choices(subject="Ana")), r"no event is of the subject 'Ana': did you mean 'Anna'\?"),
        (ImportOptions(recordings=("dya",)), r"there is no recording 'dya': did you mean 'day'\?"),
    ):
        with pytest.raises(InputError, match=message):
            imported(videos, day, options=options)
    found = imported(videos, day, options=ImportOptions(Choices(class_map={"wlak": "run", "walk": "go"})))
    assert found.notes == ["the class map names behaviours that are in no file: wlak"]


def test_names_of_files_and_letters_of_another_unicode_form_make_no_second_thing(videos: Path, tmp_path: Path) -> None:
    for name in ("scored.mp4", "a.segments.mp4"):
        (videos / name).write_bytes((videos / "clip.mp4").read_bytes())
    (videos / ".hidden").mkdir()
    (videos / ".hidden" / "clip.mp4").hardlink_to(videos / "clip.mp4")
    (videos / "again.mp4").hardlink_to(videos / "clip.mp4")
    events = Event(0.0, 0.4, "l\u00e4uft"), Event(0.6, 0.8, "la\u0308uft")
    found = imported(
        videos,
        document(*events, media=(Media("scored.mp4"),)),
        document(*events, name="b.test", media=(Media("a.segments.mp4"),)),
    )
    assert list(found.videos) == ["scored_video", "a_segments_video"]
    assert found.label_space.classes == ("l\u00e4uft",)
    written(tmp_path / "data", found)
    names = [path.relative_to(videos).as_posix() for path in VideoFolder(videos).paths]
    assert names == ["a.segments.mp4", "again.mp4", "deep/other.mkv", "scored.mp4"]


def test_a_video_looked_at_for_classes_that_no_video_has_is_left_out(videos: Path) -> None:
    known = Recording("a", CLIP, Unit.FRAMES, events=[Event(0, 5, "walk")], num_frames=FRAMES)
    other = replace(known, media=(Media("other.mp4"),), events=[], scored=[Span(0, 20, "fly")])
    found = imported(videos, Document(Path("a.test"), [known, other], ("walk", "fly"), may_overlap=True))
    assert list(found.videos) == ["clip"]
    assert kinds(found) == {"videos at which nobody looked are left out": 1}
