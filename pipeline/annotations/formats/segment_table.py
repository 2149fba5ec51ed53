"""`<stem>.csv`: start,stop,class. The rows are in any order, and frames in no row have no label."""

from pathlib import Path

import numpy as np

from pipeline.annotations.formats.base import AnnotationFormat
from pipeline.annotations.formats.parsing import label_segments, parse_segments, raise_problems
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import SEGMENTS_HEADER
from pipeline.annotations.problems import Problem


def _read(path: Path, label_space: LabelSpace, *, num_frames: int | None) -> np.ndarray:
    problems: list[Problem] = []
    segments = parse_segments(path, SEGMENTS_HEADER, problems, class_column=2)
    labels = label_segments(path, segments, label_space, num_frames=num_frames, problems=problems)
    raise_problems(problems)
    return labels


def _class_names(path: Path) -> set[str]:
    problems: list[Problem] = []
    names = {name for *_, name in parse_segments(path, SEGMENTS_HEADER, problems, class_column=2)}
    raise_problems(problems)
    return names


FORMAT = AnnotationFormat(".csv", _read, _class_names, has_length=False)
