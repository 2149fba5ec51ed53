"""Parsing that the layouts of label files share: numbers of frames, names of classes, lists of problems.

A reader collects all problems of a file and raises them as one AnnotationError. Most functions therefore take a list,
`problems`, to which they append.

Shapes: T frames, K classes.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.label_space import ABSENT, PRESENT, SEPARATOR, LabelSpace
from pipeline.annotations.problems import MAX_OF_KIND, AnnotationError, Problem, did_you_mean
from pipeline.text.wording import counted

MAX_OTHERWISE_COUNTED = 2  # frames by which decoders differ over the same video
ASK_WHETHER_INDEPENDENT = (
    "a frame has one class; should these classes be independent? write classes.csv with groups, or set"
    " dataset.independent_classes (framescribe check and evaluate: --independent)"
)

NamedFrames = list[tuple[int, str]]  # (line, class name) of each frame; names where classes overlap


def raise_problems(problems: list[Problem]) -> None:
    """Raise an AnnotationError with the problems in the order of their lines, if there are any."""
    if problems:
        raise AnnotationError(sorted(problems, key=lambda problem: problem.line or 0))


def one_of_each_kind(problems: Iterable[Problem]) -> list[Problem]:
    """Return the first problem of each kind, which says on how many more lines there are others of its kind.

    Args:
        problems: The problems of the rows of one file.
    """
    of_kind: dict[str, list[Problem]] = {}
    for problem in sorted(problems, key=lambda problem: problem.line or 0):
        of_kind.setdefault(problem.kind, []).append(problem)
    return [_with_count(first, len(more)) for first, *more in of_kind.values()]


def _with_count(problem: Problem, num_more: int) -> Problem:
    if not num_more:
        return problem
    fault, colon, cause = problem.message.partition(": ")
    count = f" (and on {counted(num_more, 'more line', separator=',')})"
    return problem._replace(message=f"{fault}{count}{colon}{cause}", fault=problem.kind)


def frame_number(path: Path, line: int, name: str, text: str, problems: list[Problem]) -> int | None:
    """Parse a number of frames.

    Args:
        path: The file.
        line: The line of the row.
        name: The name of the column.
        text: The field.
        problems: It gets one problem more where the field is not a whole number.

    Returns:
        The number; None where the field is not a whole number. 30.0 is 30: pandas writes columns with gaps so.
    """
    if len(text) < 19 and (whole := re.fullmatch(r"([+-]?[0-9]+)(\.0*|,00?)?", text)):
        return int(whole[1])
    is_time = re.fullmatch(r"[+-]?[0-9]*[.,:][0-9.:]*", text)
    cause = ": count frames, not seconds; or name the columns start_seconds and stop_seconds" if is_time else ""
    problems.append(Problem(path, line, f"{name} {text!r} is not a frame number{cause}"))
    return None


def label_frames(
    path: Path, frames: NamedFrames, label_space: LabelSpace, *, num_frames: int | None, problems: list[Problem]
) -> np.ndarray:
    """Convert one class name per frame to labels.

    Args:
        path: The file.
        frames: The line and the class name of each frame; "" for an unlabelled frame. Where classes overlap, the names
            of all its classes, joined by the SEPARATOR; "" for a frame with none.
        label_space: The classes.
        num_frames: The number of frames of the video; None accepts any number of names.
        problems: Names that do not fit the classes or the video are appended to it.

    Returns:
        Labels, int64 or int8 [.., K] where classes overlap, one for each of `frames`.
    """
    if not frames and not problems:
        problems.append(Problem(path, None, "is empty: expected the label of each frame of the video"))
    elif num_frames is not None and len(frames) != num_frames and not problems:
        if len(frames) > num_frames and not any(name for _, name in frames[num_frames:]):
            what = "an unlabelled frame" if label_space.is_exclusive else "a frame without a class"
            cause = f"an empty line is {what}, delete those at the end"
        else:
            cause = length_cause(len(frames), num_frames)
        problems.append(length_problem(path, len(frames), num_frames, cause))
    if not label_space.is_exclusive:
        return _label_sets(path, frames, label_space, problems)
    named = [(line, name) for line, name in frames if name]
    labels = label_space.unlabelled(len(frames))
    labels[[bool(name) for _, name in frames]] = class_indices(path, named, label_space, problems)
    return labels


def _label_sets(path: Path, frames: NamedFrames, label_space: LabelSpace, problems: list[Problem]) -> np.ndarray:
    """Convert the joined names of classes that overlap to labels int8 [T, K]."""
    rows: dict[str, np.ndarray] = {}
    unknown: NamedFrames = []
    for line, text in frames:
        names = [name.strip() for name in text.split(SEPARATOR)] if text else []
        if any(label_space.index(name) is None for name in names):
            unknown += [(line, name) for name in names if label_space.index(name) is None]
        elif text not in rows and len({label_space.index(name) for name in names}) < len(names):
            problems.append(Problem(path, line, f"got {text!r}: expected each class once"))
        if text not in rows:
            indices = [index for name in names if (index := label_space.index(name)) is not None]
            rows[text] = np.full(label_space.num_classes, ABSENT, dtype=np.int8)
            rows[text][indices] = PRESENT
    class_indices(path, unknown, label_space, problems)
    if not frames:
        return label_space.unlabelled(0)
    labels = np.stack([rows[text] for _, text in frames])
    report_clashes(path, [line for line, _ in frames], labels, label_space, problems)
    return labels


def report_clashes(
    path: Path, lines: Sequence[int], labels: np.ndarray, label_space: LabelSpace, problems: list[Problem]
) -> None:
    """Report the frames that have several classes of one group, once for each group.

    Args:
        path: The file.
        lines: The line of each frame.
        labels: int8 [T, K], of classes that overlap.
        label_space: The classes.
        problems: The problems are appended to it.
    """
    for num_frames, first, members in label_space.find_clashes(labels):
        names = " and ".join(repr(label_space.classes[index]) for index in members)
        others = f" (and {num_frames - 1:,} more frames have several)" if num_frames > 1 else ""
        cause = exclude_each_other(label_space, members[0])
        problems.append(Problem(path, lines[first], f"frame {first} has {names}{others}: {cause}"))


def exclude_each_other(label_space: LabelSpace, index: int) -> str:
    """Say that the classes of the group of the class with this index exclude each other."""
    group = label_space.groups[index] if label_space.groups else ""
    return f"classes of the group {group!r} exclude each other, see classes.csv"


def length_problem(path: Path, num_labels: int, num_frames: int, cause: str) -> Problem:
    """Describe that a file has another number of labels than its video has frames."""
    message = f"got {num_labels} labels for {num_frames} frames in {path.name}: {cause}"
    return Problem(path, None, message, fault="labels of another length")


def length_cause(num_labels: int, num_frames: int) -> str:
    """Return the likely cause of another number of labels than frames."""
    if is_otherwise_counted(num_labels, num_frames):
        return "another decoder counted otherwise"
    frames_per_label = round(num_frames / max(1, num_labels))
    is_whole = abs(num_frames - num_labels * frames_per_label) <= frames_per_label
    if is_whole and frames_per_label > 1 and num_labels >= 5:  # of fewer, a whole ratio is chance
        return f"they were made at another frame rate, with one label for every {frames_per_label} frames"
    return "they were made at another frame rate or for another video"


def is_otherwise_counted(counted: int, num_frames: int) -> bool:
    """Return whether two counts are of the same video: decoders differ over frames at its start and at its end."""
    difference = abs(counted - num_frames)
    return difference <= MAX_OTHERWISE_COUNTED and 10 * difference <= num_frames


def class_indices(path: Path, named_lines: NamedFrames, label_space: LabelSpace, problems: list[Problem]) -> list[int]:
    """Look up the indices of class names.

    Args:
        path: The file.
        named_lines: The line and the class name of each frame or segment.
        label_space: The classes.
        problems: Each name that is not a class is appended to it once, with the first line that has the name.

    Returns:
        The index of each name; 0 where it is not a class.
    """
    indices: list[int] = []
    unknown: dict[str, list[int]] = {}
    for line, name in named_lines:
        index = label_space.index(name)
        indices.append(index or 0)
        if index is None:
            unknown.setdefault(name, []).append(line)
    joined = {name: unknown.pop(name) for name in [*unknown] if _is_set(name, label_space)}
    if joined:
        num_lines = sum(map(len, joined.values()))
        more = f" (as {num_lines - 1:,} more lines do)" if num_lines > 1 else ""
        name, lines = next(iter(joined.items()))
        problems.append(Problem(path, min(lines), f"got {name!r}, several classes{more}: {ASK_WHETHER_INDEPENDENT}"))
    for position, (name, lines) in enumerate(unknown.items()):
        more = f" (on {len(lines)} lines)" if len(lines) > 1 else ""
        is_index = name.isdigit() and not any(known.isdigit() for known in label_space.classes)
        cause = ": class names are expected, not numbers"
        if not is_index:  # a guess is slow, and more than the first problems are not printed
            cause = unknown_cause(name, label_space) if position < MAX_OF_KIND else ""
        what = f"unknown class {name!r}" if name else "no class name"
        problems.append(Problem(path, min(lines), what + more + cause))
    return indices


def unknown_cause(name: str, label_space: LabelSpace) -> str:
    """Return the likely cause of an unknown class, with a colon before it."""
    fault = describe_list_fault(label_space.classes)
    return f": {fault}" if fault else did_you_mean(name, label_space.classes)


def describe_list_fault(classes: Sequence[str]) -> str:
    """Describe that a list of classes seems to have several names or numbers on its lines; "" where it does not.

    Such names are valid, so that this is a cause only where the labels name other classes.

    >>> describe_list_fault(["mice,robot"])
    "'mice,robot' looks like several classes on one line of the list of classes: write one name a line"
    >>> describe_list_fault(["0 mice", "1 robot"])
    "'0 mice' looks like a number and a class in the list of classes: write the name alone on its line"
    """
    for name in classes:
        parts = [part.strip() for part in re.split(r"[,;\t ]", name) if part.strip()]
        if len(parts) == 2 and (parts[0].isdigit() or parts[1].isdigit()):
            return f"{name!r} looks like a number and a class in the list of classes: write the name alone on its line"
    joined = next((name for name in classes if re.search(r"[,;]", name)), None)
    if joined is not None and len(classes) == 1:
        return f"{joined!r} looks like several classes on one line of the list of classes: write one name a line"
    return ""


def _is_set(text: str, label_space: LabelSpace) -> bool:
    """Return whether a text joins several names of exclusive classes, as it would be if they overlapped."""
    names = [name.strip() for name in text.split(SEPARATOR)]
    return label_space.is_exclusive and len(names) > 1 and all(label_space.index(name) is not None for name in names)
