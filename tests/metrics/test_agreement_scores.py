"""The agreement of two annotators, against scikit-learn and values computed by hand."""

import doctest
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.errors import InputError
from pipeline.metrics import agreement
from pipeline.metrics.agreement import compare_annotators, format_agreement

CLASSES = ("eats", "rears", "grooms")
EXCLUSIVE, OVERLAPPING = LabelSpace(CLASSES), LabelSpace.independent(CLASSES)
N = IGNORE_INDEX
quick = settings(max_examples=60, deadline=None)


def made(seed, *, overlap):
    """Labels of two videos by two annotators, who often agree; a class may be seen by nobody."""
    rng = np.random.default_rng(seed)
    sides = {}, {}
    for stem in ("a", "b"):
        num_frames = int(rng.integers(1, 30))
        shape, top = ((num_frames, 3), 2) if overlap else ((num_frames,), int(rng.integers(1, 4)))
        one = rng.integers(0, top, shape)
        two = np.where(rng.random(shape) < 0.3, rng.integers(0, top, shape), one)
        for side, labels in zip(sides, (one, two), strict=True):
            labels[rng.random(shape) < 0.2] = N
            side[stem] = labels.astype(np.int8) if overlap else labels
    for side in sides:
        side["a"][0] = 0
    return sides


def kappa_of(reference, one, two):
    """Cohen's kappa of scikit-learn, which warns and returns NaN where it is not defined."""
    if len(set(one) | set(two)) < 2:
        return None
    return pytest.approx(reference.cohen_kappa_score(one, two), abs=1e-12)


def test_docstring_examples():
    assert doctest.testmod(agreement).failed == 0


@quick
@given(st.integers(0, 10_000))
def test_scores_of_exclusive_classes_equal_those_of_scikit_learn(reference, seed):
    first, second = made(seed, overlap=False)
    report = compare_annotators(first, second, EXCLUSIVE)
    one, two = (np.concatenate([side["a"], side["b"]]) for side in (first, second))
    known = (one != N) & (two != N)
    one, two = one[known], two[known]
    assert report["num_frames"] == len(one)
    assert report["overall"]["agreement"]["pooled"] == pytest.approx(100 * np.mean(one == two))
    assert report["overall"]["kappa"]["pooled"] == kappa_of(reference, one, two)
    for index, scores in enumerate(report["classes"].values()):
        sees = one == index, two == index
        assert scores["kappa"] == kappa_of(reference, *sees)
        assert (scores["first"], scores["second"], scores["both"]) == (*map(np.sum, sees), np.sum(sees[0] & sees[1]))
        assert scores["f1"] == (pytest.approx(100 * reference.f1_score(*sees)) if np.any(sees) else None)


@quick
@given(st.integers(0, 10_000))
def test_scores_of_overlapping_classes_equal_those_of_scikit_learn(reference, seed):
    first, second = made(seed, overlap=True)
    report = compare_annotators(first, second, OVERLAPPING)
    one, two = (np.concatenate([side["a"], side["b"]]) for side in (first, second))
    known = (one != N) & (two != N)
    is_scored = known.any(axis=1)
    assert report["num_frames"] == is_scored.sum()
    agree = ((one == two) | ~known).all(axis=1)
    assert report["overall"]["agreement"]["pooled"] == pytest.approx(100 * agree[is_scored].mean())
    assert report["overall"]["kappa"] == {"pooled": None, "per_video": None}
    kappas = []
    for index, scores in enumerate(report["classes"].values()):
        sees = one[known[:, index], index], two[known[:, index], index]
        assert scores["num_frames"] == len(sees[0])
        assert scores["kappa"] == kappa_of(reference, *sees)
        assert scores["f1"] == (pytest.approx(100 * reference.f1_score(*sees)) if np.any(sees) else None)
        kappas += [scores["kappa"]] if scores["kappa"] is not None else []
    assert report["overall"]["mean_kappa"]["pooled"] == (pytest.approx(np.mean(kappas)) if kappas else None)


@quick
@given(st.integers(0, 10_000), st.booleans())
def test_neither_side_is_the_truth(seed, overlap):
    space = OVERLAPPING if overlap else EXCLUSIVE
    first, second = made(seed, overlap=overlap)
    one, other = compare_annotators(first, second, space), compare_annotators(second, first, space)
    assert json.loads(json.dumps(one)) == one
    for report in (one, other):
        for part in (report, *report["videos"].values()):
            for scores in part["classes"].values():
                scores["first"], scores["second"] = sorted((scores["first"], scores["second"]))
    assert one == other


@quick
@given(st.integers(0, 10_000), st.booleans())
def test_the_scores_of_a_video_are_those_of_the_video_alone(seed, overlap):
    space = OVERLAPPING if overlap else EXCLUSIVE
    first, second = made(seed, overlap=overlap)
    report = compare_annotators(first, second, space)
    for stem, scores in report["videos"].items():
        alone = compare_annotators({stem: first[stem]}, {stem: second[stem]}, space)
        assert alone["videos"][stem] == scores
        assert alone["overall"]["mean_kappa"] == dict.fromkeys(("pooled", "per_video"), scores["mean_kappa"])


def test_the_report_equals_values_computed_by_hand():
    first = {"a": np.array([0, 0, 0, 1, 1, N]), "b": np.array([N])}
    second = {"a": np.array([0, 0, 1, 1, N, 2]), "b": np.array([0])}
    report = compare_annotators(first, second, EXCLUSIVE)
    assert (report["num_videos"], report["num_frames"]) == (1, 4)
    assert report["overall"]["agreement"]["pooled"] == 75
    assert report["overall"]["kappa"]["pooled"] == pytest.approx((0.75 - 0.5) / 0.5)
    eats, rears, grooms = report["classes"].values()
    assert eats == pytest.approx(
        {"agreement": 75, "kappa": 0.5, "f1": 80, "num_frames": 4, "first": 3, "second": 2, "both": 2}
    )
    assert rears["f1"] == pytest.approx(200 / 3)
    assert (grooms["agreement"], grooms["kappa"], grooms["f1"]) == (100, None, None)
    with pytest.raises(InputError, match="not one frame of the 1 videos is labelled on both sides"):
        compare_annotators({"b": first["b"]}, {"b": second["b"]}, EXCLUSIVE)
    with pytest.raises(ValueError, match="other videos or lengths"):
        compare_annotators(first, {"a": second["a"]}, EXCLUSIVE)


@pytest.mark.parametrize("overlap", [False, True])
def test_the_table_names_classes_and_videos_in_aligned_columns(overlap):
    report = compare_annotators(*made(5, overlap=overlap), OVERLAPPING if overlap else EXCLUSIVE)
    head, *tables = (part.split("\n") for part in format_agreement(report).split("\n\n"))
    assert head[0].startswith("videos 2   frames labelled on both sides ")
    for table in tables:
        assert len({len(line) for line in table}) == 1
    assert [line.split()[0] for line in tables[1][2:]] == list(CLASSES)
    assert [line.split()[0] for line in tables[2][2:]] == ["a", "b"]
    assert any(line.startswith("Cohen's kappa ") for line in tables[0]) != overlap


def test_a_kappa_of_all_classes_that_is_not_defined_is_a_dash():
    labels = {"a": np.zeros(3, dtype=np.int64)}
    (line,) = [
        line
        for line in format_agreement(compare_annotators(labels, labels, EXCLUSIVE)).split("\n")
        if line.startswith("Cohen's kappa ")
    ]
    assert line.split() == ["Cohen's", "kappa", "-", "-"]
