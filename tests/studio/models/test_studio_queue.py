"""The queue of the studio: the same stretches as `framescribe review`, kept verdicts, and the page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_models import CLASSES, EXCLUSIVE, OVERLAPPING, write_video
from made_predictions import put_model, put_prediction, sure_of
from made_studio import Studio, opened, serving, until
from playwright.sync_api import Browser

from pipeline.annotations.label_space import LabelSpace
from pipeline.labelling import review
from pipeline.labelling.video import VideoLabels
from pipeline.studio.models import queue
from pipeline.studio.models.prediction_files import Stored
from pipeline.studio.models.queue import LONGEST_SECONDS, QUEUE, SHORTEST_SECONDS, items_of, read_verdicts
from pipeline.studio.places import Video, id_of

NUM_FRAMES = 200


class _Model:
    """As much of a model as `review_video` asks for."""

    class _Spec:
        def __init__(self, space: LabelSpace) -> None:
            self.label_space = space

    def __init__(self, space: LabelSpace) -> None:
        self.spec = self._Spec(space)


def random_stored(space: LabelSpace, seed: int, num_frames: int = NUM_FRAMES) -> Stored:
    random = np.random.default_rng(seed)
    probabilities = random.random((num_frames, space.num_classes)).astype(np.float32)
    if space.is_exclusive:
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return Stored(probabilities.argmax(axis=1), probabilities)
    return Stored((probabilities > 0.5).astype(np.int8), probabilities)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100), num_frames=st.integers(1, 300), is_exclusive=st.booleans())
def test_the_stretches_are_those_of_review(seed: int, num_frames: int, is_exclusive: bool) -> None:
    space = EXCLUSIVE if is_exclusive else OVERLAPPING
    stored = random_stored(space, seed, num_frames)
    times = np.arange(num_frames) / 25
    assert stored.probabilities is not None
    result = VideoLabels(stored.labels, stored.probabilities, stored.probabilities, times, 1 / 25)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(review, "label_video", lambda path, model, *, on_progress: result)
        listing = review.Listing(20, 7, SHORTEST_SECONDS, LONGEST_SECONDS)
        model: Any = _Model(space)
        expected = review.review_video(Path("clip.mp4"), model, listing=listing)
    nothing = space.unlabelled(num_frames)
    video = Video(id_of("clip"), Path("clip.mp4"))
    found = items_of(video, stored, nothing, space, frame_seconds=1 / 25, judged=[], most=7)
    assert [(item.start, item.stop, item.score) for item in found] == [tuple(item.stretch) for item in expected]
    for item, listed in zip(found, expected, strict=True):
        doubts = [(d["label"], d["given"], d["class_index"], d["frames"]) for d in item.doubts]
        assert doubts == [(*each.doubt, each.num_frames) for each in listed.all_doubted]
        assert item.why == listed.why


def test_frames_with_a_verdict_are_not_listed_again() -> None:
    stored = random_stored(EXCLUSIVE, 0)
    video, nothing = Video(id_of("clip"), Path("clip.mp4")), EXCLUSIVE.unlabelled(NUM_FRAMES)
    first = items_of(video, stored, nothing, EXCLUSIVE, frame_seconds=1 / 25, judged=[], most=50)
    judged = [{"start": item.start, "stop": item.stop} for item in first]
    frames = np.ones(NUM_FRAMES, bool)
    for line in judged:
        frames[line["start"] : line["stop"]] = False
    rest = items_of(video, stored, nothing, EXCLUSIVE, frame_seconds=1 / 25, judged=judged, most=50)
    assert all(frames[item.start : item.stop].any() for item in rest)


def test_a_long_video_is_computed_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    video = Video(id_of("clip"), Path("clip.mp4"))
    for space in (EXCLUSIVE, OVERLAPPING):
        stored, nothing = random_stored(space, 1), space.unlabelled(NUM_FRAMES)
        whole = items_of(video, stored, nothing, space, frame_seconds=1 / 25, judged=[], most=7)
        monkeypatch.setattr(queue, "CHUNK", 7)
        assert items_of(video, stored, nothing, space, frame_seconds=1 / 25, judged=[], most=7) == whole


def test_frames_that_were_not_decoded_are_worth_nothing() -> None:
    probabilities = np.full((100, 3), np.nan, np.float32)
    stored = Stored(EXCLUSIVE.unlabelled(100), probabilities)
    video, nothing = Video(id_of("clip"), Path("clip.mp4")), EXCLUSIVE.unlabelled(100)
    assert items_of(video, stored, nothing, EXCLUSIVE, frame_seconds=1 / 25, judged=[], most=5) == []


def test_verdicts_that_are_not_whole_are_passed_over(tmp_path: Path) -> None:
    whole = {"video": "v", "start": 0, "stop": 5, "verdict": "accepted", "model": "m"}
    lines = [json.dumps(whole), '{"video": "v", "sta', "[]", json.dumps(whole | {"verdict": "maybe"}), "null"]
    (tmp_path / QUEUE).write_text("\n".join(lines))
    assert read_verdicts(tmp_path / QUEUE) == [whole]
    assert read_verdicts(tmp_path / "missing") == []


def test_a_verdict_that_is_taken_back_does_not_count(tmp_path: Path) -> None:
    whole = {"video": "v", "start": 0, "stop": 5, "verdict": "accepted", "model": "m"}
    lines = [whole, whole | {"verdict": "open"}, whole | {"start": 1, "verdict": "kept"}]
    (tmp_path / QUEUE).write_text("\n".join(map(json.dumps, lines)))
    assert read_verdicts(tmp_path / QUEUE) == lines[2:]


@pytest.fixture
def doubtful(dataset: Path) -> Path:
    """A data set of two videos without labels; the model doubts frames 50 to 74 of a, and is sure of the rest."""
    (dataset / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    folder = put_model(dataset, EXCLUSIVE)
    for stem in "ab":
        video = write_video(dataset / "videos" / f"{stem}.mp4", num_frames=NUM_FRAMES)
        labels = np.repeat([0, 1], NUM_FRAMES // 2)
        probabilities = sure_of(labels, 3)
        if stem == "a":
            probabilities[50:75] = [0.5, 0.4, 0.1]
        put_prediction(folder, video, labels, probabilities)
    return dataset


def paints_of(studio: Studio, video: str) -> list[list[int]]:
    (track,) = studio.get(f"/api/videos/{video}/labels").json["tracks"]
    return [list(run) for run in zip(track["starts"], track["stops"], track["values"], strict=True)]


def test_verdicts_are_kept_and_the_order_stays(doubtful: Path) -> None:
    with serving(doubtful) as studio:
        before = studio.get("/api/queue").json
        first = before["items"][0]
        assert (first["stem"], first["start"], first["stop"], first["why"]) == ("a", 50, 75, "uncertain")
        assert before["done"] == 0
        assert before["minutes_left"] > 0
        after = studio.post("/api/queue", {"key": first["key"], "verdict": "skipped"}).json
        assert [item["key"] for item in after["items"]] == [item["key"] for item in before["items"]]
        assert after["done"] == 1
        assert studio.post("/api/queue", {"key": first["key"], "verdict": "maybe"}).status == 404
        assert studio.post("/api/queue", {"key": "0", "verdict": "skipped"}).status == 404
        anew = studio.get("/api/queue?anew").json["items"]
        assert first["key"] not in [item["key"] for item in anew]
    with serving(doubtful) as studio:
        assert first["key"] not in [item["key"] for item in studio.get("/api/queue").json["items"]]


def test_without_a_model_the_queue_is_empty(dataset: Path) -> None:
    write_video(dataset / "videos" / "a.mp4")
    with serving(dataset) as studio:
        answer = studio.get("/api/queue").json
        assert (answer["items"], answer["total"], answer["model"]) == ([], 0, "")


def queue_of(dataset: Path, classes: str, *, labels: np.ndarray | None) -> Any:
    """The answer of the queue for a data set of one video and a model of other classes."""
    if classes:
        (dataset / "classes.txt").write_text(classes)
    folder = put_model(dataset, EXCLUSIVE)
    video = write_video(dataset / "videos" / "a.mp4", num_frames=NUM_FRAMES)
    if labels is not None:
        put_prediction(folder, video, labels, sure_of(labels, 3, probability=0.5))
    with serving(dataset) as studio:
        return studio.get("/api/queue").json


@pytest.mark.parametrize(
    ("classes", "is_labelled", "words"),
    [
        ("", True, "no classes yet"),
        ("eat\nrest\n", True, "none of the classes of this data set"),
        ("left\n", False, "labelled no video yet"),
    ],
)
def test_an_empty_queue_says_why(dataset: Path, classes: str, is_labelled: bool, words: str) -> None:
    answer = queue_of(dataset, classes, labels=np.repeat([0, 1], NUM_FRAMES // 2) if is_labelled else None)
    assert answer["items"] == []
    assert words in answer["problem"]


def test_accepting_writes_the_labels_of_the_model(doubtful: Path, browser: Browser) -> None:
    with serving(doubtful) as studio:
        video = studio.ids()["a"]
        with opened(browser, f"{studio.address}#{video}") as page:
            page.wait_for_selector("#queue .where")
            page.click("#queue .where")
            until(page, "studio.frame === 50 && studio.labels")
            assert page.evaluate("() => [studio.stretch.start, studio.stretch.stop]") == [50, 75]
            page.keyboard.press("Enter")
            until(page, "document.querySelector('#queue .left').textContent.startsWith('1 of')")
            until(page, "!studio.labels.pending")
        assert paints_of(studio, video) == [[50, 75, 0]]
        assert read_verdicts(doubtful / ".studio" / QUEUE)[0]["verdict"] == "accepted"


def test_an_accepted_stretch_that_is_undone_is_open_again(doubtful: Path, browser: Browser) -> None:
    left = "document.querySelector('#queue .left').textContent"
    accept = "document.querySelector('#queue .actions .main')"
    with serving(doubtful) as studio:
        total = studio.get("/api/queue").json["total"]
        with opened(browser, f"{studio.address}#{studio.ids()['a']}") as page:
            page.wait_for_selector("#queue .where")
            page.click("#queue .where")
            until(page, "studio.frame === 50 && studio.labels")
            page.keyboard.press("PageDown")
            for done in range(1, total):  # the others, so that nothing is left after the first one
                page.keyboard.press("Shift+Enter")
                until(page, f"{left}.startsWith('{done} of')")
            until(page, "studio.frame === 50 && studio.labels && studio.predictions.length")
            page.keyboard.press("Enter")
            until(page, f"{left}.startsWith('All ') && {accept}.disabled")
            page.keyboard.press("Control+z")
            until(page, f"{left}.startsWith('{total - 1} of') && !{accept}.disabled")
        assert "accepted" not in [line["verdict"] for line in read_verdicts(doubtful / ".studio" / QUEUE)]


def test_a_label_that_is_right_is_kept_and_not_listed_again(doubtful: Path, browser: Browser) -> None:
    (doubtful / "labels").mkdir()
    (doubtful / "labels" / "a.csv").write_text("start,stop,class\n50,75,right\n")
    with serving(doubtful) as studio:
        video = studio.ids()["a"]
        with opened(browser, f"{studio.address}#{video}") as page:
            page.click("#queue span:text('My label is right')")
            until(page, "document.querySelector('#queue .left').textContent.startsWith('1 of')")
        assert paints_of(studio, video) == [[50, 75, CLASSES.index("right")]]
        assert (50, 75) not in [(item["start"], item["stop"]) for item in studio.get("/api/queue?anew").json["items"]]


def test_a_stretch_whose_labels_were_changed_counts_as_corrected(doubtful: Path, browser: Browser) -> None:
    with serving(doubtful) as studio:
        video = studio.ids()["a"]
        with opened(browser, f"{studio.address}#{video}") as page:
            page.wait_for_selector("#queue .where")
            page.click("#queue .where")
            until(page, "studio.frame === 50 && studio.labels")
            page.keyboard.press("Control+Enter")
            until(page, "studio.selection && studio.selection.start === 50 && studio.selection.stop === 75")
            page.evaluate("() => studio.pressClass(2)")
            page.keyboard.press("PageDown")
            until(page, "document.querySelector('#queue .left').textContent.startsWith('1 of')")
        assert paints_of(studio, video) == [[50, 75, 2]]
        assert read_verdicts(doubtful / ".studio" / QUEUE)[0]["verdict"] == "corrected"
