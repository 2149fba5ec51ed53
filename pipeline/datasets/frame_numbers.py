"""Warnings about segments whose numbers are valid, and yet are probably no frames that are counted as they should be.

Three mistakes leave a trace in the labels: whole seconds instead of frames, stops that are the last frame of a segment
instead of the one after it, and counting from 1. Each would lose or shift frames without any other sign.

Shapes: T frames, K classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import Problem
from pipeline.annotations.segments import Segment, segments_from_frames
from pipeline.datasets.manifest import Source

USUAL_RATES = (15, 24, 25, 30, 50, 60)  # frames per second, of features, whose files do not have theirs
MIN_RATE = 4  # below, seconds and frames are too much alike
REMEDY = " Then name the columns start_seconds and stop_seconds"
MIN_GAPS = 2  # of a single frame, before they are no chance


class _Marks(NamedTuple):
    """What the labels of a video show.

    Attributes:
        start: The first frame with a label.
        stop: The frame after the last one with a label.
        num_frames: T.
        gaps: The number of frames between each segment and the next one; 0 where they touch, and less where they
            overlap. Where they overlap, only segments of one group of classes follow each other.
        segments: The noun for these segments.
    """

    start: int
    stop: int
    num_frames: int
    gaps: tuple[int, ...] = ()
    segments: str = "segments"

    @property
    def has_single_gaps(self) -> bool:
        """Whether no two segments touch, and most of them are one frame apart."""
        return bool(self.gaps) and min(self.gaps) > 0 and 2 * self.gaps.count(1) >= len(self.gaps)


def find_doubtful_numbers(
    sources: Mapping[str, Source], labels: Mapping[str, np.ndarray], tables: Mapping[str, Path], label_space: LabelSpace
) -> list[Problem]:
    """Find label files whose numbers are probably not frames, counted from 0, with the stop after the last one.

    Args:
        sources: The videos, or files of features, by their stems.
        labels: int64 [T], or int8 [T, K] where classes overlap, by stem.
        tables: By stem, the files with start and stop of each segment.
        label_space: The classes.

    Returns:
        At most one problem for each file, which is a warning: the labels can be used.
    """
    marks = {stem: _marks(labels[stem], label_space) for stem in tables if stem in labels and stem in sources}
    marks = {stem: found for stem, found in marks.items() if found.stop}
    causes = dict(_find_counting(marks)) | dict(_find_seconds(marks, sources))
    return [Problem(tables[stem], None, causes[stem]) for stem in marks if stem in causes]


def _marks(labels: np.ndarray, label_space: LabelSpace) -> _Marks:
    segments = segments_from_frames(labels)
    if not segments:
        return _Marks(0, 0, len(labels))
    found = _Marks(segments[0].start, max(segment.stop for segment in segments), len(labels), _gaps(segments))
    if label_space.is_exclusive or min(found.gaps, default=1) > 0:
        return found
    of_groups = [
        _gaps([segment for segment in segments if segment.class_index in members])
        for members in label_space.group_members
    ]
    gaps = [gap for of_group in of_groups for gap in of_group]
    if min(gaps, default=0) > 0:  # a group that is rarely on shows nothing
        gaps = [gap for of_group in of_groups if 2 * of_group.count(1) >= len(of_group) for gap in of_group] or gaps
    return found._replace(gaps=tuple(gaps), segments="segments of a group")


def _gaps(segments: Sequence[Segment]) -> tuple[int, ...]:
    return tuple(after.start - before.stop for before, after in pairwise(segments))


def _find_seconds(marks: Mapping[str, _Marks], sources: Mapping[str, Source]) -> Iterator[tuple[str, str]]:
    """Find labels that end where the video would end if its seconds were frames."""
    of_all = len(marks) > 1 and all(_ends_within_seconds(found, sources[stem]) for stem, found in marks.items())
    for stem, found in marks.items():
        is_early = 2 * found.stop <= found.num_frames  # also a video of a single frame ends with its first second
        if is_early and (of_all or _ends_with_seconds(found, sources[stem])):
            seconds = _seconds(found.num_frames, sources[stem])
            time = f", {found.stop / found.num_frames * seconds[0]:.1f} s" if len(seconds) == 1 else ""
            remedy = REMEDY if sources[stem].frame_rate is not None else ""
            yield stem, f"the labels end at frame {found.stop} of {found.num_frames}{time}: are these seconds?{remedy}"


def _seconds(num_frames: int, source: Source) -> list[float]:
    """Return the duration of a video, or the likely ones of features."""
    if source.frame_rate is None:
        return [num_frames / rate for rate in USUAL_RATES]
    rate = Fraction(source.frame_rate)
    return [float(num_frames / rate)] if rate >= MIN_RATE else []


def _ends_within_seconds(found: _Marks, source: Source) -> bool:
    seconds = _seconds(found.num_frames, source)
    return source.frame_rate is not None and bool(seconds) and found.stop <= seconds[0] + 1


def _ends_with_seconds(found: _Marks, source: Source) -> bool:
    seconds = _seconds(found.num_frames, source)
    if source.frame_rate is None:  # one of six rates fits many a file with a single early event
        return found.start == 0 and any(abs(found.stop - duration) <= 1 for duration in seconds)
    return bool(seconds) and seconds[0] / 2 <= found.stop <= seconds[0] + 1


def _find_counting(marks: Mapping[str, _Marks]) -> Iterator[tuple[str, str]]:
    """Find stops that are the last frame, and numbers that are counted from 1."""
    with_gaps = [found for found in marks.values() if found.gaps]
    all_single = all(found.has_single_gaps for found in with_gaps)
    num_single = sum(found.gaps.count(1) for found in with_gaps)
    all_end_early = len(marks) > 1 and all(found.stop == found.num_frames - 1 for found in marks.values())
    none_from_0 = all(found.start for found in marks.values())
    for stem, found in marks.items():
        num_here = num_single if all_single else found.gaps.count(1)
        if found.has_single_gaps and num_here >= MIN_GAPS:
            which = "all" if set(found.gaps) == {1} else "most"
            from_1 = "; and is the first frame 1? It must be 0" if found.start == 1 else ""
            what = f"between {which} {found.segments} lies exactly one frame"
            yield stem, f"{what}: is stop the last frame? It must be the one after{from_1}"
        elif found.start == 1 and none_from_0:
            yield stem, "the first label is at frame 1: is the first frame 1? It must be 0"
        elif all_end_early:
            cause = "is stop the last frame? It must be the one after"
            yield stem, f"the labels end one frame before the video, in all files: {cause}"
