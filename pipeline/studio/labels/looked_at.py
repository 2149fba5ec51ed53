"""Which frames of a video were looked at, for which class: as ranges for `scored.csv`, from tracks and back.

Shapes: K classes, N ranges between neighbouring edges.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.annotations.formats.scored import ScoredRange
from pipeline.studio.labels.tracks import Tracks

Range = tuple[int, int, int | None]  # start, stop, the index of the class; None for all classes


def ranges_of(tracks: Tracks) -> list[Range]:
    """Return the ranges of the video in which labels are known: none where all of it is, for all classes.

    Args:
        tracks: The labels, of which some are known.
    """
    edges, is_known = _known(tracks, ())
    if is_known.all():
        return []
    common = np.asarray(is_known.all(axis=1))
    ranges: list[Range] = [(start, stop, None) for start, stop in _runs(edges, common)]
    for index in range(is_known.shape[1]):
        ranges += [(start, stop, index) for start, stop in _runs(edges, is_known[:, index] & ~common)]
    return ranges


def ranges_by_class(tracks: Tracks) -> list[Range]:
    """Return the ranges in which labels are known for each class by name, also where all of the video is."""
    edges, is_known = _known(tracks, ())
    return [(start, stop, k) for k in range(is_known.shape[1]) for start, stop in _runs(edges, is_known[:, k])]


def are_kept(tracks: Tracks, ranges: Sequence[ScoredRange]) -> bool:
    """Return whether a label file with the ranges of a scored.csv is read as these tracks.

    Args:
        tracks: The labels.
        ranges: What the scored.csv has of the video; all of it was looked at where there is none.
    """
    edges, is_known = _known(tracks, ranges)
    is_scored = np.full(is_known.shape, not ranges)
    for _, start, stop, index in ranges:
        first, last = np.searchsorted(edges, (start, stop))
        is_scored[first:last, slice(None) if index is None else index] = True
    if tracks.label_space.is_exclusive:  # frames in no row are unlabelled in any case
        return bool((is_scored | ~is_known).all())
    return bool((is_scored == is_known).all())


def _known(tracks: Tracks, ranges: Iterable[ScoredRange]) -> tuple[np.ndarray, np.ndarray]:
    """Return edges int64 [N + 1], and bool [N, K or 1]: between which of them the labels are known."""
    ends = [0, tracks.num_frames, *(end for _, start, stop, _ in ranges for end in (start, stop))]
    of_tracks = [np.asarray(column, dtype=np.int64) for one in tracks.tracks for column in (one.starts, one.stops)]
    edges = np.unique(np.concatenate([np.asarray(ends, dtype=np.int64), *of_tracks]))
    steps = np.zeros((len(edges), len(tracks.tracks)), dtype=np.int64)
    for index, track in enumerate(tracks.tracks):
        np.add.at(steps[:, index], np.searchsorted(edges, track.starts), 1)
        np.add.at(steps[:, index], np.searchsorted(edges, track.stops), -1)
    return edges, np.cumsum(steps, axis=0)[:-1] > 0


def _runs(edges: np.ndarray, is_inside: np.ndarray) -> list[tuple[int, int]]:
    """Return the runs of a mask bool [N] between edges int64 [N + 1]."""
    turns = np.flatnonzero(np.diff(np.concatenate([[False], is_inside, [False]]).astype(np.int8)))
    return [(int(edges[a]), int(edges[b])) for a, b in zip(turns[::2], turns[1::2], strict=True)]
