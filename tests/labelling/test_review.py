"""The list of several videos has the parts where labels are wrong or the model is uncertain, and no others."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from made_models import CLASSES, write_video

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.segments import segments_from_frames
from pipeline.errors import InputError
from pipeline.labelling import review
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.review import Listing, ReviewOutcome, find_given, review_files, review_video
from pipeline.labelling.video import VideoLabels

LISTING = Listing(top=5, per_video=5, shortest_seconds=0.4, longest_seconds=2.0)  # 10 and 50 frames
NUM_FRAMES = 400
SPACE = LabelSpace(CLASSES)


@pytest.fixture(scope="module")
def model(feature_model) -> Model:
    return load_model(str(feature_model), device="cpu")


@pytest.fixture
def features_as_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces a trained model: the features of a frame are the probabilities of its classes."""

    def label(path: Path, model: Model, *, on_progress) -> VideoLabels:
        probabilities = np.load(path)
        labels = probabilities.argmax(axis=1)
        on_progress(len(labels))
        times = np.full(len(labels), np.nan)
        return VideoLabels(labels, probabilities.max(axis=1), probabilities, times, float("nan"))

    monkeypatch.setattr(review, "label_video", label)


def write_probabilities(
    path: Path, *, seed: int, unsure: slice | np.ndarray = slice(0), says: np.ndarray | None = None
) -> Path:
    """Write probabilities of 0.9 and more for `says`, class 0 by default, and nearly equal ones in frames `unsure`."""
    rng = np.random.default_rng(seed)
    says = np.zeros(NUM_FRAMES, int) if says is None else says
    probabilities = np.eye(3)[says] * 0.9 + rng.dirichlet(np.ones(3), NUM_FRAMES) * 0.1
    probabilities[unsure] = np.full(3, 1 / 3) + rng.normal(0, 0.01, probabilities[unsure].shape)
    np.save(path, probabilities)
    return path


def write_labels(path: Path, labels: np.ndarray) -> Path:
    rows = (f"{start},{stop},{CLASSES[index]}\n" for start, stop, index in segments_from_frames(labels))
    path.parent.mkdir(exist_ok=True)
    path.write_text("start,stop,class\n" + "".join(rows))
    return path


def run(paths: list[Path], model: Model, out: Path, **options) -> tuple[ReviewOutcome, list[str]]:
    printed: list[str] = []
    options = {"listing": LISTING, "given": {}} | options
    return review_files(paths, model, out, on_failure=printed.append, **options), printed


def test_a_planted_uncertain_stretch_is_listed_first(model, features_as_probabilities, tmp_path):
    paths = [write_probabilities(tmp_path / f"clip{i}.npy", seed=i) for i in range(3)]
    write_probabilities(paths[1], seed=9, unsure=slice(123, 160))
    outcome, printed = run(paths, model, tmp_path / "out")
    first, second = outcome.listed[:2]
    assert (first.stem, first.why, first.doubt.given) == ("clip1", "uncertain", None)
    assert (first.stretch.start, first.stretch.stop) == (123, 160)
    assert first.stretch.score == pytest.approx(2 / 3, abs=0.02)
    np.testing.assert_allclose(first.probabilities, 1 / 3, atol=0.02)
    assert second.stretch.score < 0.15
    assert not printed


def test_planted_wrong_labels_are_found_and_right_ones_are_not_listed(model, features_as_probabilities, tmp_path):
    says = np.repeat([0, 1, 2, 0], NUM_FRAMES // 4)
    paths = [write_probabilities(tmp_path / f"clip{i}.npy", seed=i, says=says) for i in range(4)]
    planted = {("clip1", 110, 140): 2, ("clip3", 220, 260): 0}
    for path in paths:
        given = says.copy()
        for (stem, start, stop), wrong in planted.items():
            if stem == path.stem:
                given[start:stop] = wrong
        write_labels(tmp_path / "labels" / f"{path.stem}.csv", given)
    outcome, _ = run(paths, model, tmp_path / "out", given=find_given(paths, tmp_path / "labels", SPACE))
    found = {(item.stem, item.stretch.start, item.stretch.stop): item for item in outcome.listed}
    assert found.keys() == planted.keys()
    for place, item in found.items():
        assert (item.why, item.doubt.given, item.doubt.label) == ("disagrees", planted[place], says[place[1]])
        assert (item.given_labels == planted[place]).all()
        assert item.stretch.score > 0.4


def test_unlabelled_frames_of_a_partly_labelled_video_are_listed_only_as_uncertain(
    model, features_as_probabilities, tmp_path
):
    path = write_probabilities(tmp_path / "clip.npy", seed=0, unsure=np.r_[50:80, 300:330])
    given = np.full(NUM_FRAMES, IGNORE_INDEX)
    given[:200] = np.load(path)[:200].argmax(axis=1)  # the model agrees with a low probability
    given[150:170] = 1
    annotation = write_labels(tmp_path / "labels" / "clip.csv", given)
    listed = review_video(path, model, listing=LISTING, given=annotation)
    best = [(*item.stretch[:2], item.why) for item in listed[:2]]
    assert best == [(300, 330, "uncertain"), (150, 170, "disagrees")]
    for item in listed:
        inside = given[item.stretch.start : item.stretch.stop]
        assert (item.why == "uncertain") == (inside == IGNORE_INDEX).all()
        assert not (item.stretch.start < 80 and item.stretch.stop > 50), (
            "labelled, and the model does not contradict it"
        )


def test_the_list_has_the_best_of_all_videos_and_not_too_many_of_one(model, features_as_probabilities, tmp_path):
    paths = []
    for i, length in enumerate((200, 40, 30, 20)):  # the first video has a long uncertain part
        paths.append(write_probabilities(tmp_path / f"clip{i}.npy", seed=i, unsure=slice(100, 100 + length)))
    outcome, _ = run(paths, model, tmp_path / "out", listing=LISTING)
    assert [item.stem for item in outcome.listed].count("clip0") >= 2
    capped, _ = run(paths, model, tmp_path / "out", listing=Listing(5, 1, 0.4, 2.0))
    assert sorted(item.stem for item in capped.listed) == ["clip0", "clip1", "clip2", "clip3"]
    alone = [item for path in paths for item in review_video(path, model, listing=LISTING)]
    best = sorted((item.stretch.score for item in alone), reverse=True)[:5]
    assert [item.stretch.score for item in outcome.listed] == best
    assert "(at most 1 of one)" in capped.describe()


def test_only_one_video_is_in_memory_at_a_time(model, features_as_probabilities, tmp_path):
    path = write_probabilities(tmp_path / "clip.npy", seed=0)
    for item in review_video(path, model, listing=LISTING):
        for part in (item.labels, item.given_labels, item.probabilities):
            assert part.base is None or part.base.size <= 50, "a view would keep the whole video"


def test_labels_that_do_not_fit_are_refused_before_the_review_or_with_their_video(
    model, features_as_probabilities, tmp_path
):
    paths = [write_probabilities(tmp_path / f"clip{i}.npy", seed=i) for i in range(3)]
    folder = tmp_path / "labels"
    folder.mkdir()
    with pytest.raises(InputError, match="do the stems differ"):
        find_given(paths, folder, SPACE)
    (folder / "clip0.txt").write_text("idle\nlfet\n")
    (folder / "clip1.csv").write_text("start,stop,class\n0,9,flying\n")
    with pytest.raises(AnnotationError) as error:
        find_given(paths, folder, SPACE)
    assert [problem.path.name for problem in error.value.problems] == ["clip0.txt", "clip1.csv"]
    (folder / "clip0.txt").write_text("idle\nleft\n")  # for a video of two frames
    (folder / "clip1.csv").unlink()
    outcome, printed = run(paths, model, tmp_path / "out", given=find_given(paths, folder, SPACE))
    assert (outcome.num_labelled, outcome.num_failed) == (2, 1)
    assert "got 2 labels for 400 frames in clip0.txt" in printed[0]


def test_labels_in_seconds_are_read_by_the_times_of_the_video(model, tmp_path, monkeypatch):
    pts = np.arange(NUM_FRAMES) / 25 + (np.arange(NUM_FRAMES) > 200)  # a second is missing
    probabilities = np.eye(3)[np.where(np.arange(NUM_FRAMES) < 300, 0, 1)] * 0.98 + 0.01

    def label(path: Path, model: Model, *, on_progress) -> VideoLabels:
        return VideoLabels(probabilities.argmax(axis=1), probabilities.max(axis=1), probabilities, pts, 0.04)

    monkeypatch.setattr(review, "label_video", label)
    path, folder = tmp_path / "clip.mp4", tmp_path / "labels"
    folder.mkdir()
    (folder / "clip.mp4.csv").write_text(
        f"start_seconds,stop_seconds,class\n0,{pts[330]:.3f},{CLASSES[0]}\n{pts[330]:.3f},{pts[-1]:.3f},{CLASSES[1]}\n"
    )
    given = find_given([path], folder, SPACE)
    found = review_video(path, model, listing=LISTING, given=given["clip"])
    spans = [(item.stretch.start, item.stretch.stop) for item in found if item.why == "disagrees"]
    assert (min(spans)[0], max(spans)[1]) == (300, 330)
    (folder / "clip.mp4.csv").write_text("start_seconds,stop_seconds,class\n0,9,flies\n9,x,flies\n")
    with pytest.raises(AnnotationError, match=r"clip\.mp4\.csv: unknown class 'flies'"):
        find_given([path], folder, SPACE)


def test_the_second_of_two_files_with_the_same_name_is_refused(model, features_as_probabilities, tmp_path):
    (tmp_path / "other").mkdir()
    paths = [write_probabilities(folder / "clip.npy", seed=0) for folder in (tmp_path, tmp_path / "other")]
    outcome, printed = run(paths, model, tmp_path / "out")
    assert (outcome.num_labelled, outcome.num_failed) == (1, 1)
    assert str(paths[0]) in printed[0]


def test_every_stretch_of_a_video_has_a_picture_and_earlier_pictures_are_removed(video_model, tmp_path):
    model, out = load_model(str(video_model), device="cpu"), tmp_path / "out"
    paths = [write_video(tmp_path / f"clip {i}.mp4", num_frames=30 + i) for i in range(2)]
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    listing = Listing(top=3, per_video=2, shortest_seconds=0.2, longest_seconds=0.4)
    outcome, printed = run([*paths, tmp_path / "broken.mp4"], model, out, listing=listing)
    assert (len(outcome.listed), outcome.num_labelled, outcome.num_failed) == (3, 2, 1)
    assert "broken.mp4" in printed[0]
    for item in outcome.listed:
        assert 5 <= item.stretch.stop - item.stretch.start <= 10
        assert item.start_seconds == pytest.approx(item.stretch.start / 25, abs=1e-4)
        assert item.stop_seconds == pytest.approx(item.stretch.stop / 25, abs=1e-4)
        assert cv2.imread(str(out / item.picture)) is not None
        assert (out / item.video).resolve() == (tmp_path / f"{item.stem}.mp4").resolve()
    (out / "strips" / "mine.jpg").touch()
    fewer, _ = run(paths, model, out, listing=Listing(1, 1, 0.2, 0.4))
    assert sorted(path.name for path in (out / "strips").iterdir()) == sorted(
        ["mine.jpg", Path(fewer.listed[0].picture).name]
    )


def test_a_video_that_disappears_before_its_picture_is_made_is_listed_without_one(video_model, tmp_path, monkeypatch):
    model = load_model(str(video_model), device="cpu")
    paths = [write_video(tmp_path / f"clip{i}.mp4", num_frames=30) for i in range(2)]
    label = review.label_video

    def label_and_lose(path: Path, model: Model, *, on_progress) -> VideoLabels:
        result = label(path, model, on_progress=on_progress)
        if path == paths[0]:
            path.write_bytes(b"")
        return result

    monkeypatch.setattr(review, "label_video", label_and_lose)
    outcome, printed = run(paths, model, tmp_path / "out", listing=Listing(4, 2, 0.2, 0.4))
    assert {(item.stem, bool(item.picture)) for item in outcome.listed} == {("clip0", False), ("clip1", True)}
    assert outcome.num_failed == 1
    assert printed[0].endswith("its stretches are listed without pictures")


def test_an_earlier_list_stays_if_no_video_can_be_labelled(model, features_as_probabilities, tmp_path):
    path, out = write_probabilities(tmp_path / "clip.npy", seed=0), tmp_path / "out"
    run([path], model, out)
    before = {file: file.read_bytes() for file in out.iterdir()}
    (tmp_path / "gone.npy").mkdir()
    outcome, printed = run([tmp_path / "gone.npy"], model, out)
    assert (outcome.num_labelled, outcome.num_failed, len(printed)) == (0, 1, 1)
    assert {file: file.read_bytes() for file in out.iterdir()} == before
