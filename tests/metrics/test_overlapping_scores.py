"""The scores of classes that may overlap, against scikit-learn, brute force, and values computed by hand."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.segments import segments_from_frames
from pipeline.errors import InputError
from pipeline.metrics import segments
from pipeline.metrics.calibration import calibration_error
from pipeline.metrics.report import evaluate, flatten
from pipeline.scores import IOU_PERCENTS, LABEL_SCORES

CLASSES = ("eats", "rears", "grooms")
SPACE = LabelSpace.independent(CLASSES)
WITH_BACKGROUND = LabelSpace.independent(CLASSES, background="rears")
N = IGNORE_INDEX
quick = settings(max_examples=60, deadline=None)


def made(seed, *, share_known=0.8, num_videos=3, num_classes=3):
    """Random truth with unknown pairs, predictions and probabilities; a class may occur nowhere."""
    rng = np.random.default_rng(seed)
    density = rng.choice([0, 0.2, 0.6], size=num_classes)
    truth, predicted, probabilities = {}, {}, {}
    for index in range(num_videos):
        num_runs = int(rng.integers(2, 12))
        runs = rng.integers(1, 5, num_runs)
        true = (np.repeat(rng.random((num_runs, num_classes)), runs, axis=0) < density).astype(np.int8)
        p = np.clip(0.4 * true + 0.6 * rng.random(true.shape), 0, 1).round(2).astype(np.float32)
        claimed = (p > 0.5).astype(np.int8)
        is_unknown = rng.random(true.shape) > share_known
        true[is_unknown] = N
        true[0, 0] = 0  # each video has a label
        claimed[is_unknown & (rng.random(true.shape) < 0.5)] = N
        claimed[0, 0] = max(claimed[0, 0], 0)
        stem = f"v{index}"
        truth[stem], predicted[stem], probabilities[stem] = true, claimed, p
    return truth, predicted, probabilities


def known_pairs(truth, predicted, probabilities, index):
    true, claimed, p = (np.concatenate(list(side.values()))[:, index] for side in (truth, predicted, probabilities))
    return true[true != N], claimed[true != N], p[true != N]


@quick
@given(st.integers(0, 10_000))
def test_scores_of_frames_equal_those_of_scikit_learn(reference, seed):
    videos = made(seed)
    report = evaluate(*videos[:2], SPACE, videos[2])
    all_true, all_claimed, f1s, precisions, recalls, average_precisions = [], [], [], [], [], []
    for index, scores in enumerate(report["classes"].values()):
        true, claimed, p = known_pairs(*videos, index)
        all_true.append(true)
        all_claimed.append(claimed)
        assert (scores["support"], scores["scored_frames"]) == (true.sum(), len(true))
        if not (true.any() or claimed.any()):
            assert (scores["precision"], scores["recall"], scores["f1"]) == (None, None, None)
        else:
            *expected, _ = reference.precision_recall_fscore_support(true, claimed, average="binary", zero_division=0)
            got = (scores["precision"], scores["recall"], scores["f1"])
            assert got == pytest.approx([100 * score for score in expected])
            for means, score in zip((precisions, recalls, f1s), expected, strict=True):
                means.append(score)
        if true.any():
            average_precisions.append(reference.average_precision_score(true, p))
            assert scores["average_precision"] == pytest.approx(100 * average_precisions[-1], abs=1e-9)
        else:
            assert scores["average_precision"] is None
        assert scores["calibration_error"] == calibration_error(p, true)
    flat = flatten(report)
    micro = reference.precision_recall_fscore_support(
        np.concatenate(all_true), np.concatenate(all_claimed), average="binary", zero_division=0
    )
    for name, expected in (
        ("frame_macro_f1", f1s),
        ("frame_macro_precision", precisions),
        ("frame_macro_recall", recalls),
        ("frame_micro_precision", micro[:1] if f1s else []),
        ("frame_micro_recall", micro[1:2] if f1s else []),
        ("frame_micro_f1", micro[2:3] if f1s else []),
        ("mean_average_precision", average_precisions),
    ):
        assert flat.get(f"{name}_pooled") == (pytest.approx(100 * np.mean(expected)) if len(expected) else None), name


def test_macro_and_micro_means_equal_those_of_scikit_learn_where_all_is_known(reference):
    truth, predicted, probabilities = made(1, share_known=1)
    flat = flatten(evaluate(truth, predicted, SPACE, probabilities))
    true, claimed, p = (np.concatenate(list(side.values())) for side in (truth, predicted, probabilities))
    assert true.any(axis=0).all()
    for average in ("macro", "micro"):
        expected = reference.precision_recall_fscore_support(true, claimed, average=average, zero_division=0)[:3]
        got = [flat[f"frame_{average}_{name}_pooled"] for name in ("precision", "recall", "f1")]
        assert got == pytest.approx([100 * score for score in expected])
    assert flat["mean_average_precision_pooled"] == pytest.approx(100 * reference.average_precision_score(true, p))
    assert flat["frame_accuracy_pooled"] == pytest.approx(100 * reference.accuracy_score(true, claimed))


@quick
@given(st.integers(0, 10_000))
def test_accuracy_and_co_occurrence_equal_a_count_frame_by_frame(seed):
    truth, predicted, probabilities = made(seed, share_known=0.5)
    report = evaluate(truth, predicted, SPACE, probabilities)
    num_frames, num_right = 0, 0
    both = {side: np.zeros((3, 3), dtype=int) for side in ("truth", "predicted")}
    for stem in truth:
        for true, claimed in zip(truth[stem].tolist(), predicted[stem].tolist(), strict=True):
            known = [index for index in range(3) if true[index] != N]
            num_frames += bool(known)
            num_right += bool(known) and all(true[index] == claimed[index] for index in known)
            for i in known:
                for j in known:
                    both["truth"][i, j] += true[i] == true[j] == 1
                    both["predicted"][i, j] += claimed[i] == claimed[j] == 1
    assert report["num_frames"] == num_frames
    assert report["frames"]["accuracy"]["pooled"] == pytest.approx(100 * num_right / num_frames)
    assert report["co_occurrence"] == {side: matrix.tolist() for side, matrix in both.items()}
    assert np.diagonal(both["truth"]).tolist() == [scores["support"] for scores in report["classes"].values()]


@quick
@given(st.integers(0, 10_000))
def test_scores_of_bouts_are_those_of_each_class_by_itself(seed):
    truth, predicted, probabilities = made(seed)
    report = evaluate(truth, predicted, SPACE, probabilities)
    alone = LabelSpace(("absent", "present"), background="absent")
    expected = {name: [] for name in ("edit", *(f"f1_at_{percent}" for percent in IOU_PERCENTS))}
    for index, scores in enumerate(report["classes"].values()):
        sides = [{}, {}]
        for stem, true in truth.items():
            known = true[:, index] != N
            for side, labels in zip(sides, (true, predicted[stem]), strict=True):
                side[stem] = labels[known, index].astype(np.int64)
        num_bouts = [sum(s.class_index for v in side.values() for s in segments_from_frames(v)) for side in sides]
        assert scores["segments"] == num_bouts[0]
        if not any(num_bouts):
            assert scores["edit"] is None
            assert scores["f1_at_50"] is None
            continue
        part = evaluate(*sides, alone)["without_background"]["segments"]
        assert scores["edit"] == pytest.approx(part["edit"]["pooled"])
        expected["edit"].append(scores["edit"])
        for percent in IOU_PERCENTS:
            assert scores[f"f1_at_{percent}"] == pytest.approx(part["f1"][str(percent)]["pooled"])
            expected[f"f1_at_{percent}"].append(scores[f"f1_at_{percent}"])
    flat = flatten(report)
    for name, of_classes in expected.items():
        assert flat[f"{name}_pooled"] == pytest.approx(np.mean(of_classes) if of_classes else 100.0)


@quick
@given(st.integers(0, 10_000))
def test_without_background_the_scores_are_those_of_the_other_classes(seed):
    truth, predicted, probabilities = made(seed)
    report = evaluate(truth, predicted, WITH_BACKGROUND, probabilities)
    others = [{stem: labels[:, [0, 2]] for stem, labels in side.items()} for side in (truth, predicted, probabilities)]
    rest = evaluate(*others[:2], LabelSpace.independent(("eats", "grooms")), others[2])
    for part in ("frames", "mean_average_precision", "segments"):
        assert report["without_background"][part] == rest[part]
    for stem, scores in rest["videos"].items():
        assert report["videos"][stem]["without_background"]["segments"] == scores["segments"]


@quick
@given(st.integers(0, 10_000))
def test_scores_of_one_video_are_the_pooled_ones_and_what_is_predicted_for_unknown_pairs_counts_for_nothing(seed):
    truth, predicted, probabilities = made(seed, num_videos=1)
    report = evaluate(truth, predicted, WITH_BACKGROUND, probabilities)
    flat = flatten(report)
    for name, score in flat.items():
        if "_pooled" in name:
            assert score == pytest.approx(flat[name.replace("_pooled", "_per_video")])
    rng = np.random.default_rng(seed)
    others = {s: np.where(t == N, rng.integers(0, 2, t.shape), predicted[s]).astype(np.int8) for s, t in truth.items()}
    noise = {s: np.where(t == N, np.nan, probabilities[s]) for s, t in truth.items()}
    assert evaluate(truth, others, WITH_BACKGROUND, noise) == report


def test_the_report_equals_values_computed_by_hand():
    truth = {"a": np.array([[1, 0, N], [1, 1, N], [0, 1, 0], [N, N, N]], dtype=np.int8)}
    predicted = {"a": np.array([[1, 0, 1], [1, 0, 1], [1, 1, 0], [1, 1, 1]], dtype=np.int8)}
    probabilities = {"a": np.array([[0.9, 0.2, 0.7], [0.6, 0.4, 0.6], [0.8, 0.7, 0.2], [0.5, 0.5, 0.5]])}
    report = evaluate(truth, predicted, SPACE, probabilities)
    assert json.loads(json.dumps(report)) == report
    assert (report["num_videos"], report["num_frames"]) == (1, 3)
    assert report["frames"]["accuracy"]["pooled"] == pytest.approx(100 / 3)
    eats, rears, grooms = report["classes"].values()
    assert eats == pytest.approx(
        {"precision": 200 / 3, "recall": 100, "f1": 80, "support": 2, "segments": 1, "scored_frames": 3,
         "average_precision": 100 * (1 + 2 / 3) / 2, "edit": 100, "f1_at_10": 100, "f1_at_25": 100, "f1_at_50": 100,
         "calibration_error": 100 * (0.1 + 0.4 + 0.8) / 3}
    )  # fmt: skip
    assert (rears["precision"], rears["recall"], rears["average_precision"]) == (100, 50, 100)
    assert (rears["f1_at_50"], rears["edit"]) == (100, 100), "1 of 2 frames is an intersection over union of 1/2"
    assert (grooms["f1"], grooms["average_precision"], grooms["edit"], grooms["scored_frames"]) == (None, None, None, 1)
    assert report["frames"]["macro_f1"]["pooled"] == pytest.approx((80 + 200 / 3) / 2)
    assert report["frames"]["micro_f1"]["pooled"] == pytest.approx(200 * 3 / (4 + 4))
    assert report["co_occurrence"] == {
        "truth": [[2, 1, 0], [1, 2, 0], [0, 0, 0]],
        "predicted": [[3, 1, 0], [1, 1, 0], [0, 0, 0]],
    }
    assert report["never_predicted"] == []
    assert report["without_background"] is None


def test_without_probabilities_the_scores_that_need_them_are_undefined():
    truth, predicted, _ = made(3)
    report = evaluate(truth, predicted, SPACE)
    assert report["mean_average_precision"] == {"pooled": None, "per_video": None}
    assert {scores["average_precision"] for scores in report["classes"].values()} == {None}
    assert {scores["calibration_error"] for scores in report["classes"].values()} == {None}
    names = [name for name in flatten(report) if name.endswith("_pooled")]
    assert names == [f"{s.name}_pooled" for s in LABEL_SCORES if s.name != "mean_average_precision"]


def test_a_single_class_and_no_class_but_the_background_are_scored():
    truth, predicted = {"a": np.array([[1], [0]], dtype=np.int8)}, {"a": np.array([[0], [0]], dtype=np.int8)}
    report = evaluate(truth, predicted, LabelSpace.independent(("eats",), background="eats"))
    assert report["never_predicted"] == ["eats"]
    assert report["classes"]["eats"]["f1"] == 0
    rest = flatten({**report, **report["without_background"], "without_background": None})
    assert "frame_accuracy_pooled" not in rest
    assert rest["edit_pooled"] == 100, "there was nothing to find"


def test_all_bad_videos_are_named_in_one_error():
    labels = {
        "a": ([[0, 0, 0]] * 3, [[0, 0, 0]] * 4),
        "b": ([[0, 0, N]] * 2, [[0, N, N]] * 2),
        "c": ([[0, 0, 2]], [[0, 0, 0]]),
    }
    truth, predicted = ({s: np.array(pair[i], dtype=np.int8) for s, pair in labels.items()} for i in (0, 1))
    with pytest.raises(InputError) as caught:
        evaluate(truth, predicted, SPACE)
    assert str(caught.value).split("\n") == [
        "got 4 predicted labels for 3 true ones of a: they are of different videos or frame rates",
        "2 of 4 pairs of a frame and a class of b have no prediction: say which classes are absent",
        "c: got other labels than present 1, absent 0 and unlabelled -100",
    ]
    with pytest.raises(InputError, match="a: frame 0 has several classes of one group: eats, rears"):
        evaluate(
            {"a": np.array([[1, 1]], dtype=np.int8)},
            {"a": np.array([[1, 0]], dtype=np.int8)},
            LabelSpace(("eats", "rears"), groups=("state", "state")),
        )


def test_probabilities_that_do_not_fit_are_refused():
    truth = {"a": np.zeros((2, 3), dtype=np.int8)}
    with pytest.raises(ValueError, match="got probabilities of shape"):
        evaluate(truth, truth, SPACE, {"a": np.zeros((2, 2))})
    with pytest.raises(ValueError, match="not finite"):
        evaluate(truth, truth, SPACE, {"a": np.full((2, 3), np.nan)})


def test_the_edit_score_of_one_class_is_the_ratio_of_its_numbers_of_bouts():
    truth, predicted = np.array([1, 0, 1, 0, 1, 0]), np.array([1, 1, 1, 0, 0, 1])
    report = evaluate(
        {"a": truth[:, None].astype(np.int8)}, {"a": predicted[:, None].astype(np.int8)}, LabelSpace.independent(("x",))
    )
    assert report["segments"]["edit"]["pooled"] == pytest.approx(100 * 2 / 3)
    assert segments.edit_score(segments.EditCount(1, 3)) == pytest.approx(100 * 2 / 3)
