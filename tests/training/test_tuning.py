"""Values fitted on the validation split are compared with every candidate, and tried on known labels."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.segment_model import fit_segment_model
from pipeline.annotations.segments import median_segment_frames, segments_from_frames
from pipeline.config.labeller import LabellerSettings
from pipeline.config.section import SegmentDecoding
from pipeline.errors import InputError
from pipeline.metrics.calibration import calibration_error
from pipeline.postprocessing.confidence import fit_confidence
from pipeline.postprocessing.kinds import weigh_by_kind
from pipeline.postprocessing.temperature import fit_temperature, tempered
from pipeline.training.tuning import WEIGHTS, Split, check_decoding

CLASSES = ("idle", "left", "right")


def made_split(seed: int, *, flicker: float = 0.1, background: str | None = "idle") -> Split:
    """Make two videos with segments of 4 to 11 frames, and probabilities that are wrong for a share of the frames."""
    generator = np.random.default_rng(seed)
    truth, probabilities = {}, {}
    for stem in ("a", "b"):
        lengths = generator.integers(4, 12, 9)
        labels = np.repeat(np.arange(9) % 3, lengths).astype(np.int64)
        named = np.where(generator.random(len(labels)) < flicker, generator.integers(0, 3, len(labels)), labels)
        probabilities[stem] = 0.1 + 0.7 * np.eye(3)[named]
        truth[stem] = np.where(generator.random(len(labels)) < 0.1, IGNORE_INDEX, labels)
    return Split(truth, probabilities, LabelSpace(CLASSES, background))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 0.5))
@example(20, 0.5)  # a median of 3.5 frames
def test_no_other_length_has_a_better_f1(seed: int, flicker: float) -> None:
    split = made_split(seed, flicker=flicker)
    best, scores = split.best_min_segment_frames()
    longest = int(median_segment_frames(split.truth.values()))
    f1 = {length: split.scores(length)["f1_at_50"] for length in range(1, longest + 1)}
    assert scores["f1_at_50"] == max(f1.values())
    assert best == min(length for length, score in f1.items() if score == scores["f1_at_50"])
    assert scores == split.scores(best)


def test_flicker_is_merged_and_clean_predictions_are_left_alone() -> None:
    best, after = made_split(0, flicker=0.15).best_min_segment_frames()
    assert best > 1
    assert after["f1_at_50"] > made_split(0, flicker=0.15).scores(1)["f1_at_50"] + 10
    assert made_split(0, flicker=0.0).best_min_segment_frames()[0] == 1


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 0.4))
def test_no_other_weight_of_the_segments_has_a_better_f1(seed: int, flicker: float) -> None:
    split, training = made_split(seed, flicker=flicker), made_split(seed + 1)
    segments = fit_segment_model(training.truth.values(), split.label_space)
    best, scores = split.best_segments(segments, 1.5)
    tried = {w: split.segment_scores(segments.model_copy(update={"weight": w}), 1.5)["f1_at_50"] for w in WEIGHTS}
    assert scores["f1_at_50"] == tried[best.weight] == max(tried.values())
    distance = abs(np.log(best.weight))
    assert distance == min(abs(np.log(w)) for w, f1 in tried.items() if f1 == scores["f1_at_50"])
    assert best == segments.model_copy(update={"weight": best.weight})


def test_segments_are_decoded_better_than_merged_where_their_lengths_are_known() -> None:
    split, training = made_split(0, flicker=0.3), made_split(1)
    segments = fit_segment_model(training.truth.values(), split.label_space)
    merged, decoded = split.best_min_segment_frames()[1], split.best_segments(segments, 1.0)[1]
    assert decoded["f1_at_50"] > merged["f1_at_50"] > split.scores(1)["f1_at_50"]


def decoded_by(decoding: SegmentDecoding) -> LabellerSettings:
    return LabellerSettings(cell="gru", hidden_size=4, decoding=decoding)


def test_classes_that_overlap_cannot_be_decoded_as_segments() -> None:
    overlapping = LabelSpace.independent(CLASSES)
    with pytest.raises(InputError, match="is viterbi, which needs classes that exclude each other"):
        check_decoding(decoded_by("viterbi"), overlapping)
    with pytest.raises(InputError, match=r"labeller\.decoding is viterbi_by_kind, which needs classes that exclude"):
        check_decoding(decoded_by("viterbi_by_kind"), overlapping)
    check_decoding(decoded_by("auto"), overlapping)
    check_decoding(decoded_by("merge"), overlapping)
    check_decoding(decoded_by("viterbi"), LabelSpace(CLASSES))


@pytest.mark.parametrize("background", [None, "idle"])
def test_the_temperature_is_fitted_to_the_frames_of_all_videos_together(background: str | None) -> None:
    split = made_split(3, background=background)
    together = [np.concatenate([part[stem] for stem in ("a", "b")]) for part in (split.probabilities, split.truth)]
    assert split.temperature() == fit_temperature(*together, split.label_space)


def test_the_confidence_is_fitted_to_how_often_decided_labels_are_right() -> None:
    split = made_split(0, flicker=0.3)
    predicted = split.smoothed(8)
    curve, errors = split.confidence(predicted, 1.5)
    stems = list(split.truth)
    labels = np.concatenate([predicted[stem] for stem in stems])
    of_labels = tempered(np.concatenate([split.probabilities[stem] for stem in stems]), 1.5)[range(len(labels)), labels]
    truth = np.concatenate([split.truth[stem] for stem in stems])
    labelled = split.label_space.is_labelled(truth)
    num_segments = sum(len(segments_from_frames(split.truth[stem])) for stem in stems)
    correct = (labels == truth)[labelled]
    assert curve == pytest.approx(fit_confidence(of_labels[labelled], correct, num_segments=num_segments))
    assert errors["calibration_error_before"] == calibration_error(of_labels[labelled], correct)
    assert errors["calibration_error_after"] < errors["calibration_error_before"]


def test_decoding_and_confidence_take_the_probabilities_as_the_kind_of_video_weighs_them() -> None:
    split, training = made_split(0, flicker=0.3), made_split(1)
    segments = fit_segment_model(training.truth.values(), split.label_space, by_kind=True)
    weighed = Split(
        split.truth,
        {stem: weigh_by_kind(tempered(found, 1.5), segments.kinds) for stem, found in split.probabilities.items()},
        split.label_space,
    )
    predicted = split.decoded(segments, 1.5)
    expected = weighed.decoded(segments.model_copy(update={"kinds": None}), 1.0)
    for stem, labels in predicted.items():
        np.testing.assert_array_equal(labels, expected[stem])
    curve, errors = split.confidence(predicted, 1.5, segments.kinds)
    of_weighed, errors_of_weighed = weighed.confidence(predicted, 1.0)
    assert curve == pytest.approx(of_weighed)
    assert errors == pytest.approx(errors_of_weighed)
    assert curve != pytest.approx(split.confidence(predicted, 1.5)[0])
