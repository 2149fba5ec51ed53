"""Pairs of classes that may overlap, and that do so always or never: a sign that their labels are not meant so.

Pairs are compared over the frames for which both classes are known. A pair is reported only where chance does not
explain it. Neighbouring frames are alike, so what counts is the number of bouts, the runs of frames of a class:

- If the bouts of two classes lay anywhere, bouts of length l and m would overlap with the probability (l + m) / N, so
  that b * c * (l + m) / N pairs of b and c bouts are to be expected, and their number is nearly Poisson.
- A class that is in a share p of the frames would hold all b bouts of another one with the probability p^b.

Shapes: T frames, K classes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.annotations.segments import segments_from_frames

MAX_CHANCE = 0.01  # the largest probability of what is reported
MAX_PAIRS = 6  # in one warning

SAME = "One of them says nothing that the other does not: leave it out, or look whether labels are missing."
WITHIN = "Is the first a part of the second? Otherwise labels are missing."
NEVER = (
    "If they exclude each other, put them, with all classes of their groups, into one group of classes.csv, so that"
    " this need not be learnt."
)
NEVER_APART = (
    "A group of classes.csv cannot say so, as it would hold classes that do occur together: look whether labels are"
    " missing; otherwise this is learnt."
)
NO_TWO = (
    "no frame has two classes, and chance would have led to some: do they exclude each other? List them in classes.txt"
    " then, so that this need not be learnt."
)


class PairCounts(NamedTuple):
    """Counts over the frames for which both classes of a pair are known.

    Attributes:
        frames: int64 [K, K], the number of these frames, N.
        first: int64 [K, K], those with the first class, the row.
        both: int64 [K, K], those with both classes.
        bouts: float [K, K], the bouts of the first class; of those in part among these frames, that part.
    """

    frames: np.ndarray
    first: np.ndarray
    both: np.ndarray
    bouts: np.ndarray


@dataclass(frozen=True)
class PairWarning:
    """Pairs of classes that are doubtful in the same way.

    Attributes:
        what: What is doubtful, as a predicate of the two classes, with a place for the name of each.
        pairs: The names of the classes of each pair.
        advice: What it may mean, and what to do about it.
    """

    what: str
    pairs: tuple[tuple[str, str], ...]
    advice: str

    def __str__(self) -> str:
        """Return one sentence, which names some of the pairs where there are many, and the advice."""
        shown = "; ".join(self.what.format(*map(repr, pair)) for pair in self.pairs[:MAX_PAIRS])
        if len(self.pairs) > MAX_PAIRS:
            shown += f"; and {len(self.pairs) - MAX_PAIRS} more pairs"
        return f"{shown}. {self.advice}" if shown else self.advice


def find_doubtful_pairs(labels: Iterable[np.ndarray], label_space: LabelSpace) -> list[PairWarning]:
    """Find pairs of classes that always or never occur together, although they are in different groups.

    Args:
        labels: The labels of each video.
        label_space: The classes.

    Returns:
        The warnings; none for classes that exclude each other.
    """
    if label_space.is_exclusive:
        return []
    counts = count_pairs(labels, label_space.num_classes)
    groups = label_space.groups or ()
    pairs = [(i, j) for i, j in combinations(range(label_space.num_classes), 2) if groups[i] != groups[j]]
    in_both_orders = [*pairs, *((j, i) for i, j in pairs)]
    same = [pair for pair in pairs if _is_within(counts, *pair) and _is_within(counts, *pair[::-1])]
    known = {*same, *(pair[::-1] for pair in same)}
    within = [pair for pair in in_both_orders if pair not in known and _is_within(counts, *pair)]
    never = [pair for pair in pairs if _is_apart(counts, *pair)]
    if never and not any(counts.both[pair] for pair in pairs):
        return [PairWarning("", (), NO_TWO)]
    never.sort(key=lambda pair: -_expected(counts, *pair))
    together = _pairs_to_join(never, counts, label_space)
    found: list[tuple[str, list[tuple[int, int]], str]] = [
        ("{} and {} are always in the same frames", same, SAME),
        ("{} never occurs without {}", within, WITHIN),
        ("{} and {} never occur together", together, NEVER),
        ("{} and {} never occur together", [pair for pair in never if pair not in together], NEVER_APART),
    ]
    names = label_space.classes
    return [
        PairWarning(what, tuple((names[i], names[j]) for i, j in of_kind), advice)
        for what, of_kind, advice in found
        if of_kind
    ]


def count_pairs(labels: Iterable[np.ndarray], num_classes: int) -> PairCounts:
    """Count how often each two of K classes occur together.

    Args:
        labels: int8 [T, K] of each video.
        num_classes: K.
    """
    frames, first, both = np.zeros((3, num_classes, num_classes), dtype=np.int64)
    num_bouts = np.zeros(num_classes)
    for of_video in labels:
        # a product of floats is exact up to 2^53, and much faster than one of integers
        is_present, is_known = (of_video == PRESENT).astype(float), (of_video != IGNORE_INDEX).astype(float)
        frames += (is_known.T @ is_known).astype(np.int64)
        first += (is_present.T @ is_known).astype(np.int64)
        both += (is_present.T @ is_present).astype(np.int64)
        for segment in segments_from_frames(of_video):
            num_bouts[segment.class_index] += 1
    shares = first / np.maximum(1, np.diag(first))[:, None]
    return PairCounts(frames, first, both, num_bouts[:, None] * shares)


def _is_within(counts: PairCounts, first: int, second: int) -> bool:
    """Return whether a class is only where another one is, and chance does not explain it."""
    num_first, num_second = counts.first[first, second], counts.first[second, first]
    if not num_first or counts.both[first, second] < num_first:
        return False
    share = num_second / counts.frames[first, second]
    return bool(share ** counts.bouts[first, second] < MAX_CHANCE)


def _is_apart(counts: PairCounts, first: int, second: int) -> bool:
    """Return whether two classes never occur together, and chance does not explain it."""
    return not counts.both[first, second] and bool(np.exp(-_expected(counts, first, second)) < MAX_CHANCE)


def _pairs_to_join(
    pairs: Sequence[tuple[int, int]], counts: PairCounts, label_space: LabelSpace
) -> list[tuple[int, int]]:
    """Return the pairs whose groups can be joined, one pair after the other, without classes that occur together."""
    members = {index: frozenset(group) for group in label_space.group_members for index in group}
    found = []
    for first, second in pairs:
        if members[first] != members[second]:
            if any(counts.both[i, j] for i in members[first] for j in members[second]):
                continue
            joined = members[first] | members[second]
            members |= dict.fromkeys(joined, joined)
        found.append((first, second))
    return found


def _expected(counts: PairCounts, first: int, second: int) -> float:
    """Return how many pairs of bouts of two classes would overlap by chance."""
    # b c (l + m) / N, where b l is the number of the frames of the first class, and c m that of the second
    of_first = counts.bouts[second, first] * counts.first[first, second]
    of_second = counts.bouts[first, second] * counts.first[second, first]
    return float((of_first + of_second) / max(1, counts.frames[first, second]))
