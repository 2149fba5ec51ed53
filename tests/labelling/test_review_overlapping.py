"""Where classes overlap, the review finds the doubted class, and its table and page name it."""

import csv
import doctest
from pathlib import Path

import numpy as np
import pytest
from made_models import OVERLAPPING as SPACE
from made_models import write_video
from test_review_page import Page

from pipeline.annotations.label_space import IGNORE_INDEX
from pipeline.annotations.problems import AnnotationError
from pipeline.labelling import doubts, review
from pipeline.labelling.doubts import Doubt, class_gains, find_doubts
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.review import Listing, find_given, review_files, review_video
from pipeline.labelling.review_lanes import make_lanes
from pipeline.labelling.review_page import Doubted, ReviewItem, write_page, write_table
from pipeline.labelling.stretches import Stretch
from pipeline.labelling.video import VideoLabels

NUM_FRAMES = 400
LISTING = Listing(top=5, per_video=5, shortest_seconds=0.4, longest_seconds=2.0)  # 10 and 50 frames


@pytest.fixture(scope="module")
def model(overlapping_model) -> Model:
    return load_model(str(overlapping_model), device="cpu")


@pytest.fixture
def features_as_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces a trained model: the features of a frame are the probabilities of its classes."""

    def label(path: Path, model: Model, *, on_progress) -> VideoLabels:
        probabilities = np.load(path)
        labels = (probabilities >= 0.5).astype(np.int8)
        times = np.full(len(labels), np.nan)
        return VideoLabels(labels, probabilities, probabilities, times, float("nan"))

    monkeypatch.setattr(review, "label_video", label)


def write_probabilities(path: Path, *, unsure: tuple[slice, int] | None = None) -> np.ndarray:
    """Write sure probabilities, and for one class unsure ones in some frames; return them."""
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(0, 0.05, (NUM_FRAMES, 3))
    probabilities[100:200, 2] += 0.94
    if unsure:
        probabilities[unsure] = rng.uniform(0.45, 0.55, probabilities[unsure].shape)
    np.save(path, probabilities)
    return probabilities


@pytest.mark.parametrize("seed", range(3))
def test_the_doubt_of_a_class_equals_its_definition(seed):
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.uniform(0, 1, (50, 3)), rng.integers(0, 2, (50, 3))
    given = rng.choice([0, 1, IGNORE_INDEX], (50, 3))
    gains = class_gains(probabilities, labels, given, SPACE)
    for gain, p, label, given_label in zip(*(a.ravel() for a in (gains, probabilities, labels, given)), strict=True):
        if given_label == IGNORE_INDEX:
            assert gain == pytest.approx(1 - max(p, 1 - p))
        elif given_label == label:
            assert gain == 0
        else:
            of_given = p if given_label else 1 - p
            assert 0.001**gain == pytest.approx(max(of_given, 0.001))


def test_docstring_examples():
    assert doctest.testmod(doubts).failed == 0


def test_a_planted_uncertain_class_is_found(model, features_as_probabilities, tmp_path):
    probabilities = write_probabilities(tmp_path / "clip.npy", unsure=(slice(123, 160), 1))
    first, *others = review_video(tmp_path / "clip.npy", model, listing=LISTING)
    assert (first.why, first.doubt.class_index) == ("uncertain", 1)
    assert (first.stretch.start, first.stretch.stop) == (123, 160)
    assert first.stretch.score == pytest.approx(0.475, abs=0.02)
    assert all(item.stretch.score < 0.1 for item in others)
    is_doubted = first.labels[:, 1] == first.doubt.label
    assert first.num_doubted == is_doubted.sum()
    np.testing.assert_allclose(first.probabilities, probabilities[123:160][is_doubted].mean(axis=0))


def test_a_planted_wrong_label_of_one_class_is_found_and_agreement_is_not(
    model, features_as_probabilities, tmp_path, monkeypatch
):
    truth = (write_probabilities(tmp_path / "clip.npy", unsure=(slice(20, 60), 0)) >= 0.5).astype(np.int8)
    given = truth.copy()  # the model agrees with the unsure ones
    given[110:140, 2] = 0
    monkeypatch.setattr(review, "read_annotation", lambda path, space, **video: given)
    (item,) = review_video(tmp_path / "clip.npy", model, listing=LISTING, given=tmp_path / "clip.csv")
    assert (item.stretch.start, item.stretch.stop) == (110, 140)
    assert item.doubt == Doubt(label=1, given=0, class_index=2)
    assert item.num_doubted == 30


def test_labels_of_what_nobody_looked_at_are_unknown(model, features_as_probabilities, tmp_path):
    write_probabilities(tmp_path / "clip.npy", unsure=(slice(20, 60), 0))
    labels, scored = tmp_path / "labels", tmp_path / "scored.csv"
    labels.mkdir()
    (labels / "clip.csv").write_text("start,stop,class\n")  # the model sees the class 2 in frames 100 to 200
    scored.write_text(f"stem,start,stop,class\nclip,0,{NUM_FRAMES},{SPACE.classes[1]}\nclip,110,140,\n")
    paths = [tmp_path / "clip.npy"]
    given = find_given(paths, labels, SPACE)["clip"]
    found = review_video(paths[0], model, listing=LISTING, given=given)
    assert {(item.doubt.class_index, item.why) for item in found if item.why == "disagrees"} == {(2, "disagrees")}
    assert (found[0].stretch.start, found[0].stretch.stop) == (110, 140)
    known = np.concatenate([item.given_labels for item in found if item.stretch.stop <= 100])
    assert (known == (IGNORE_INDEX, 0, IGNORE_INDEX)).all()
    scored.write_text("stem,start,stop,class\nclip,0,9,flies\n")
    with pytest.raises(AnnotationError, match=r"scored\.csv:2: unknown class 'flies'"):
        find_given(paths, labels, SPACE)
    scored.write_text("stem,start,stop\nclip,0,900\n")
    with pytest.raises(AnnotationError, match=r"scored\.csv:2: range \[0, 900\) goes beyond the 400 frames"):
        review_video(paths[0], model, listing=LISTING, given=given)


ITEM = ReviewItem(
    stem="clip",
    stretch=Stretch(10, 14, 0.75),
    start_seconds=0.4,
    stop_seconds=0.56,
    doubt=Doubt(1, 0, 2),
    num_doubted=3,
    probabilities=np.array([0.4, 0.001, 0.81]),
    labels=np.array([[1, 0, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]], np.int8),
    given_labels=np.array([[1, 0, 0], [1, 0, 0], [IGNORE_INDEX, 0, 0], [0, 0, 0]], np.int8),
)
UNSURE = ReviewItem(
    **vars(ITEM)
    | {"doubt": Doubt(0, None, 1), "num_doubted": 4, "given_labels": np.full((4, 3), IGNORE_INDEX, np.int8)}
)


SEVERAL = ReviewItem(**vars(ITEM) | {"others": (Doubted(Doubt(0, None, 1), 2), Doubted(Doubt(1, 0, 0), 4))})
THRESHOLDS = (0.3, 0.5, 0.125)


def test_the_table_names_the_classes(tmp_path):
    write_table(tmp_path / "review.csv", [ITEM, UNSURE, SEVERAL], SPACE)
    with (tmp_path / "review.csv").open(newline="") as file:
        first, second, third = csv.DictReader(file)
    assert ",".join(first) == (
        "rank,stem,start,stop,start_seconds,stop_seconds,class,predicted,given,why,score,picture"
    )
    assert (first["class"], first["predicted"], first["given"]) == ("rears", "present", "absent")
    assert (second["class"], second["predicted"], second["given"]) == ("sleeps", "absent", "")
    assert third["class"] == "rears;sleeps;eats"
    assert (third["predicted"], third["given"]) == ("present;absent;present", "absent;;absent")


def test_the_page_says_which_class_is_doubted(tmp_path):
    write_page(tmp_path / "review.html", [ITEM, UNSURE], SPACE, summary="all", thresholds=THRESHOLDS)
    page = Page((tmp_path / "review.html").read_text(encoding="utf-8"))
    text = "".join(page.shown)
    assert "rears: the model says yes (0.81, on from 0.12) in 3 of these frames, the label says no." in text
    assert "sleeps: the model says no (0.00, on from 0.50), and nobody labelled it." in text
    text = "".join(text.split())
    assert text.index("rears81%onfrom12%") < text.index("eats40%onfrom30%")
    assert text.count("sleeps<1%onfrom50%") == 1  # only where it is doubted


def test_the_page_lists_all_doubted_classes(tmp_path):
    write_page(tmp_path / "review.html", [SEVERAL], SPACE, summary="all", thresholds=THRESHOLDS)
    text = "".join(Page((tmp_path / "review.html").read_text(encoding="utf-8")).shown)
    sentences = [
        "rears: the model says yes (0.81, on from 0.12) in 3 of these frames, the label says no.",
        "sleeps: the model says no (0.00, on from 0.50) in 2 of these frames, and nobody labelled it.",
        "eats: the model says yes (0.40, on from 0.30), the label says no.",
    ]
    assert "".join(sentences) in text


def test_a_class_is_doubted_beside_another_one_from_half_of_its_gain():
    labels, given = np.zeros((4, 3), np.int8), np.full((4, 3), IGNORE_INDEX, np.int8)
    labels[:, 2] = given[:3, 0] = 1
    gains = np.array([[0.6, 0.29, 0.31]] * 4)
    found = find_doubts(gains, labels, given, SPACE)
    assert found == [Doubt(0, 1, 0), Doubt(1, None, 2)]
    assert find_doubts(gains[:, ::-1] * [1, 1, 0.1], labels, given, SPACE)[0].class_index == 0


def test_the_probability_of_each_doubted_class_is_that_of_its_own_frames(model, features_as_probabilities, tmp_path):
    probabilities = write_probabilities(tmp_path / "clip.npy", unsure=(slice(123, 160), 1))
    probabilities[123:160, 0] = np.linspace(0.4, 0.6, 37)
    np.save(tmp_path / "clip.npy", probabilities)
    first, *_ = review_video(tmp_path / "clip.npy", model, listing=LISTING)
    assert {doubt.class_index for doubt, _ in first.all_doubted} == {0, 1}
    inside = slice(first.stretch.start, first.stretch.stop)
    for doubt, num_frames in first.all_doubted:
        frames = doubt.frames(first.labels, first.given_labels)
        assert frames.sum() == num_frames
        expected = probabilities[inside][frames, doubt.class_index].mean()
        assert first.probabilities[doubt.class_index] == pytest.approx(expected)


def test_each_class_that_occurs_has_a_lane_and_the_doubted_one_is_the_first():
    first, second = make_lanes([ITEM.doubt], ITEM.labels, ITEM.given_labels, ITEM.probabilities, SPACE, THRESHOLDS)
    assert (first.name, second.name) == ("rears", "eats")
    assert [(run.num_frames, run.name) for run in first.runs] == [(3, "yes"), (1, "no")]
    assert [(run.num_frames, run.name) for run in first.given_runs] == [(4, "no")]
    assert [(run.num_frames, run.name) for run in second.given_runs] == [(2, "yes"), (1, "not labelled"), (1, "no")]
    lanes = make_lanes([UNSURE.doubt], UNSURE.labels, UNSURE.given_labels, UNSURE.probabilities, SPACE, THRESHOLDS)
    assert [lane.name for lane in lanes] == ["sleeps", "eats", "rears"]
    assert not any(lane.given_runs for lane in lanes)


def test_a_folder_of_videos_is_reviewed(model, tmp_path):
    paths = [write_video(tmp_path / f"clip{i}.mp4", num_frames=30 + i) for i in range(2)]
    outcome = review_files(
        paths, model, tmp_path / "out", listing=Listing(4, 2, 0.2, 0.4), given={}, on_failure=pytest.fail
    )
    assert len(outcome.listed) == 4
    assert all((tmp_path / "out" / item.picture).is_file() for item in outcome.listed)
    with (tmp_path / "out" / "review.csv").open(newline="") as file:
        assert {name for row in csv.DictReader(file) for name in row["class"].split(";")} <= set(SPACE.classes)
