import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_studio import Answer, Studio, serving
from made_videos import MakeVideo

T = 30


@pytest.fixture
def studio(dataset: Path, make_video: MakeVideo) -> Iterator[Studio]:
    shutil.move(make_video(num_frames=T), dataset / "videos" / "clip.mp4")
    (dataset / "classes.txt").write_text("walk\nrest\n")
    (dataset / "labels").mkdir()
    (dataset / "labels" / "clip.csv").write_text("start,stop,class\n0,10,walk\n")
    with serving(dataset) as studio:
        yield studio


class Client:
    """A page that has a video open."""

    def __init__(self, studio: Studio) -> None:
        self.studio, (self.id,) = studio, studio.ids().values()
        self.version = 0
        self.take()

    def take(self) -> Any:
        labels = self.studio.get(f"/api/videos/{self.id}/labels").json
        self.version = labels["version"]
        return labels

    def post(self, path: str, **body: Any) -> Answer:
        answer = self.studio.post(f"/api/videos/{self.id}/{path}", {"version": self.version, **body})
        if answer.status == 200:
            self.version = answer.json["version"]
        return answer


def wait(is_true: Callable[[], bool]) -> None:
    for _ in range(200):
        if is_true():
            return
        time.sleep(0.02)
    raise AssertionError("it did not become true within 4 s")


def test_an_edit_is_shown_saved_and_undone(studio: Studio, dataset: Path) -> None:
    client = Client(studio)
    before = client.take()
    assert before | {"version": 0} == {
        "version": 0,
        "num_frames": T,
        "tracks": [{"starts": [0], "stops": [10], "values": [0]}],
        "marks": [],
        "can_undo": False,
        "can_redo": False,
        "undo_name": "",
        "redo_name": "",
        "saved": True,
        "conflict": None,
        "problems": [],
        "notices": [],
        "source": "clip.csv",
        "is_adopted": False,
        "is_of_model": False,
    }
    answer = client.post("edits", name="relabel", paints=[[0, 5, 20, 1], [0, 8, 9, None]], add_cuts=[[0, 15]])
    assert answer.status == 200
    assert answer.json["version"] == before["version"] + 1
    assert (answer.json["can_undo"], answer.json["undo_name"], answer.json["saved"]) == (True, "relabel", False)
    after = client.take()["tracks"]
    assert after == [{"starts": [0, 5, 9, 15], "stops": [5, 8, 15, 20], "values": [0, 1, 1, 1]}]
    wait(lambda: bool(client.take()["saved"]))
    rows = "start,stop,class\n0,5,walk\n5,8,rest\n9,15,rest\n15,20,rest\n"
    assert (dataset / "labels" / "clip.csv").read_text() == rows
    undone = client.post("undo").json
    assert undone["focus"] == [5, 20]
    assert undone["tracks"] == before["tracks"]
    assert undone["redo_name"] == "relabel"
    redone = client.post("redo").json
    assert redone["tracks"] == after
    assert studio.get("/api/videos").json["videos"][0]["state"] == "partly"


def test_the_second_of_two_pages_is_told(studio: Studio) -> None:
    first, second = Client(studio), Client(studio)
    assert first.post("edits", paints=[[0, 10, 12, 1]]).status == 200
    for path, body in (("edits", {"paints": [[0, 0, 5, None]]}), ("undo", {}), ("redo", {})):
        answer = second.post(path, **body)
        assert answer.status == 409
        assert "changed meanwhile" in answer.error
        assert answer.json["labels"]["version"] == first.version
        assert answer.json["labels"]["tracks"] == [{"starts": [0, 10], "stops": [10, 12], "values": [0, 1]}]
    status = studio.get(f"/api/status?page=a&video={first.id}").json
    assert status["labels"] == {first.id: first.version}


MARKS = [{"frame": 3, "name": "=1", "text": "<script>\nä"}, {"frame": 1, "name": "", "text": ""}]


def test_marks_are_added_changed_and_removed(studio: Studio, dataset: Path) -> None:
    client = Client(studio)
    answer = client.post("edits", name="mark", add_marks=MARKS).json
    second, first = answer["marks"]
    assert [first, second] == [{"id": mark["id"], **given} for mark, given in zip((first, second), MARKS, strict=True)]
    changed = {"id": first["id"], "frame": 29, "name": "b", "text": "c"}
    assert client.post("edits", change_marks=[changed], remove_marks=[second["id"]]).json["marks"] == [changed]
    wait(lambda: bool(client.take()["saved"]))
    content = (dataset / "notes" / "clip.csv").read_text()
    assert content.startswith("frame,time_seconds,name,text\n29,")
    assert client.post("undo").json["marks"] == [second, first]
    assert (dataset / "labels" / "clip.csv").read_text() == "start,stop,class\n0,10,walk\n"


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"paints": [[0, 0, 5]]}, ["paints[0]: expected [track, start, stop, value]"]),
    ({"paints": [[1, 0, 5, 0]]}, ["track is not a number from 0 to 0"]),
    ({"paints": [[True, 0, 5, 0]]}, ["track"]),
    ({"paints": [[0, 5, 5, 0]]}, ["0 <= start < stop <= 30"]),
    ({"paints": [[0, -1, 5, 0]]}, ["0 <= start"]),
    ({"paints": [[0, 0, 31, 0]]}, ["0 <= start"]),
    ({"paints": [[0, 0.0, 5, 0]]}, ["0 <= start"]),
    ({"paints": [[0, 0, float("nan"), 0]]}, ["0 <= start"]),
    ({"paints": [[0, 0, float("inf"), 0]]}, ["0 <= start"]),
    ({"paints": [[0, 0, 10**300, 0]]}, ["0 <= start"]),
    ({"paints": [[0, 0, 5, 2]]}, ["neither null nor a number from 0 to 1"]),
    ({"paints": [[0, 0, 5, False]]}, ["neither null"]),
    ({"paints": [[0, 0, 5, "walk"]]}, ["neither null"]),
    ({"paints": {"0": 1}}, ["paints: expected a list"]),
    ({"paints": [[0, 0, 5, 0]] * 20_001}, ["got 20001, expected at most 20000"]),
    ({"paints": [[9, 9, 9, 9]], "add_cuts": [[0, 0]]}, ["the track", "start", "the value", "add_cuts[0]"]),
    ({"remove_cuts": [[0, 30], [0, True], 5]}, ["remove_cuts[0]", "remove_cuts[1]", "remove_cuts[2]"]),
    ({"add_marks": [{"frame": 30, "name": 5, "text": "\0"}]}, ["from 0 to 29", "is not text", "zero byte"]),
    ({"add_marks": [{"frame": 1, "name": "x" * 201, "text": "y" * 10_001}]}, ["201 characters", "10001 characters"]),
    ({"add_marks": [{"frame": 1, "name": "\ud800"}]}, ["lone surrogate"]),
    ({"add_marks": ["here"]}, ["expected {frame, name, text}"]),
    ({"change_marks": [{"id": "m9", "frame": 1}], "remove_marks": [5, "m1"]}, ["no such mark", "remove_marks[1]"]),
    ({"name": 5, "paints": [[0, 0, 5, 0]]}, ["name is not text"]),
    ({"paints": []}, ["changes nothing"]),
    ({"version": True, "paints": [[0, 0, 5, 0]]}, ["version: expected the number"]),
    ({"version": None, "paints": [[0, 0, 5, 0]]}, ["version: expected the number"]),
    ({"paints": [[0, 9, 9, 9]] * 100}, ["paints[0]", "paints[4]", "and 190 more"]),
]


def test_whatever_an_edit_cannot_be_is_refused_with_all_problems(studio: Studio) -> None:
    client = Client(studio)
    before = client.take()
    for body, messages in WRONG:
        answer = client.post("edits", **body)
        assert answer.status == 422, body
        for message in messages:
            assert message in answer.error
    assert client.take() == before


def test_the_rest_of_the_requests_are_checked_too(studio: Studio) -> None:
    client = Client(studio)
    assert client.post("undo").error == "there is nothing to undo"
    assert client.post("redo").error == "there is nothing to redo"
    assert client.post("conflict", choice="both").status == 422
    assert client.post("conflict", choice="mine").error == "the label file was not changed by anybody else"
    for path in ("labels", "edits"):
        method = studio.get if path == "labels" else studio.post
        assert method(f"/api/videos/../../etc/{path}").status in (404, 405)
        assert method(f"/api/videos/0123456789abcdef/{path}").status == 404
    assert studio.post("/api/classes", {"name": "a\u2028b"}).status == 422
    assert studio.post("/api/keys", {"keys": {"walk": "s"}}).status == 422


def test_classes_and_keys_are_described_and_changed(studio: Studio, dataset: Path) -> None:
    found = studio.get("/api/studio").json
    assert found["exclusive"] is True
    assert found["classes"][0] == {"name": "walk", "group": None, "color": "#4477aa", "key": "a"}
    assert "ArrowLeft" in found["reserved"]
    added = studio.post("/api/classes", {"name": '<b>"run", fast</b>'})
    assert added.status == 200
    assert [one["name"] for one in added.json["classes"]] == ["walk", "rest", '<b>"run", fast</b>']
    keys = studio.post("/api/keys", {"keys": {"rest": "a"}}).json
    assert [one["key"] for one in keys["classes"]] == ["l", "a", "r"]
    client = Client(studio)
    assert client.post("edits", paints=[[0, 20, 30, 2]]).status == 200
    wait(lambda: bool(client.take()["saved"]))
    assert (dataset / "labels" / "clip.csv").read_text().endswith('20,30,"<b>""run"", fast</b>"\n')


def test_both_versions_of_a_conflict_are_shown(studio: Studio, dataset: Path) -> None:
    client = Client(studio)
    theirs = "start,stop,class\n20,30,rest\n"
    client.post("edits", paints=[[0, 10, 12, 1]])
    (dataset / "labels" / "clip.csv").write_text(theirs)
    found = client.take()
    assert found["conflict"]["tracks"] == [{"starts": [20], "stops": [30], "values": [1]}]
    assert found["conflict"]["source"] == "clip.csv"
    assert abs(found["conflict"]["changed"] - time.time()) < 60
    assert found["tracks"] == [{"starts": [0, 10], "stops": [10, 12], "values": [0, 1]}]
    assert not found["saved"]
    solved = client.post("conflict", choice="theirs").json
    assert solved["conflict"] is None
    assert solved["tracks"] == [{"starts": [20], "stops": [30], "values": [1]}]
    assert (dataset / "labels" / "clip.csv").read_text() == theirs


def test_a_second_studio_changes_nothing(studio: Studio, dataset: Path) -> None:
    with serving(dataset) as second:
        client = Client(second)
        assert client.take()["tracks"] == [{"starts": [0], "stops": [10], "values": [0]}]
        for answer in (client.post("edits", paints=[[0, 0, 5, 1]]), client.post("undo")):
            assert answer.status == 403
            assert "has this data set open in another studio" in answer.error
        for path, body in (("/api/classes", {"name": "run"}), ("/api/keys", {"keys": {"walk": "v"}})):
            assert second.post(path, body).status == 403
    assert (dataset / "labels" / "clip.csv").read_text() == "start,stop,class\n0,10,walk\n"
