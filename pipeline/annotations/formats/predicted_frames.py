"""`<stem>.frames.csv`, which `framescribe label` writes: frame,time_seconds,label,probability; one row per frame.

`<stem>.live.csv` is the same without the rows of frames that were dropped, which are unlabelled.
Where classes overlap, it has other columns, see `predicted_sets`.
"""

from pathlib import Path

import numpy as np

from pipeline.annotations.formats import predicted_sets
from pipeline.annotations.formats.base import AnnotationFormat, VideoFrames, never
from pipeline.annotations.formats.frame_numbers import FrameNumbers
from pipeline.annotations.formats.parsing import NamedFrames, label_frames, length_problem, raise_problems
from pipeline.annotations.formats.rows import parse_rows
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import FRAMES, LIVE, PREDICTED_FRAMES_HEADER
from pipeline.annotations.problems import AnnotationError, Problem


def _read(path: Path, label_space: LabelSpace, *, video: VideoFrames, notes: list[Problem]) -> np.ndarray:
    if not label_space.is_exclusive:
        return predicted_sets.read(path, label_space, video=video, notes=notes)
    problems: list[Problem] = []
    frames, _ = _parse(path, problems)
    labels = label_frames(path, frames, label_space, num_frames=video.num_frames, problems=problems)
    raise_problems(problems)
    return labels


def _read_live(path: Path, label_space: LabelSpace, *, video: VideoFrames, notes: list[Problem]) -> np.ndarray:
    if not label_space.is_exclusive:
        labels, numbers = predicted_sets.read_with_gaps(path, label_space)
    else:
        problems: list[Problem] = []
        frames, numbers = _parse(path, problems, may_skip=True)
        labels = label_frames(path, frames, label_space, num_frames=None, problems=problems)
        raise_problems(problems)
    num_frames = numbers[-1] + 1 if video.num_frames is None else video.num_frames
    if numbers[-1] >= num_frames:
        cause = "the labels are of another recording, or frames of the video were lost"
        raise AnnotationError([length_problem(path, numbers[-1] + 1, num_frames, cause)])
    all_labels = label_space.unlabelled(num_frames)
    all_labels[numbers] = labels
    return all_labels


def _class_names(path: Path) -> set[str]:
    if predicted_sets.has_sets(path):
        return predicted_sets.class_names(path)
    problems: list[Problem] = []
    names = {name for _, name in _parse(path, problems, may_skip=True)[0]}
    raise_problems(problems)
    return names


def _parse(path: Path, problems: list[Problem], *, may_skip: bool = False) -> tuple[NamedFrames, list[int]]:
    """Return the line and the class of each row, and the numbers of the frames, which may lack some if `may_skip`."""
    frames: NamedFrames = []
    numbers = FrameNumbers(path, problems, may_skip=may_skip)
    for line, (frame, _, name, _) in parse_rows(path, PREDICTED_FRAMES_HEADER, problems):
        if not numbers.follow(line, frame):
            break  # all rows that follow would be reported as well
        frames.append((line, name))
    return frames, numbers.found


FORMAT = AnnotationFormat(FRAMES, _read, _class_names, is_of_people=False)
LIVE_FORMAT = AnnotationFormat(LIVE, _read_live, _class_names, is_of_people=False, has_length=never)
