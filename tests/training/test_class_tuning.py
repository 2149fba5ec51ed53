"""Values of classes that overlap are compared with trying all of them, and tried on known labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.postprocessing.decisions import decide
from pipeline.postprocessing.groups import group_labels, group_probabilities
from pipeline.postprocessing.temperature import fit_temperature, tempered_groups
from pipeline.training.class_tuning import ClassSplit, best_f1_threshold, frame_f1, segment_f1, shortest_bouts

SPACE = LabelSpace(("eats", "sleeps", "rears", "rare"), groups=("state", "state", "posture", "rare"))
OPTIONS = {"min_segment_frames": [2] * 4, "shortest": True, "threshold_score": "f1"}


def made_split(seed: int, *, space: LabelSpace = SPACE) -> ClassSplit:
    """Two videos with bouts of 4 to 11 frames, and noisy probabilities of about half of what they should be.

    The last class has a single bout.
    """
    generator = np.random.default_rng(seed)
    truth, probabilities = {}, {}
    for stem in ("a", "b"):
        labels = np.full((100, space.num_classes), ABSENT, dtype=np.int8)
        for members in space.group_members[:-1]:
            codes = np.repeat(generator.integers(0, len(members) + 1, 30), generator.integers(4, 12, 30))[:100]
            for position, index in enumerate(members):
                labels[:, index] = codes == position
        labels[20:26, -1] = stem == "a"
        noise = generator.random(labels.shape)
        probabilities[stem] = (0.25 * labels + 0.2 * noise + 0.02).astype(np.float32)
        truth[stem] = np.where(generator.random(labels.shape) < 0.1, IGNORE_INDEX, labels).astype(np.int8)
    return ClassSplit(truth, probabilities, space)


def f1_by_counting(is_on: np.ndarray, is_present: np.ndarray) -> float:
    return 2 * (is_on & is_present).sum() / (is_on.sum() + is_present.sum())


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.31, 0.7, 1.0]), st.booleans()), min_size=1, max_size=30))
@settings(deadline=None)
def test_no_threshold_has_a_better_f1_of_frames(frames: list[tuple[float, bool]]) -> None:
    scores, is_present = np.array([score for score, _ in frames]), np.array([present for _, present in frames])
    is_present[0] = True
    threshold = best_f1_threshold(scores, is_present)
    assert 0 <= threshold <= 1
    best = max(f1_by_counting(scores >= tried, is_present) for tried in scores)
    assert f1_by_counting(scores >= threshold, is_present) == best


@pytest.mark.parametrize("seed", range(3))
def test_the_threshold_of_a_class_alone_is_the_best_of_all(seed: int) -> None:
    split = made_split(seed)
    found = split.tune(min_segment_frames=[1] * 4, shortest=False, threshold_score="f1")
    probabilities = tempered_groups(np.concatenate(list(split.probabilities.values())), SPACE, found.temperatures)
    truth, column = np.concatenate(list(split.truth.values())), SPACE.index("rears")
    known = truth[:, column] != IGNORE_INDEX
    tried = probabilities[known, column].astype(np.float64)
    is_present = truth[known, column] == PRESENT
    best = max(f1_by_counting(tried >= threshold, is_present) for threshold in tried)
    scores = split.class_scores(split.decide(found))
    assert scores["f1/rears"] == pytest.approx(100 * best)
    assert scores["f1/rears"] > split.class_scores(split.plain())["f1/rears"]


@pytest.mark.parametrize("threshold_score", ["f1", "segment_f1"])
def test_no_other_threshold_of_the_class_tuned_last_is_better(threshold_score: str) -> None:
    """The classes of a group are tuned in turn: of the last one, no other value is better with those of the others."""
    split = made_split(4)
    found = split.tune(min_segment_frames=[2] * 4, shortest=False, threshold_score=threshold_score)
    index = SPACE.index("sleeps")
    reached = split.class_scores(split.decide(found))[f"{threshold_score}/sleeps"]
    lengths = [1] * 4 if threshold_score == "f1" else found.min_segment_frames
    plain = found._replace(min_segment_frames=lengths)
    best = split.class_scores(split.decide(plain))[f"{threshold_score}/sleeps"]
    for threshold in np.linspace(0, 1, 60):
        thresholds = [*found.thresholds[:index], float(threshold), *found.thresholds[index + 1 :]]
        score = split.class_scores(split.decide(plain._replace(thresholds=thresholds)))[f"{threshold_score}/sleeps"]
        assert score <= best + (0 if threshold_score == "f1" else 5), "segments are tried at 64 thresholds"
    assert reached > 60


def test_no_other_length_has_a_better_f1_of_segments() -> None:
    split = made_split(5)
    found = split.tune(**OPTIONS)
    index = SPACE.index("rears")
    bouts = [length for length in range(1, 7)]
    scores = {}
    for length in bouts:
        lengths = [*found.min_segment_frames[:index], length, *found.min_segment_frames[index + 1 :]]
        scores[length] = split.class_scores(split.decide(found._replace(min_segment_frames=lengths)))
    by_length = {length: of_length["segment_f1/rears"] for length, of_length in scores.items()}
    best = found.min_segment_frames[index]
    assert by_length[best] == max(by_length.values())
    assert best == min(length for length, score in by_length.items() if score == by_length[best])


def test_a_temperature_is_that_of_the_known_frames_of_its_group() -> None:
    split = made_split(6)
    found = split.tune(**OPTIONS)
    truth, probabilities = (np.concatenate(list(part.values())) for part in (split.truth, split.probabilities))
    for members in SPACE.group_members[:2]:
        expected = fit_temperature(group_probabilities(probabilities, members), group_labels(truth, members), SPACE)
        assert [found.temperatures[index] for index in members] == pytest.approx([expected] * len(members))
    assert found.temperatures[0] != found.temperatures[2]


def test_a_class_of_few_bouts_keeps_the_defaults_and_the_temperature_of_all() -> None:
    split = made_split(7)
    assert split.untuned() == ("rare",)
    found = split.tune(**OPTIONS)
    assert (found.thresholds[3], found.min_segment_frames[3]) == (0.5, 2)
    assert found.thresholds[2] != 0.5
    alone = ClassSplit(
        {stem: labels[:, 3:] for stem, labels in split.truth.items()},
        {stem: of_all[:, 3:] for stem, of_all in split.probabilities.items()},
        LabelSpace.independent(("rare",)),
    )
    assert alone.tune(**OPTIONS | {"min_segment_frames": [2]}).temperatures != found.temperatures[3:], (
        "that of all groups is another"
    )


def test_lengths_that_were_set_are_kept() -> None:
    found = made_split(8).tune(min_segment_frames=[3] * 4, shortest=False, threshold_score="f1")
    assert found.min_segment_frames == [3] * 4


def test_the_shortest_bout_of_an_untuned_class_is_a_share_of_its_own_bouts() -> None:
    """Unknown frames are cut out: the second class has a bout of 30 frames, not two of 15."""
    videos = [np.zeros((200, 3), dtype=np.int8), np.zeros((50, 3), dtype=np.int8)]
    for start, length in ((0, 60), (80, 80), (170, 20)):
        videos[0][start : start + length, 0] = PRESENT
    videos[0][10:60, 1] = PRESENT
    videos[0][25:45, 1] = IGNORE_INDEX
    videos[1][4:10, 1] = PRESENT
    space = LabelSpace.independent(("long", "interrupted", "never"))
    assert shortest_bouts(videos, space) == [24, 7, 1], "0.4 of 60, 0.4 of the median of 30 and 6, none"
    lengths = [24, 7, 1, 3]
    found = made_split(7).tune(min_segment_frames=lengths, shortest=True, threshold_score="f1")
    assert found.min_segment_frames[3] == 3, "the others have enough bouts"


def test_unknown_frames_count_for_nothing() -> None:
    truth = np.array([1, 1, -100, 0, 1, 0], dtype=np.int8)
    predicted = np.array([1, 1, 1, 1, 0, 0], dtype=np.int8)
    assert frame_f1([(truth, predicted)]) == pytest.approx(100 * 4 / 6)
    assert segment_f1([(truth, predicted)]) == pytest.approx(100 * 2 / 3)
    nothing = np.zeros(4, dtype=np.int8)
    assert frame_f1([(nothing, nothing)]) == segment_f1([(nothing, nothing)]) == 100


def test_decisions_are_those_of_the_tempered_probabilities() -> None:
    split = made_split(9)
    found = split.tune(**OPTIONS)
    probabilities = tempered_groups(split.probabilities["a"], SPACE, found.temperatures)
    expected = decide(probabilities, SPACE, found.thresholds, found.min_segment_frames)
    np.testing.assert_array_equal(split.decide(found)["a"], expected)
