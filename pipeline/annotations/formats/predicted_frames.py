"""`<stem>.frames.csv`, which `framescribe label` writes: frame,time_seconds,label,probability; one row per frame.

Where classes overlap, it has other columns, see `predicted_sets`.
"""

from pathlib import Path

import numpy as np

from pipeline.annotations.formats import predicted_sets
from pipeline.annotations.formats.base import AnnotationFormat
from pipeline.annotations.formats.parsing import NamedFrames, frame_number, label_frames, parse_rows, raise_problems
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import FRAMES, PREDICTED_FRAMES_HEADER
from pipeline.annotations.problems import Problem


def _read(path: Path, label_space: LabelSpace, *, num_frames: int | None) -> np.ndarray:
    if not label_space.is_exclusive:
        return predicted_sets.read(path, label_space, num_frames=num_frames)
    problems: list[Problem] = []
    frames = _parse(path, problems)
    labels = label_frames(path, frames, label_space, num_frames=num_frames, problems=problems)
    raise_problems(problems)
    return labels


def _class_names(path: Path) -> set[str]:
    if predicted_sets.has_sets(path):
        return predicted_sets.class_names(path)
    problems: list[Problem] = []
    names = {name for _, name in _parse(path, problems)}
    raise_problems(problems)
    return names


def _parse(path: Path, problems: list[Problem]) -> NamedFrames:
    frames: NamedFrames = []
    for row_index, (line, (frame, _, name, _)) in enumerate(parse_rows(path, PREDICTED_FRAMES_HEADER, problems)):
        if frame_number(path, line, "frame", frame, problems) not in (None, row_index):
            problems.append(
                Problem(path, line, f"got frame {frame}, expected {row_index}: rows are missing or not in order")
            )
            break  # all rows that follow would be reported as well
        frames.append((line, name))
    return frames


FORMAT = AnnotationFormat(FRAMES, _read, _class_names, is_of_data_set=False)
