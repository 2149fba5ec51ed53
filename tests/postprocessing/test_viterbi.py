"""The segments that are found have the highest score of all that there are."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import lognorm

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segment_model import SegmentModel, fit_segment_model
from pipeline.annotations.segments import segments_from_frames
from pipeline.postprocessing import viterbi
from pipeline.postprocessing.viterbi import CausalDecoder, decode_segments

CASES = st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(0, 10_000), st.integers(2, 8))


def made_model(generator: np.random.Generator, num_classes: int) -> SegmentModel:
    """Make a model with random values."""
    following = generator.dirichlet(np.ones(num_classes), size=num_classes)
    np.fill_diagonal(following, 0)
    return SegmentModel(
        first=generator.dirichlet(np.ones(num_classes)).tolist(),
        following=following.tolist(),
        log_frames=generator.uniform(0, 1.5, num_classes).tolist(),
        spreads=generator.uniform(0.1, 1, num_classes).tolist(),
        weight=float(generator.uniform(0.1, 3)),
    )


def length_score(model: SegmentModel, class_index: int, num_frames: int, exact_frames: int) -> float:
    """ln p of a length, which falls along a line from the longest exact one on."""

    def exact(length: int) -> float:
        mean, spread = model.log_frames[class_index], model.spreads[class_index]
        return float(lognorm.logpdf(length, spread, scale=math.exp(mean)))

    reach = max(mean + 3 * spread for mean, spread in zip(model.log_frames, model.spreads, strict=True))
    longest = max(2, min(exact_frames, math.ceil(math.exp(reach))))
    if num_frames <= longest:
        return exact(num_frames)
    slope = min(0.0, exact(longest) - exact(longest - 1))
    return exact(longest) + (num_frames - longest) * slope


def score(labels: np.ndarray, probabilities: np.ndarray, model: SegmentModel, exact_frames: int) -> float:
    """The score of labels, term by term."""
    segments = segments_from_frames(labels)
    of_segments = math.log(model.first[segments[0].class_index])
    for before, after in itertools.pairwise(segments):
        of_segments += math.log(model.following[before.class_index][after.class_index])
    for segment in segments:
        of_segments += length_score(model, segment.class_index, segment.stop - segment.start, exact_frames)
    return float(np.log(probabilities[np.arange(len(labels)), labels]).sum()) + model.weight * of_segments


@settings(max_examples=150, deadline=None)
@given(CASES)
def test_no_other_labels_have_a_higher_score(case):
    num_frames, num_classes, seed, exact_frames = case
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(num_classes), size=num_frames)
    model = made_model(generator, num_classes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(viterbi, "EXACT_FRAMES", exact_frames)
        found = decode_segments(probabilities, model)
    every = (np.array(labels) for labels in itertools.product(range(num_classes), repeat=num_frames))
    best = max(score(labels, probabilities, model, exact_frames) for labels in every)
    assert score(found, probabilities, model, exact_frames) == pytest.approx(best, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_without_weight_the_most_probable_classes_are_found(seed: int, num_classes: int) -> None:
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(num_classes), size=50)
    model = made_model(generator, num_classes).model_copy(update={"weight": 1e-9})
    np.testing.assert_array_equal(decode_segments(probabilities, model), probabilities.argmax(axis=1))


def test_segments_of_known_lengths_are_found_in_noise():
    """Most frames name their class wrongly somewhere; the model knows the lengths 20 and 40."""
    generator = np.random.default_rng(0)
    truth = np.tile(np.repeat([0, 1, 2], [20, 40, 20]), 10)
    model = fit_segment_model([truth], LabelSpace(("a", "b", "c")))
    probabilities = np.full((len(truth), 3), 0.25) + 0.25 * np.eye(3)[truth]
    noisy = np.where(generator.random(len(truth)) < 0.3, generator.integers(0, 3, len(truth)), truth)
    probabilities = (probabilities + np.eye(3)[noisy]) / 2
    assert (probabilities.argmax(axis=1) == truth).mean() < 0.85
    assert (decode_segments(probabilities, model) == truth).mean() > 0.97


def test_segments_longer_than_the_exact_lengths_stay_whole():
    truth = np.repeat([0, 1, 0], 3 * viterbi.EXACT_FRAMES)
    model = fit_segment_model([truth], LabelSpace(("a", "b")))
    probabilities = np.full((len(truth), 2), 0.4) + 0.2 * np.eye(2)[truth]
    np.testing.assert_array_equal(decode_segments(probabilities, model), truth)


def lasting_score(model: SegmentModel, class_index: int, num_frames: int) -> float:
    """ln p of a length or a longer one."""
    mean, spread = model.log_frames[class_index], model.spreads[class_index]
    return float(lognorm.logsf(num_frames - 0.5, spread, scale=math.exp(mean)))


def score_so_far(labels: np.ndarray, probabilities: np.ndarray, model: SegmentModel) -> float:
    """The score of labels whose last segment goes on."""
    last = segments_from_frames(labels)[-1]
    num_frames = last.stop - last.start
    lasts = lasting_score(model, last.class_index, num_frames)
    ends = length_score(model, last.class_index, num_frames, viterbi.EXACT_FRAMES)
    return score(labels, probabilities, model, viterbi.EXACT_FRAMES) + model.weight * (lasts - ends)


def decode_live(probabilities: np.ndarray, model: SegmentModel, lag: int) -> list[int]:
    """The labels of a live video; each comes exactly `lag` frames late."""
    decoder, found = CausalDecoder(model, lag), []
    for number, of_frame in enumerate(probabilities, start=1):
        found += decoder.add(of_frame)
        assert len(found) == max(0, number - lag)
    found += decoder.end()
    assert decoder.end() == []
    return found


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(0, 10_000)), st.integers(0, 3))
def test_a_live_label_is_that_of_the_best_segments_so_far(case, lag):
    num_frames, num_classes, seed = case
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(num_classes), size=num_frames)
    model = made_model(generator, num_classes)
    model = model.model_copy(update={"log_frames": tuple(of_class + 1 for of_class in model.log_frames)})  # all exact
    found = decode_live(probabilities, model, lag)
    for stop in range(lag + 1, num_frames):
        sequences = [np.array(labels) for labels in itertools.product(range(num_classes), repeat=stop)]
        scores = np.array([score_so_far(labels, probabilities[:stop], model) for labels in sequences])
        best = {int(labels[stop - 1 - lag]) for labels in np.array(sequences)[scores > scores.max() - 1e-9]}
        assert found[stop - 1 - lag] in best
    assert found[max(0, num_frames - lag) :] == decode_segments(probabilities, model).tolist()[-lag or num_frames :]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(1, 4), st.integers(0, 10_000), st.integers(2, 20), st.integers(0, 70))
def test_a_lag_as_long_as_the_video_gives_the_labels_of_the_whole_video(length, num_classes, seed, exact, lag):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(num_classes, 0.3), size=length)
    model = made_model(generator, num_classes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(viterbi, "EXACT_FRAMES", exact)
        found, expected = decode_live(probabilities, model, lag), decode_segments(probabilities, model).tolist()
    assert len(found) == length
    assert lag < length or found == expected


def test_live_labels_of_a_segment_longer_than_the_exact_lengths_stay_whole():
    truth = np.repeat([0, 1, 0], 3 * viterbi.EXACT_FRAMES)
    model = fit_segment_model([truth], LabelSpace(("a", "b")))
    probabilities = np.full((len(truth), 2), 0.1) + 0.8 * np.eye(2)[truth]
    found = np.array(decode_live(probabilities, model, lag=40))
    np.testing.assert_array_equal(found, truth)


def test_a_negative_lag_is_refused():
    with pytest.raises(ValueError, match="got a lag of -1 frames"):
        CausalDecoder(made_model(np.random.default_rng(0), 2), -1)


def test_a_video_without_frames_and_wrong_shapes():
    model = made_model(np.random.default_rng(0), 3)
    assert decode_segments(np.zeros((0, 3)), model).tolist() == []
    with pytest.raises(ValueError, match=r"expected \[T, 3\]"):
        decode_segments(np.zeros((4, 2)), model)


def test_probabilities_of_zero_are_possible():
    model = made_model(np.random.default_rng(0), 3)
    labels = np.repeat([0, 2, 1], 5)
    np.testing.assert_array_equal(decode_segments(np.eye(3, dtype=np.float32)[labels], model), labels)
