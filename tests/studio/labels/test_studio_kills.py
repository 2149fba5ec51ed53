"""The server is killed (kill -9) at random moments while a client edits as fast as it is answered."""

import http.client
import os
import random
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_studio import Studio, serving
from made_videos import MakeVideo

from pipeline.annotations.formats.scored import Scored, read_scored
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.read import find_annotation, read_annotation
from pipeline.studio.labels.edits import Edit
from pipeline.studio.labels.history import History
from pipeline.studio.labels.tracks import Tracks

NUM_KILLS = int(os.environ.get("FRAMESCRIBE_KILLS", "15"))  # of each space; each starts the studio again
T = 60
EXCLUSIVE = LabelSpace(("walk", "rest"))
OVERLAPPING = LabelSpace(("eats", "sleeps", "rears"), groups=("state", "state", "posture"))
Request = tuple[str, dict[str, Any]]


@dataclass
class Client:
    """A page that edits: it knows what was answered, and what was asked for last."""

    space: LabelSpace
    generator: random.Random
    answered: list[Request] = field(default_factory=list)
    under_way: Request | None = None
    version: int = 0

    def history(self, *, with_last: bool) -> History:
        """What the labels are to be, by the requests alone."""
        requests = [*self.answered, *([self.under_way] if with_last and self.under_way else [])]
        history = History(Tracks.empty(T, self.space), ())
        for kind, body in requests:
            if kind == "edits":
                paints = tuple(map(tuple, body["paints"]))
                history.edit(Edit("edit", paints, add_cuts=tuple(map(tuple, body["add_cuts"]))))
            else:
                getattr(history, kind)()
        return history

    def next_request(self, history: History) -> Request:
        choice = self.generator.random()
        if choice < 0.2 and history.done:
            return "undo", {}
        if choice < 0.3 and history.undone:
            return "redo", {}
        track = self.generator.randrange(len(history.tracks.tracks))
        start = self.generator.randrange(T - 1)
        stop = self.generator.randrange(start + 1, T)
        value = self.generator.choice([0, 1, 1, None])
        return "edits", {"paints": [[track, start, stop, value]], "add_cuts": [[track, max(1, (start + stop) // 2)]]}

    def edit_until_killed(self, studio: Studio, video: str) -> None:
        history = self.history(with_last=False)
        try:
            while True:
                request = self.under_way = self.next_request(history)
                kind, body = request
                answer = studio.post(f"/api/videos/{video}/{kind}", {"version": self.version, **body})
                assert answer.status == 200, answer.content
                self.version = answer.json["version"]
                self.answered.append(request)
                self.under_way = None
                history = self.history(with_last=False) if kind != "edits" else self._edited(history, body)
        except (OSError, http.client.HTTPException):
            return

    def _edited(self, history: History, body: dict[str, Any]) -> History:
        cuts = tuple(map(tuple, body["add_cuts"]))
        history.edit(Edit("edit", tuple(map(tuple, body["paints"])), add_cuts=cuts))
        return history


def read_labels(dataset: Path, space: LabelSpace) -> np.ndarray:
    """Read the label file as training does: it is always valid."""
    path = find_annotation(dataset / "labels", "clip", file_name="clip.mp4")
    if path is None:
        return space.unlabelled(T)
    labels = read_annotation(path, space, num_frames=T)
    scored = dataset / "scored.csv"
    return Scored(scored, read_scored(scored, space) if scored.exists() else {}).keep("clip", labels, space)


def compare(studio: Studio, video: str, client: Client) -> None:
    """Check that the server has each edit that was answered, and at most the one under way beside them."""
    found = studio.get(f"/api/videos/{video}/labels").json
    assert not found["problems"]
    assert not found["notices"]
    assert found["conflict"] is None
    has_last = found["version"] == client.version + 1
    assert has_last or found["version"] == client.version
    assert not has_last or client.under_way is not None
    expected = client.history(with_last=has_last)
    assert found["tracks"] == expected.tracks.to_json()
    if has_last and client.under_way:
        client.answered.append(client.under_way)
    client.version, client.under_way = found["version"], None


def compare_the_whole_history(studio: Studio, video: str, client: Client) -> None:
    """Undo everything, and make all of it again."""
    history = client.history(with_last=False)
    steps = len(history.done)
    for kind in ("undo", "redo"):
        for _ in range(steps):
            getattr(history, kind)()
            answer = studio.post(f"/api/videos/{video}/{kind}", {"version": client.version}).json
            client.version = answer["version"]
            client.answered.append((kind, {}))
            assert answer["tracks"] == history.tracks.to_json()
        assert answer["can_undo"] == (kind == "redo")


def kill_again_and_again(dataset: Path, space: LabelSpace, num_kills: int, seed: int) -> Client:
    generator = random.Random(seed)
    client = Client(space, generator)
    for number in range(num_kills + 1):
        with serving(dataset) as studio:
            (video,) = studio.ids().values()
            if number == 0:
                client.version = studio.get(f"/api/videos/{video}/labels").json["version"]
            compare(studio, video, client)
            if number == num_kills:
                compare_the_whole_history(studio, video, client)
                wait_until_saved(studio, video)
                assert np.array_equal(read_labels(dataset, space), client.history(with_last=False).tracks.to_labels())
                return client
            thread = threading.Thread(target=client.edit_until_killed, args=(studio, video))
            thread.start()
            time.sleep(generator.uniform(0.0, 0.6))
            studio.kill()
            thread.join()
        read_labels(dataset, space)
    raise AssertionError("it is never killed")


def wait_until_saved(studio: Studio, video: str) -> None:
    for _ in range(200):
        if studio.get(f"/api/videos/{video}/labels").json["saved"]:
            return
        time.sleep(0.02)
    raise AssertionError("the labels were not saved within 4 s")


@pytest.fixture
def clip(dataset: Path, make_video: MakeVideo) -> Path:
    shutil.move(make_video(num_frames=T), dataset / "videos" / "clip.mp4")
    return dataset


def write_classes(dataset: Path, space: LabelSpace) -> None:
    if space.groups is None:
        (dataset / "classes.txt").write_text("".join(f"{name}\n" for name in space.classes))
    else:
        rows = zip(space.classes, space.groups, strict=True)
        (dataset / "classes.csv").write_text("class,group\n" + "".join(f"{name},{group}\n" for name, group in rows))


def test_no_edit_is_lost_by_ten_kills(clip: Path) -> None:
    write_classes(clip, OVERLAPPING)
    client = kill_again_and_again(clip, OVERLAPPING, num_kills=10, seed=2)
    assert len(client.answered) > 20


@pytest.mark.slow
@pytest.mark.parametrize("space", [EXCLUSIVE, OVERLAPPING])
def test_no_edit_is_lost_by_many_kills(clip: Path, space: LabelSpace) -> None:
    write_classes(clip, space)
    client = kill_again_and_again(clip, space, num_kills=NUM_KILLS, seed=1)
    assert len(client.answered) > 10 * NUM_KILLS
