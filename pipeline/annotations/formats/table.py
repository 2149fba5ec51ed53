"""`<stem>.csv`: a table of segments (`segment_table`), or a column for each class (`one_hot`), as its header says."""

from pathlib import Path

import numpy as np

from pipeline.annotations.formats import one_hot, segment_table
from pipeline.annotations.formats.base import AnnotationFormat
from pipeline.annotations.label_space import LabelSpace


def _read(path: Path, label_space: LabelSpace, *, num_frames: int | None) -> np.ndarray:
    read = one_hot.read if one_hot.is_one_hot(path, label_space) else segment_table.FORMAT.read
    return read(path, label_space, num_frames=num_frames)


def _class_names(path: Path) -> set[str]:
    return one_hot.class_names(path) if one_hot.is_one_hot(path) else segment_table.FORMAT.class_names(path)


FORMAT = AnnotationFormat(".csv", _read, _class_names, has_length=one_hot.is_one_hot)
