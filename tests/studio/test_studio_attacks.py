"""What somebody else may do to the files of a data set while its studio runs, and what must not come of it."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from made_models import write_video
from made_studio import Studio, serving

from pipeline.annotations.label_space import LabelSpace
from pipeline.studio.labels import saving
from pipeline.studio.labels.backups import Backups
from pipeline.studio.labels.files import digest
from pipeline.studio.labels.saving import ChangedError, write_synced
from pipeline.studio.places import find_places

SPACE = LabelSpace(("rest", "walk"))


@pytest.fixture
def labelled(dataset: Path) -> Path:
    for stem in ("a", "b"):
        write_video(dataset / "videos" / f"{stem}.mp4", num_frames=60)
    (dataset / "classes.txt").write_text("rest\nwalk\n")
    (dataset / "labels").mkdir()
    return dataset


def paint(studio: Studio, video: str, start: int, stop: int, value: int) -> Any:
    version = studio.get(f"/api/videos/{video}/labels").json["version"]
    body = {"version": version, "name": "label", "paints": [[0, start, stop, value]]}
    return studio.post(f"/api/videos/{video}/edits", body)


def wait_saved(studio: Studio, video: str, seconds: float = 5) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = studio.get(f"/api/videos/{video}/labels").json
        if found["saved"] or time.monotonic() > end:
            return found
        time.sleep(0.05)


def test_a_cache_that_cannot_be_written_keeps_nothing_from_being_saved(labelled: Path) -> None:
    with serving(labelled) as studio:
        ids = studio.ids()
        shutil.rmtree(labelled / ".studio" / "clocks", ignore_errors=True)
        (labelled / ".studio" / "clocks").write_text("in the place of the folder")
        os.utime(labelled / "videos" / "b.mp4")
        for stem in ("b", "a"):
            assert paint(studio, ids[stem], 0, 10, 1).status == 200
            assert wait_saved(studio, ids[stem])["saved"]
            assert (labelled / "labels" / f"{stem}.csv").read_text() == "start,stop,class\n0,10,walk\n"
        assert studio.get(f"/api/videos/{ids['b']}").status == 200


def test_a_file_that_changed_since_it_was_read_is_not_overwritten(tmp_path: Path) -> None:
    path, backups = tmp_path / "a.csv", Backups(tmp_path / "backups")
    path.write_bytes(b"of somebody else")
    with pytest.raises(ChangedError):
        write_synced(path, b"mine", backups, before=digest(b"as it was read"))
    assert path.read_bytes() == b"of somebody else"
    with pytest.raises(ChangedError):
        write_synced(path, b"mine", backups, before="")  # there should be none
    write_synced(path, b"mine", backups, before=digest(b"of somebody else"))
    assert path.read_bytes() == b"mine"
    assert [copy.read_bytes() for copy in (tmp_path / "backups").iterdir()] == [b"of somebody else"]


def test_a_change_in_the_middle_of_a_save_is_a_conflict(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.studio.clocks import Clocks
    from pipeline.studio.labels.edits import Edit
    from pipeline.studio.labels.store import LabelStore

    places = find_places(labelled, None, state=labelled / ".studio")
    videos = places.find_videos()
    video = next(video for video in videos.values() if video.stem == "a")
    path = labelled / "labels" / "a.csv"
    path.write_text("start,stop,class\n0,5,rest\n")
    store = LabelStore(places, Clocks(labelled / ".studio" / "clocks"), videos)
    carry_out = saving.carry_out
    others = [b"start,stop,class\n0,20,rest\n"]

    def change_first(plan: Any, backups: Any) -> None:
        if others:
            path.write_bytes(others.pop())
        carry_out(plan, backups)

    monkeypatch.setattr("pipeline.studio.labels.store.carry_out", change_first)
    with store.opened(video) as document:
        document.change("edit", Edit.from_json({"name": "label", "paints": [[0, 30, 40, 1]]}).to_json())
    end = time.monotonic() + 60
    while time.monotonic() < end and document.conflict is None:
        time.sleep(0.05)
    store.close()
    assert document.conflict is not None
    assert path.read_text() == "start,stop,class\n0,20,rest\n"


def test_a_video_of_another_length_is_noticed(labelled: Path) -> None:
    with serving(labelled) as studio:
        video = studio.ids()["a"]
        assert paint(studio, video, 0, 50, 1).status == 200
        assert wait_saved(studio, video)["saved"]
        write_video(labelled / "videos" / "a.mp4", num_frames=30)
        found = studio.get(f"/api/videos/{video}/labels").json
        assert found["num_frames"] == 30
        assert any("60 frames" in notice for notice in found["notices"])
        assert found["problems"]  # the label file goes beyond the end
        assert paint(studio, video, 20, 25, 1).status == 422


def test_a_pipe_in_the_place_of_a_label_file_holds_nothing_up(labelled: Path) -> None:
    with serving(labelled) as studio:
        ids = studio.ids()
        os.mkfifo(labelled / "labels" / "a.csv")
        found = studio.get(f"/api/videos/{ids['a']}/labels").json
        assert "is not a file" in found["problems"][0]
        assert paint(studio, ids["a"], 0, 10, 1).status == 422
        assert paint(studio, ids["b"], 0, 10, 1).status == 200
        assert wait_saved(studio, ids["b"])["saved"]
        assert studio.end() == 0


def test_a_link_put_in_the_place_of_a_video_is_not_served(labelled: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET")
    with serving(labelled) as studio:
        video = studio.ids()["a"]
        (labelled / "videos" / "a.mp4").unlink()
        (labelled / "videos" / "a.mp4").symlink_to(secret)
        for path in (f"/media/{video}", f"/api/videos/{video}/frames/0", f"/api/videos/{video}/times"):
            answer = studio.get(path)
            assert answer.status in (403, 404, 422)
            assert b"SECRET" not in answer.content


def test_a_folder_of_videos_that_is_a_link_out_is_not_served(labelled: Path, tmp_path: Path) -> None:
    (labelled / "videos").rename(tmp_path / "elsewhere")
    (labelled / "videos").symlink_to(tmp_path / "elsewhere")
    with serving(labelled) as studio:
        assert studio.get(f"/media/{studio.ids()['a']}").status == 403
    with serving(labelled, "--follow-links") as studio:
        assert studio.get(f"/media/{studio.ids()['a']}").status == 200


def test_a_state_that_is_a_link_is_left_alone(labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "open.json").write_text("precious")
    (labelled / ".studio").symlink_to(tmp_path / "precious")
    with serving(labelled) as studio:
        assert "is a link" in studio.get("/api/studio").json["read_only"]
    assert [path.read_text() for path in (tmp_path / "precious").iterdir()] == ["precious"]


def test_videos_whose_label_files_could_be_mistaken_are_refused(labelled: Path) -> None:
    write_video(labelled / "videos" / "a.frames.mp4", num_frames=5)
    write_video(labelled / "videos" / "a.mp4.mp4", num_frames=5)
    videos = find_places(labelled, None, state=labelled).find_videos().values()
    refused = {video.stem: "rename" in (video.refusal or "") for video in videos}
    assert refused == {"a": False, "b": False, "a.frames": True, "a.mp4": True}


def test_a_name_that_is_not_text_is_passed_over(labelled: Path) -> None:
    shutil.copy(labelled / "videos" / "a.mp4", os.fsencode(labelled / "videos") + b"/\xff.mp4")
    with serving(labelled) as studio:
        assert set(studio.ids()) == {"a", "b"}


def test_the_journal_of_another_video_is_set_aside(labelled: Path) -> None:
    with serving(labelled) as studio:
        ids = studio.ids()
        assert paint(studio, ids["b"], 0, 10, 1).status == 200
        assert wait_saved(studio, ids["b"])["saved"]
    journals = labelled / ".studio" / "journals"
    shutil.copy(journals / f"{ids['b']}.jsonl", journals / f"{ids['a']}.jsonl")
    with serving(labelled) as studio:
        found = studio.get(f"/api/videos/{ids['a']}/labels").json
        assert any("'b'" in notice for notice in found["notices"])
        assert not found["can_undo"]


@pytest.mark.parametrize("keys", [{"rest": [1], "walk": [1]}, {"rest": {}}, {"rest": 5}, [], None])
def test_keys_of_any_kind_are_refused_in_words(labelled: Path, keys: Any) -> None:
    with serving(labelled) as studio:
        answer = studio.post("/api/keys", {"keys": keys})
        assert answer.status == 422
        assert answer.error


def test_a_long_address_is_refused(labelled: Path) -> None:
    with serving(labelled) as studio:
        assert studio.get(f"/api/videos/{studio.ids()['a']}/frames/{'9' * 5000}").status == 414
