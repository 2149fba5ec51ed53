"""Labels in the layouts that other programs read.

    <stem>.frames.jsonl     one JSON object per frame: frame, time_seconds, label, probability, and the LabelSource
    <stem>.frames.parquet   the same as a table; values that are the same in all rows take no space
    <stem>.segments.vtt     WebVTT: the class of each segment as a subtitle; the LabelSource is a comment
    <stem>.segments.srt     SubRip, which has no comments: the LabelSource is in the report beside it

An unlabelled frame has null for its label and probability, and has no subtitle. An unknown time is null.

Shapes: T frames.
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

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import FRAMES, SEGMENTS, check_predicted, timed_segments
from pipeline.annotations.write import write_frames, write_segments
from pipeline.files import replacing
from pipeline.text.subtitles import Cue, write_srt, write_webvtt

COLUMNS = ("frame", "time_seconds", "label", "probability")
CHUNK_ROWS = 1 << 16


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
        labels: int64 [T], of `label_space`.
        probabilities: float [T], the probability of each label.
        pts_seconds: float64 [T], the presentation time of each frame; NaN where it is not known.
        frame_seconds: The duration of the last frame.
        label_space: The classes.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    pts_seconds: np.ndarray
    frame_seconds: float
    label_space: LabelSpace


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
    origin = source._asdict()
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for row in _rows(predicted):
            file.write(json.dumps(dict(zip(COLUMNS, row, strict=True)) | origin, ensure_ascii=False) + "\n")


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
    text = pa.dictionary(pa.int32(), pa.string())
    types = dict(zip(COLUMNS, (pa.int64(), pa.float64(), text, pa.float64()), strict=True))
    schema = pa.schema(types | dict.fromkeys(LabelSource._fields, text))
    rows = _rows(predicted)
    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        while batch := list(islice(rows, CHUNK_ROWS)):
            table = pa.table([*zip(*batch, strict=True), *([value] * len(batch) for value in source)], schema.names)
            writer.write_table(table.cast(schema))


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
    write_webvtt(path, _cues(predicted), note=note)


def write_subrip(path: Path, predicted: Predicted, source: LabelSource) -> None:
    """Write `<stem>.segments.srt`: the class of each segment as a subtitle.

    Args:
        path: The file.
        predicted: The labels of the video.
        source: It is not written, as SubRip has no comments.

    Raises:
        ValueError: The arrays of `predicted` differ in shape, or a label is not valid in its label space.
    """
    write_srt(path, _cues(predicted))


def _write_frames_csv(path: Path, predicted: Predicted, source: LabelSource) -> None:
    labels, probabilities, pts_seconds, _, label_space = predicted
    write_frames(path, labels, probabilities=probabilities, pts_seconds=pts_seconds, label_space=label_space)


def _write_segments_csv(path: Path, predicted: Predicted, source: LabelSource) -> None:
    labels, probabilities, pts_seconds, frame_seconds, label_space = predicted
    write_segments(
        path,
        labels,
        probabilities=probabilities,
        pts_seconds=pts_seconds,
        label_space=label_space,
        frame_duration_seconds=frame_seconds,
    )


Write = Callable[[Path, Predicted, LabelSource], None]
# For each format, the function that writes each of its files, by what follows the stem of the video in the file name.
FORMATS: dict[str, dict[str, Write]] = {
    "csv": {FRAMES: _write_frames_csv, SEGMENTS: _write_segments_csv},
    "jsonl": {".frames.jsonl": write_jsonl},
    "parquet": {".frames.parquet": write_parquet},
    "vtt": {".segments.vtt": write_vtt},
    "srt": {".segments.srt": write_subrip},
}
TIMED_FORMATS = frozenset({"vtt", "srt"})  # these need the time of each frame


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


def _rows(predicted: Predicted) -> Iterator[tuple[int, float | None, str | None, float | None]]:
    """Yield frame, time, label and probability of each frame, rounded as in the CSV files."""
    columns = zip(predicted.labels, predicted.probabilities, predicted.pts_seconds, strict=True)
    for frame, (label, probability, seconds) in enumerate(columns):
        time_seconds = None if math.isnan(seconds) else round(float(seconds), 6)
        name = predicted.label_space.name(label)
        yield frame, time_seconds, name, None if name is None else round(float(probability), 4)


def _cues(predicted: Predicted) -> Iterator[Cue]:
    """Yield the subtitles. No time is below 0, where no player begins: a file may place its first frames before 0."""
    _check(predicted)
    for segment, (start, stop) in timed_segments(predicted.labels, predicted.pts_seconds, predicted.frame_seconds):
        yield Cue(max(0, start), max(0, stop), predicted.label_space.classes[segment.class_index])
