"""Labels in the layouts that other programs read.

    <stem>.frames.jsonl     one JSON object per frame: frame, time_seconds, label, probability, and the LabelSource
    <stem>.frames.parquet   the same as a table; values that are the same in all rows take no space
    <stem>.segments.vtt     WebVTT: the class of each segment as a subtitle; the LabelSource is a comment
    <stem>.segments.srt     SubRip, which has no comments: the LabelSource is in the report beside it
    <stem>.boris, ...       files of other programs, see `foreign`

An unlabelled frame has null for its label and probability, and has no subtitle. An unknown time is null.

Where classes overlap, a frame has "labels", a list of names, and "probabilities", those of all classes by name; and
several subtitles are shown at a time.

Shapes: T frames, K classes.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from pipeline.annotations.foreign.base import ForeignFormat, LabelledVideo
from pipeline.annotations.foreign.registry import FOREIGN_FORMATS
from pipeline.annotations.frame_layout import FrameLayout, check_predicted, frame_layout
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import (
    FRAMES,
    NOVELTY,
    SEGMENTS,
    timed_segments,
)
from pipeline.annotations.times import FrameTimes
from pipeline.annotations.write import write_frames, write_novelty, write_segments
from pipeline.files import replacing
from pipeline.text.subtitles import Cue, write_srt, write_webvtt

TEXT = pa.dictionary(pa.int32(), pa.string())
CHUNK_ROWS = 1 << 16
NOVELTY_FORMAT = "novelty"
TEXT_SUFFIXES = (".csv", ".txt")  # of label files
# The type of each field of a layout, of its classes.
TYPES: dict[str, Callable[[Sequence[str]], pa.DataType]] = {
    "label": lambda classes: TEXT,
    "probability": lambda classes: pa.float64(),
    "labels": lambda classes: pa.list_(pa.string()),
    "probabilities": lambda classes: pa.struct([(name, pa.float64()) for name in classes]),
}


class LabelSource(NamedTuple):
    """The origin of labels.

    Attributes:
        run_id: The MLflow run that trained the model.
        data_fingerprint: The fingerprint of the data that the model was trained on.
        git_commit: The commit of the code that trained the model.
    """

    run_id: str
    data_fingerprint: str
    git_commit: str


class Predicted(NamedTuple):
    """The predicted labels of a video.

    Attributes:
        labels: Of `label_space`: int64 [T], or int8 [T, K] where classes overlap.
        probabilities: float [T], the probability of each label; or [T, K], of all classes, where they overlap.
        pts_seconds: float64 [T], the presentation time of each frame; NaN where it is not known.
        frame_seconds: The duration of the last frame.
        label_space: The classes.
        video: The video file, which files of other programs name; None where no such file is written.
        clock_start: The time stamp at which players show the time 0.
        novelty: float [T], how unlike the training frames each frame is; None where no such file is written.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    pts_seconds: np.ndarray
    frame_seconds: float
    label_space: LabelSpace
    video: Path | None = None
    clock_start: float = 0.0
    novelty: np.ndarray | None = None

    @property
    def layout(self) -> FrameLayout:
        """How its frames are written."""
        return frame_layout(self.label_space)


def write_jsonl(path: Path, predicted: Predicted, source: LabelSource) -> None:
    """Write `<stem>.frames.jsonl`: one JSON object per frame.

    Args:
        path: The file.
        predicted: The labels of the video.
        source: The origin of the labels, which each object repeats.

    Raises:
        ValueError: The arrays of `predicted` differ in shape, or a label is not valid in its label space.
    """
    _check(predicted)
    origin, columns = source._asdict(), _columns(predicted)
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for row in _rows(predicted):
            file.write(json.dumps(dict(zip(columns, row, strict=True)) | origin, ensure_ascii=False) + "\n")


def write_parquet(path: Path, predicted: Predicted, source: LabelSource) -> None:
    """Write `<stem>.frames.parquet`: one row per frame.

    Args:
        path: The file.
        predicted: The labels of the video.
        source: The origin of the labels, a column per field.

    Raises:
        ValueError: The arrays of `predicted` differ in shape, or a label is not valid in its label space.
    """
    _check(predicted)
    schema = pa.schema(_columns(predicted) | dict.fromkeys(LabelSource._fields, TEXT))
    rows = _rows(predicted)
    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        while batch := list(islice(rows, CHUNK_ROWS)):
            columns = [*zip(*batch, strict=True), *([value] * len(batch) for value in source)]
            arrays = [pa.array(column, type) for column, type in zip(columns, schema.types, strict=True)]
            writer.write_table(pa.table(arrays, schema=schema))


def write_vtt(path: Path, predicted: Predicted, source: LabelSource) -> None:
    """Write `<stem>.segments.vtt`: the class of each segment as a subtitle.

    Args:
        path: The file.
        predicted: The labels of the video.
        source: The origin of the labels, which becomes a comment.

    Raises:
        ValueError: The arrays of `predicted` differ in shape, or a label is not valid in its label space.
    """
    note = ", ".join(f"{field} {value}" for field, value in source._asdict().items())
    write_webvtt(path, _cues(predicted), note=note, may_overlap=predicted.layout.may_overlap)


def write_subrip(path: Path, predicted: Predicted, source: LabelSource) -> None:
    """Write `<stem>.segments.srt`: the class of each segment as a subtitle.

    Args:
        path: The file.
        predicted: The labels of the video.
        source: It is not written, as SubRip has no comments.

    Raises:
        ValueError: The arrays of `predicted` differ in shape, or a label is not valid in its label space.
    """
    write_srt(path, _cues(predicted), may_overlap=predicted.layout.may_overlap)


def _write_frames_csv(path: Path, predicted: Predicted, source: LabelSource) -> None:
    labels, probabilities, pts_seconds, _, label_space = predicted[:5]
    write_frames(path, labels, probabilities=probabilities, pts_seconds=pts_seconds, label_space=label_space)


def _write_segments_csv(path: Path, predicted: Predicted, source: LabelSource) -> None:
    labels, probabilities, pts_seconds, frame_seconds, label_space = predicted[:5]
    write_segments(
        path,
        labels,
        probabilities=probabilities,
        pts_seconds=pts_seconds,
        label_space=label_space,
        frame_duration_seconds=frame_seconds,
    )


def _write_novelty_csv(path: Path, predicted: Predicted, source: LabelSource) -> None:
    _check(predicted)
    assert predicted.novelty is not None, path
    write_novelty(path, predicted.novelty, pts_seconds=predicted.pts_seconds)


Write = Callable[[Path, Predicted, LabelSource], None]


def _foreign_writer(layout: ForeignFormat) -> Write:
    def write(path: Path, predicted: Predicted, source: LabelSource) -> None:
        _check(predicted)
        assert predicted.video is not None, path
        assert layout.write is not None, layout.name
        times = FrameTimes(predicted.pts_seconds - predicted.clock_start, predicted.frame_seconds)
        frame_rate = 1 / predicted.frame_seconds
        labelled = LabelledVideo(
            predicted.video, predicted.labels, predicted.label_space, times, frame_rate, predicted.probabilities
        )
        layout.write(path, [labelled])

    return write


def _suffix(layout: ForeignFormat) -> str:
    """Return what follows the stem of the video in the name of a file of another program."""
    suffix = layout.suffixes[0]
    return f".{layout.name}{suffix}" if suffix == ".json" else suffix


# Files of other programs whose names are not those of label files, which lie in the same folder.
FOREIGN: dict[str, dict[str, Write]] = {
    layout.name: {_suffix(layout): _foreign_writer(layout)}
    for layout in FOREIGN_FORMATS
    if layout.write is not None and not layout.suffixes[0].endswith(TEXT_SUFFIXES)
}
# For each format, the function that writes each of its files, by what follows the stem of the video in the file name.
FORMATS: dict[str, dict[str, Write]] = {
    "csv": {FRAMES: _write_frames_csv, SEGMENTS: _write_segments_csv},
    "jsonl": {".frames.jsonl": write_jsonl},
    "parquet": {".frames.parquet": write_parquet},
    "vtt": {".segments.vtt": write_vtt},
    "srt": {".segments.srt": write_subrip},
    NOVELTY_FORMAT: {NOVELTY: _write_novelty_csv},
    **FOREIGN,
}
TIMED_FORMATS = frozenset({"vtt", "srt", *FOREIGN})  # these need the time of each frame


def find_format_problems(names: Sequence[str]) -> list[str]:
    """Describe what is wrong with the names of formats.

    Returns:
        One sentence for each name that is not in FORMATS, and one if a name is given twice; empty where all is well.
    """
    problems = [f"got {name!r}, expected some of {','.join(FORMATS)}" for name in names if name not in FORMATS]
    if len(set(names)) < len(names):
        problems.append(f"got {','.join(names)}, which names one twice")
    return problems


def _check(predicted: Predicted) -> None:
    check_predicted(predicted.labels, predicted.probabilities, predicted.pts_seconds, predicted.label_space)


def _columns(predicted: Predicted) -> dict[str, pa.DataType]:
    """Return the columns that describe a frame, with their types."""
    of_labels = {field: TYPES[field](predicted.label_space.classes) for field in predicted.layout.fields}
    return {"frame": pa.int64(), "time_seconds": pa.float64(), **of_labels}


def _rows(predicted: Predicted) -> Iterator[tuple[object, ...]]:
    """Yield the cells of `_columns` of each frame, rounded as in the CSV files."""
    layout, columns = predicted.layout, zip(*predicted[:3], strict=True)
    for frame, (label, probability, seconds) in enumerate(columns):
        time_seconds = None if math.isnan(seconds) else round(float(seconds), 6)
        yield frame, time_seconds, *layout.values(label, probability)


def _cues(predicted: Predicted) -> Iterator[Cue]:
    """Yield the subtitles. No time is below 0, where no player begins: a file may place its first frames before 0."""
    _check(predicted)
    seconds = predicted.pts_seconds - predicted.clock_start
    for segment, (start, stop) in timed_segments(predicted.labels, seconds, predicted.frame_seconds):
        yield Cue(max(0, start), max(0, stop), predicted.label_space.classes[segment.class_index])
