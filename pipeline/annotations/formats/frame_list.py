"""`<stem>.txt`: one class name per line, one line for each frame; an EMPTY line is a frame without a label."""

from pathlib import Path

import numpy as np

from pipeline.annotations.formats.base import AnnotationFormat
from pipeline.annotations.formats.parsing import label_frames, raise_problems
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import Problem, read_lines


def _read(path: Path, label_space: LabelSpace, *, num_frames: int | None) -> np.ndarray:
    problems: list[Problem] = []
    frames = [(line, name.strip()) for line, name in enumerate(read_lines(path), start=1)]
    labels = label_frames(path, frames, label_space, num_frames=num_frames, problems=problems)
    raise_problems(problems)
    return labels


def _class_names(path: Path) -> set[str]:
    return {line.strip() for line in read_lines(path)}


FORMAT = AnnotationFormat(".txt", _read, _class_names)
