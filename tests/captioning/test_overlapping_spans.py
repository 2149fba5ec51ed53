"""Where segments overlap, each has its caption, gaps have one too, and subtitles show one at a time."""

import itertools
import json
from pathlib import Path

import numpy as np
import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_models import write_video

from pipeline.annotations.layouts import Span
from pipeline.annotations.problems import AnnotationError
from pipeline.captioning.describe import caption_files, load_caption_model, plan_search
from pipeline.captioning.files import write_video_captions
from pipeline.captioning.spans import LabelledSpans, check_end, place_spans, spans_beside
from pipeline.captioning.summary import VideoCaption, summarise
from pipeline.errors import InputError

HEADER = "start,stop,start_seconds,stop_seconds,label,probability\n"


@st.composite
def captions(draw: st.DrawFn) -> list[VideoCaption]:
    """Captions in the order of their starts, in whole seconds, that may overlap."""
    spans = sorted(draw(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), min_size=1, max_size=9)))
    return [VideoCaption(start, start + length, "a", f"text {n}", 1) for n, (start, length) in enumerate(spans)]


@given(captions())
def test_the_caption_that_started_last_is_shown(tmp_path_factory, captions):
    folder = tmp_path_factory.getbasetemp()
    write_video_captions(folder, "clip", captions)
    events = list(pysubs2.load(str(folder / "clip.captions.vtt")))
    assert all(before.end <= after.start for before, after in itertools.pairwise(events))
    for second in range(40):
        active = [c.text for c in captions if c.start_seconds <= second < c.stop_seconds]
        assert [e.text for e in events if e.start <= 1000 * second < e.end] == active[-1:]


def test_every_segment_and_every_gap_is_described_by_the_frame_at_its_middle():
    times = np.arange(10) / 2
    spans = [Span(1.0, 3.0, "a"), Span(1.0, 3.0, "b"), Span(2.0, 2.5, "c")]
    described, frames = place_spans(LabelledSpans(spans, may_overlap=True), times, frame_seconds=0.5)
    assert described == [Span(0, 1, None), *spans, Span(3, 5, None)]
    assert frames.tolist() == [1, 4, 4, 4, 8]
    merged, _ = place_spans(LabelledSpans(spans[::2], may_overlap=False), times, frame_seconds=0.5)
    assert merged == [Span(1.0, 2.5, "a")]
    whole, _ = place_spans(LabelledSpans([], may_overlap=True), times, frame_seconds=0.5)
    assert whole == [Span(0, 5, None)]


def test_segments_that_overlap_may_end_before_the_video_but_not_after_it():
    early, late = [Span(0, 1, "a")], [Span(0, 9, "a"), Span(1, 2, "b")]
    check_end(Path("clip.mp4"), LabelledSpans(early, may_overlap=True), 5)
    for spans, may_overlap in ((late, True), (early, False)):
        with pytest.raises(InputError, match=r"ends at 5\.00 s"):
            check_end(Path("clip.mp4"), LabelledSpans(spans, may_overlap), 5)


def write_labels(folder: Path, rows: str, *, overlapping: bool) -> None:
    (folder / "clip.segments.csv").write_text(HEADER + rows)
    model = {"groups": {"a": "a", "b": "b"}} if overlapping else {}
    report = {"video": {}, "model": model, "files": ["clip.segments.csv"], "num_frames": 20, "decoding": None}
    (folder / "clip.report.json").write_text(json.dumps(report))


def test_the_report_says_whether_segments_may_overlap(tmp_path):
    rows = "0,10,0.0,0.4,a,1\n5,15,0.2,0.6,b,1\n"
    write_labels(tmp_path, rows, overlapping=True)
    expected = LabelledSpans([Span(0, 0.4, "a"), Span(0.2, 0.6, "b")], may_overlap=True)
    assert spans_beside(Path("clip.mp4"), tmp_path) == expected
    write_labels(tmp_path, "", overlapping=True)
    assert spans_beside(Path("clip.mp4"), tmp_path).spans == []
    write_labels(tmp_path, rows, overlapping=False)
    with pytest.raises(AnnotationError, match="before the last one ends"):
        spans_beside(Path("clip.mp4"), tmp_path)
    write_labels(tmp_path, "5,15,0.2,0.6,b,1\n0,10,0.0,0.4,a,1\n", overlapping=True)
    with pytest.raises(AnnotationError, match="before the last one starts"):
        spans_beside(Path("clip.mp4"), tmp_path)


def test_without_a_report_segments_that_overlap_say_that_classes_do(tmp_path):
    def read(rows):
        (tmp_path / "clip.segments.csv").write_text(HEADER + rows)
        return spans_beside(Path("clip.mp4"), tmp_path)

    overlapping = read("0,10,0.0,0.4,a,1\n5,15,0.2,0.6,b,1\n")
    assert overlapping == LabelledSpans([Span(0, 0.4, "a"), Span(0.2, 0.6, "b")], may_overlap=True)
    assert not read("0,10,0.0,0.4,a,1\n10,15,0.4,0.6,b,1\n").may_overlap
    with pytest.raises(AnnotationError, match="has no segment"):
        read("")
    with pytest.raises(AnnotationError, match="before the last one ends"):
        read("5,15,0.2,0.6,b,1\n0,10,0.0,0.4,a,1\n")


def test_a_video_is_described_by_its_overlapping_segments(caption_model, tmp_path):
    model = load_caption_model(str(caption_model), device="cpu")
    video = write_video(tmp_path / "clip.mp4", size=(64, 64))
    write_labels(tmp_path, "0,10,0.0,0.4,a,1\n5,15,0.2,0.6,b,1\n", overlapping=True)
    (rows,) = caption_files(
        [],
        [video],
        model,
        plan_search(model),
        labels=tmp_path,
        every_seconds=5,
        out=tmp_path,
        on_failure=pytest.fail,
    )
    assert [row.label for row in rows] == ["a", "b", None]
    assert (tmp_path / "clip.summary.txt").read_text().startswith("The video is 0.8 seconds long. It is labelled")


@pytest.mark.parametrize(
    ("spans", "sentence"),
    [
        ([(0, 6, "eats"), (2, 10, "rears")], "It is labelled rears (80 % of the time) and eats (60 %)."),
        ([(0, 4, None), (4, 10, "eats")], "It is labelled eats (60 % of the time)."),
        ([(0, 4, "eats"), (4, 10, "eats")], "All of it is labelled eats."),
        ([(0, 10, None)], "Throughout"),
    ],
)
def test_shares_of_labels_that_overlap_are_of_all_time(spans, sentence):
    summary = summarise([VideoCaption(*span, "a dog runs", 0.5) for span in spans])
    assert summary.startswith("The video is 10 seconds long. " + sentence)
