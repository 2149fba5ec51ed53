"""Pairs of classes are counted over the frames for which both are known, and reported where chance is no reason."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.datasets.co_occurrence import MAX_PAIRS, NEVER, NEVER_APART, count_pairs, find_doubtful_pairs

CLASSES = ("eats", "rears", "grooms")
SPACE = LabelSpace.independent(CLASSES)
labels_of_video = st.integers(0, 12).flatmap(
    lambda length: arrays(np.int8, (length, 3), elements=st.sampled_from([0, 1, IGNORE_INDEX]))
)


def bouts(*starts, length, num_frames=1000):
    column = np.zeros(num_frames, dtype=np.int8)
    for start in starts:
        column[start : start + length] = 1
    return column


def found(*columns, space=SPACE):
    """The pairs of each kind of warning, by the start of its advice."""
    warnings = find_doubtful_pairs([np.stack(columns, axis=1)], space)
    return {warning.what.strip("{} "): warning.pairs for warning in warnings}


@settings(deadline=None)
@given(st.lists(labels_of_video, max_size=4))
def test_pairs_are_counted_as_one_would_frame_by_frame(videos):
    counts = count_pairs(videos, 3)
    for i in range(3):
        num_bouts = sum(
            row[i] == 1 and (t == 0 or video[t - 1][i] != 1) for video in videos for t, row in enumerate(video)
        )
        num_present = sum(row[i] == 1 for video in videos for row in video)
        for j in range(3):
            known = [(row[i], row[j]) for video in videos for row in video if IGNORE_INDEX not in (row[i], row[j])]
            num_first = sum(first == 1 for first, _ in known)
            assert counts.frames[i, j] == len(known)
            assert counts.first[i, j] == num_first
            assert counts.both[i, j] == known.count((1, 1))
            assert counts.bouts[i, j] == pytest.approx(num_bouts * num_first / max(1, num_present))


def test_independent_classes_give_no_warning():
    generator = np.random.default_rng(0)
    for _ in range(20):
        columns = [np.repeat(generator.integers(0, 2, 100, dtype=np.int8), 10) for _ in CLASSES]
        assert found(*columns) == {}


def test_classes_in_the_same_frames_and_within_another_one_are_named():
    starts = range(0, 1000, 100)
    same, wide = bouts(*starts, length=20), bouts(*starts, length=40)
    assert found(same, same, wide) == {
        "and {} are always in the same frames": (("eats", "rears"),),
        "never occurs without": (("eats", "grooms"), ("rears", "grooms")),
    }


def test_classes_that_avoid_each_other_are_named_unless_they_are_of_one_group():
    eats, rears = bouts(*range(0, 1000, 100), length=30), bouts(*range(50, 1000, 100), length=30)
    grooms = bouts(*range(0, 1000, 90), length=45)
    never = {"and {} never occur together": (("eats", "rears"),)}
    assert found(eats, rears, grooms) == never
    assert found(eats, rears, grooms, space=LabelSpace(CLASSES, groups=("a", "a", "b"))) == {}
    assert find_doubtful_pairs([np.zeros(5, dtype=np.int64)], LabelSpace(CLASSES)) == []


def test_rare_classes_avoid_each_other_by_chance():
    assert found(bouts(0, length=10), bouts(500, length=10), bouts(200, 700, length=10)) == {}
    assert found(bouts(0, length=10), bouts(0, length=500), bouts(200, length=10)) == {}, "within by chance"


def test_unknown_frames_say_nothing_about_a_pair():
    eats, rears = bouts(*range(0, 1000, 100), length=30), bouts(*range(50, 1000, 100), length=30)
    rears[eats == 1] = IGNORE_INDEX
    assert found(eats, rears, np.zeros_like(eats)) == {}


def test_classes_of_which_no_two_occur_together_are_exclusive():
    columns = [bouts(*range(start, 990, 30), length=10) for start in (0, 10, 20)]
    (warning,) = find_doubtful_pairs([np.stack(columns, axis=1)], SPACE)
    assert str(warning).startswith("no frame has two classes, and chance would have led to some: do they exclude")


def test_many_pairs_are_listed_in_one_sentence():
    space = LabelSpace.independent(tuple(f"c{i}" for i in range(6)))
    columns = [bouts(*range(10 * i, 990, 60), length=10) for i in range(5)]
    columns.append(columns[0])
    same, never, apart = find_doubtful_pairs([np.stack(columns, axis=1)], space)
    assert str(same) == f"'c0' and 'c5' are always in the same frames. {same.advice}"
    assert str(never).count("never occur together") == MAX_PAIRS
    assert f"; and {len(never.pairs) - MAX_PAIRS} more pairs. If they exclude each other" in str(never)
    assert all("c5" in pair for pair in apart.pairs), "only c0 can be in one group with the others"


def test_classes_are_put_into_one_group_only_where_no_two_of_it_occur_together():
    """Eats and sleeps are of one group, and grooms occurs with sleeps: a group of eats and grooms is impossible."""
    eats, sleeps = bouts(*range(0, 1000, 100), length=30), bouts(*range(50, 1000, 100), length=30)
    grooms, rears = bouts(*range(60, 1000, 100), length=30), bouts(*range(30, 1000, 100), length=18)
    names = ("eats", "sleeps", "grooms", "rears")
    space = LabelSpace(names, groups=("state", "state", "grooms", "rears"))
    columns = [np.stack((eats, sleeps, grooms, rears), axis=1)]
    advice = {warning.advice: warning.pairs for warning in find_doubtful_pairs(columns, space)}
    assert ("eats", "grooms") in advice[NEVER_APART]
    for first, second in advice[NEVER]:
        groups = {space.groups[space.index(first)], space.groups[space.index(second)]}
        joined = [i for i, group in enumerate(space.groups) if group in groups]
        assert columns[0][:, joined].sum(axis=1).max() == 1


@settings(deadline=None, max_examples=60)
@given(
    arrays(np.int8, (40, 5), elements=st.sampled_from([0, 0, 0, 1])),
    st.lists(st.integers(0, 4), min_size=5, max_size=5),
)
def test_the_advice_for_all_pairs_can_be_followed_together(frames, groups):
    names, columns = tuple("abcde"), np.repeat(np.tile(frames, (20, 1)), 2, axis=0)
    for members in range(5):  # classes of one group exclude each other
        same = [i for i, group in enumerate(groups) if group == members]
        columns[:, same] *= columns[:, same].cumsum(axis=1) == 1
    space = LabelSpace(names, groups=tuple(map(str, groups)))
    joined = dict(zip(names, groups, strict=True))
    for warning in find_doubtful_pairs([columns], space):
        for first, second in warning.pairs if warning.advice == NEVER else ():
            joined = {name: joined[first] if group == joined[second] else group for name, group in joined.items()}
    for group in set(joined.values()):
        same = [i for i, name in enumerate(names) if joined[name] == group]
        assert columns[:, same].sum(axis=1).max() <= 1
