"""The spans of a video that are described: even ones, or the segments that `framescribe label` wrote beside it.

Shapes: T frames, S spans of a video.
"""

from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.formats.predicted_segments import read_spans
from pipeline.annotations.layouts import SEGMENTS, Span
from pipeline.annotations.problems import AnnotationError, without_content
from pipeline.errors import InputError
from pipeline.files import check_is_regular, find_named
from pipeline.labelling.report import REPORT, LabelReport

MAX_SEGMENTS_BYTES = 1 << 28
# The maximum difference between the ends of a video and of its segments, which may be of a copy in another format.
MAX_DISTANCE_SECONDS = 0.5


class LabelledSpans(NamedTuple):
    """The spans of a video.

    Attributes:
        spans: The spans, in the order of their starts.
        may_overlap: Whether they are of classes that overlap: they may overlap, leave gaps, and end before the video.
    """

    spans: list[Span]
    may_overlap: bool


def spans_beside(path: Path, labels: Path) -> LabelledSpans:
    """Read the segments of a video.

    Args:
        path: The video.
        labels: The folder with its <stem>.segments.csv, and the report that says whether its classes overlap. Without
            the report, segments that overlap say so.

    Raises:
        InputError: There is no such file.
        AnnotationError: See `read_spans`.
    """
    name = f"{path.stem}{SEGMENTS}"
    segments = find_named(labels, name)
    if segments is None:
        raise InputError(
            f"{path}: there is no {labels / name}: write it with `framescribe label`, or leave out --labels"
        )
    check_is_regular(segments, max_bytes=MAX_SEGMENTS_BYTES)
    report = LabelReport.read(labels / f"{path.stem}{REPORT}")
    try:
        may_overlap = _overlap(segments) if report is None else report.classes_overlap
        return LabelledSpans(read_spans(segments, may_overlap=may_overlap), may_overlap)
    except AnnotationError as error:
        raise AnnotationError(without_content(error.problems, labels)) from None


def _overlap(segments: Path) -> bool:
    """Return whether some segments of a file overlap, as those of classes that overlap do."""
    try:
        spans = read_spans(segments, may_overlap=True)
    except AnnotationError:
        return False  # what is wrong with the file is said where it is read as one of exclusive classes
    return any(after.start_seconds < before.stop_seconds for before, after in pairwise(spans))


def even_spans(start_seconds: float, stop_seconds: float, every_seconds: float) -> LabelledSpans:
    """Return unlabelled spans from start to stop that last about `every_seconds`."""
    num_spans = max(1, round((stop_seconds - start_seconds) / every_seconds))
    edges = [start_seconds + span_index * every_seconds for span_index in range(num_spans)] + [stop_seconds]
    return LabelledSpans([Span(start, stop, None) for start, stop in pairwise(edges)], may_overlap=False)


def check_end(path: Path, spans: LabelledSpans, video_ends_seconds: float) -> None:
    """Raise InputError where the spans do not end where the video ends, or after it where classes overlap."""
    spans_end_seconds = max((span.stop_seconds for span in spans.spans), default=video_ends_seconds)
    distance = spans_end_seconds - video_ends_seconds
    if (distance if spans.may_overlap else abs(distance)) > MAX_DISTANCE_SECONDS:
        raise InputError(
            f"{path}: ends at {video_ends_seconds:.2f} s, its segments at {spans_end_seconds:.2f} s: were they made"
            " from another video?"
        )


def place_spans(spans: LabelledSpans, times: np.ndarray, *, frame_seconds: float) -> tuple[list[Span], np.ndarray]:
    """Find the frame that describes each span: the nearest to its middle.

    Args:
        spans: The spans.
        times: float64 [T], those of the frames, ascending.
        frame_seconds: The duration of the last frame.

    Returns:
        The spans that are described, and their frames int64 [S]. Those that the same frame describes are merged. Where
        classes overlap none is, and the gaps between them are added as spans without a label.
    """
    if not spans.may_overlap:
        return _merge_spans(spans.spans, _nearest(times, _middles(spans.spans)))
    stop_seconds = float(times[-1]) + frame_seconds
    described = _with_gaps(spans.spans, float(times[0]), stop_seconds, shortest_seconds=frame_seconds / 2)
    return described, _nearest(times, _middles(described))


def _middles(spans: Sequence[Span]) -> np.ndarray:
    return np.array([(span.start_seconds + span.stop_seconds) / 2 for span in spans])


def _with_gaps(
    spans: Sequence[Span], start_seconds: float, stop_seconds: float, *, shortest_seconds: float
) -> list[Span]:
    """Add the gaps between spans, in the order of their starts, from start to stop, but none that is too short."""
    filled, covered_until = [], start_seconds
    for span in (*spans, Span(stop_seconds, stop_seconds, None)):
        if span.start_seconds - covered_until > shortest_seconds:
            filled.append(Span(covered_until, span.start_seconds, None))
        filled.append(span)
        covered_until = max(covered_until, span.stop_seconds)
    return filled[:-1]


def _nearest(times: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Find the index in times [T], ascending, nearest to each of `targets` [S], the earlier of two: int64 [S]."""
    after = np.searchsorted(times, targets).clip(max=len(times) - 1)
    before = (after - 1).clip(min=0)
    return np.where(targets - times[before] <= times[after] - targets, before, after)


def _merge_spans(spans: Sequence[Span], positions: np.ndarray) -> tuple[list[Span], np.ndarray]:
    """Merge the spans, in order of time, that the same frame would describe.

    Args:
        spans: The spans.
        positions: int64 [S], ascending, the frame of each span.

    Returns:
        The spans, each with the label of the longest that became part of it, and their frames, each of them once.
    """
    merged = []
    for _, group in groupby(zip(spans, positions.tolist(), strict=True), key=lambda pair: pair[1]):
        run = [span for span, _ in group]
        longest = max(run, key=lambda span: span.stop_seconds - span.start_seconds)
        merged.append(Span(run[0].start_seconds, run[-1].stop_seconds, longest.label))
    return merged, np.unique(positions)
