"""Segments in seconds are those of the frames that are shown then, at any frame rate, and mistakes are named."""

import numpy as np
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.read import class_names_in, needs_times, read_annotation
from pipeline.annotations.segments import segments_from_frames
from pipeline.annotations.times import FrameTimes
from pipeline.files import VIDEO_SUFFIXES
from pipeline.video.survey import index_video

CLASSES = ("rest", "walk", "rear")
SPACE, OVERLAPPING = LabelSpace(CLASSES), LabelSpace.independent(CLASSES)
TICKS = 90_000  # a second, in the time base of many files
steps = st.lists(st.integers(TICKS // 400, TICKS // 5), min_size=1, max_size=30)  # of 2.5 to 200 ms


def times_of(steps, first=0):
    pts = (first + np.cumsum([0, *steps[:-1]])) / TICKS
    return FrameTimes(pts, steps[-1] / TICKS)


def rows_of(labels, times, decimals, comma="."):
    """The rows of segments: a stop is the time at which the frame after the last one is shown."""
    seconds = [*times.pts_seconds, times.end_seconds]
    for start, stop, index in segments_from_frames(labels):
        cells = (f"{seconds[frame]:.{decimals}f}".replace(".", comma) for frame in (start, stop))
        yield [*cells, CLASSES[index]]


def read(path, times, space=SPACE, notes=None):
    return read_annotation(path, space, num_frames=times.num_frames, times=times, notes=notes)


@settings(deadline=None, max_examples=200)
@given(data=st.data(), steps=steps, first=st.integers(0, TICKS // 50), decimals=st.sampled_from([3, 4, 6, 12]))
def test_rounded_times_give_back_the_frames_at_any_rate(tmp_path_factory, data, steps, first, decimals):
    times = times_of(steps, first)
    labels = np.array(data.draw(st.lists(st.integers(-1, 2), min_size=len(steps), max_size=len(steps))))
    labels[labels < 0] = -100
    separator, comma = data.draw(st.sampled_from([(",", "."), (";", ","), ("\t", ".")]))
    rows = data.draw(st.permutations(list(rows_of(labels, times, decimals, comma))))
    path = tmp_path_factory.mktemp("seconds") / "clip.csv"
    header = ["start_seconds", "stop_seconds", "class"]
    path.write_text("\n".join(separator.join(row) for row in [header, *rows]) + "\n")
    np.testing.assert_array_equal(read(path, times), labels, strict=True)


@settings(deadline=None)
@given(data=st.data(), steps=steps)
def test_rounded_times_give_back_classes_that_overlap(tmp_path_factory, data, steps):
    times = times_of(steps)
    frames = st.lists(st.tuples(*[st.integers(0, 1)] * 3), min_size=len(steps), max_size=len(steps))
    labels = np.array(data.draw(frames), dtype=np.int8)
    path = tmp_path_factory.mktemp("seconds") / "clip.csv"
    path.write_text("\n".join(",".join(row) for row in [["onset", "offset", "label"], *rows_of(labels, times, 3)]))
    np.testing.assert_array_equal(read(path, times, OVERLAPPING), labels, strict=True)


@settings(deadline=None)
@given(data=st.data(), steps=steps)
def test_coarse_times_are_off_by_no_more_than_they_are_rounded(tmp_path_factory, data, steps):
    times = times_of(steps)
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(steps))] * 2)))
    seconds = [*times.pts_seconds, times.end_seconds]
    cells = [f"{seconds[frame]:.1f}" for frame in (start, stop)]
    path = tmp_path_factory.mktemp("seconds") / "clip.csv"
    path.write_text(f"start_s,stop_s,class\n{cells[0]},{cells[1]},walk\n")
    try:
        labels = read(path, times)
    except AnnotationError:
        return  # it is shorter than a frame after rounding
    found = np.flatnonzero(labels == 1)
    for frame, expected in ((found[0], start), (found[-1] + 1, stop)):
        assert abs(seconds[frame] - seconds[expected]) < 0.1 + max(steps) / TICKS


def test_a_time_belongs_to_the_frame_that_is_shown_then_and_no_rate_counts(tmp_path):
    times = FrameTimes(np.array([0.0, 0.04, 0.5, 0.54]), 0.04)
    path = tmp_path / "clip.csv"
    path.write_text("start_seconds,stop_seconds,class\n0.30,0.52,walk\n0.52,0.58,rest\n")
    assert read(path, times).tolist() == [-100, 1, 0, 0]


def test_times_of_a_workbook_keep_no_error_of_a_computation(tmp_path):
    times = times_of([3000] * 90)
    book = openpyxl.Workbook()
    book.active.append(["start (s)", "end (s)", "label"])
    book.active.append([0.1 + 0.2, 1.0, "walk"])  # 0.30000000000000004
    book.active.append([1, 3, "rest"])
    book.save(tmp_path / "clip.xlsx")
    assert read(tmp_path / "clip.xlsx", times).tolist() == [-100] * 9 + [1] * 21 + [0] * 60
    assert needs_times(tmp_path / "clip.xlsx")
    assert class_names_in(tmp_path / "clip.xlsx") == {"walk", "rest"}


def problems_of(path, times, **options):
    with pytest.raises(AnnotationError) as caught:
        read_annotation(path, SPACE, num_frames=50, times=times, **options)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_every_mistake_in_times_is_named_once_with_a_count(tmp_path):
    times = FrameTimes(0.5 + np.arange(50) / 25, 0.04)
    rows = ["0.60,0.60,walk", "0.70,0.70,walk", "0.9,0.8,walk", "-1,0.8,walk", "1:02,2020-01-01,walk", "nan,1,walk"]
    rows += ["1.00,1.01,walk", "0.1,0.2,walk", "2.0,2.9,walk", "2.5,9.000,walk", "2.5,12,walk"]
    (tmp_path / "clip.csv").write_text("\n".join(["start_seconds,stop_seconds,class", *rows]) + "\n")
    assert problems_of(tmp_path / "clip.csv", times) == [
        (2, "the segment from 0.60 s to 0.60 s lasts 0 s, and has no frame (and on 1 more line): give its start and its"
         " end, or leave it out"),
        (4, "the segment from 0.9 s to 0.8 s ends before it starts"),
        (5, "start -1 s is negative"),
        (6, "start '1:02' is no time in seconds (and on 2 more lines): expected a number such as 12.5"),
        (8, "the segment from 1.00 s to 1.01 s has no frame (and on 1 more line): it lies within one frame"),
        (10, "the segment from 2.0 s to 2.9 s goes beyond the end of the video at 2.500 s (and on 2 more lines): it was"
         " labelled in another video, or its times are frames or milliseconds"),
    ]  # fmt: skip
    (tmp_path / "clip.csv").write_text("start_seconds,stop_seconds,class\n0.100,0.200,walk\n")
    ((_, before),) = problems_of(tmp_path / "clip.csv", times)
    assert before.endswith("has no frame: it lies before the first frame, which is shown at 0.500 s")


def test_times_without_a_video_are_refused_in_a_sentence(tmp_path):
    (tmp_path / "clip.csv").write_text("start_seconds,stop_seconds,class\n0.1,0.2,walk\n")
    ((line, message),) = problems_of(tmp_path / "clip.csv", None)
    assert line is None
    assert message.startswith("gives times in seconds, and it is not known at which times the frames are shown: ready")


def test_coarse_times_a_late_first_frame_and_decimal_commas_are_noted(tmp_path):
    path, notes = tmp_path / "clip.csv", []
    path.write_text("start_s;stop_s;class\n0,6;1;walk\n")
    read(path, FrameTimes(0.5 + np.arange(50) / 25, 0.04), notes=notes)
    assert [note.message for note in notes] == [
        "a comma in a time is read as a decimal comma",
        "its times are in steps of 0.1 s, and frames are 0.04 s apart: write more decimals to state the frame",
        "the first frame of the video is shown at 0.500 s, on the clock of the video: times that a program counts from"
        " the first frame must be shifted",
    ]
    notes.clear()
    path.write_text("start_s,stop_s,class\n0.60,1.00,walk\n")
    read(path, FrameTimes(np.arange(50) / 25, 0.04), notes=notes)
    assert notes == []


@pytest.mark.slow
def test_times_of_real_videos_give_back_their_frames(real_data, tmp_path):
    generator = np.random.default_rng(0)
    for video in sorted((real_data / "media").iterdir()):
        if video.suffix.lower() not in VIDEO_SUFFIXES:
            continue
        index = index_video(video)
        times = FrameTimes(index.pts_seconds, float(1 / index.properties.frame_rate))
        labels = generator.choice([0, 1, 2, -100], times.num_frames)
        for decimals in (3, 6):
            rows = ["onset,offset,class", *(",".join(row) for row in rows_of(labels, times, decimals))]
            (tmp_path / "clip.csv").write_text("\n".join(rows) + "\n")
            np.testing.assert_array_equal(read(tmp_path / "clip.csv", times), labels, err_msg=video.name)
