import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_labels import EXCLUSIVE, OVERLAPPING, GivenClocks, label_store, make_dataset, video_of
from made_work import MANY, assert_grows_linearly

from pipeline.annotations.formats.scored import Scored, read_scored
from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.annotations.read import read_annotation
from pipeline.errors import InputError
from pipeline.studio.labels import document, saving
from pipeline.studio.labels.edits import Edit, Mark
from pipeline.studio.labels.store import MAX_OPEN, LabelStore
from pipeline.studio.places import find_places
from pipeline.studio.requests import RefusedError

T = 100
FRAMES = {"clip": T, "other": T}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = make_dataset(tmp_path, EXCLUSIVE, "clip", "other")
    (root / "labels").mkdir()
    (root / "labels" / "clip.csv").write_text("start,stop,class\n0,10,walk\n")
    return root


def edit(store: LabelStore, *paints: tuple[int, int, int, int | None], stem: str = "clip", **parts: Any) -> None:
    with store.opened(video_of(store, stem)) as opened:
        opened.change("edit", Edit("test", paints, **parts).to_json())


def step(store: LabelStore, kind: str) -> None:
    with store.opened(video_of(store, "clip")) as opened:
        opened.change(kind, {})


def wait(is_true: Callable[[], bool]) -> None:
    for _ in range(400):
        if is_true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not become true within 4 s")


def is_saved(store: LabelStore, stem: str = "clip") -> bool:
    with store.opened(video_of(store, stem)) as opened:
        return not opened.is_unsaved


def poll(store: LabelStore) -> document.Document:
    with store.opened(video_of(store, "clip")) as opened:
        opened.poll()
        return opened


def names(store: LabelStore) -> list[str | None]:
    labels = store.labels(video_of(store, "clip"))
    return store.label_space.names(labels[:40:10])


def copies(root: Path) -> list[str]:
    return sorted(path.read_text() for path in (root / ".studio" / "backups").iterdir())


def test_an_edit_comes_into_the_label_file_by_itself(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
        wait(lambda: is_saved(store))
        assert (root / "labels" / "clip.csv").read_text() == "start,stop,class\n0,10,walk\n10,20,rest\n"
        assert copies(root) == ["start,stop,class\n0,10,walk\n"]


def test_looking_changes_nothing(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        assert names(store) == ["walk", None, None, None]
        assert store.summary(video_of(store, "clip")).labelled == 0.1
    assert (
        not [path for path in (root / ".studio").rglob("*") if path.is_file()] if (root / ".studio").exists() else True
    )


def test_history_goes_on_after_a_restart(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
        edit(store, (0, 20, 30, 2), set_marks=(Mark("m1", 5, "here", "a\nnote"),))
        step(store, "undo")
        version = store.version(video_of(store, "clip").id)
    assert not (root / "notes" / "clip.csv").exists()
    with label_store(root, FRAMES) as store:
        assert names(store) == ["walk", "rest", None, None]
        step(store, "redo")
        assert store.version(video_of(store, "clip").id) == version + 1
        assert names(store) == ["walk", "rest", "jump", None]
        wait(lambda: is_saved(store))
        assert "here" in (root / "notes" / "clip.csv").read_text()
        for expected in (["walk", "rest", None, None], ["walk", None, None, None]):
            step(store, "undo")
            assert names(store) == expected
        with pytest.raises(RefusedError, match="nothing to undo"):
            step(store, "undo")


def test_an_outside_change_without_unsaved_edits_is_adopted_and_can_be_undone(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
        wait(lambda: is_saved(store))
        before = store.version(video_of(store, "clip").id)
        (root / "labels" / "clip.csv").write_text("start,stop,class\n30,40,jump\n")
        assert poll(store).version == before + 1
        assert names(store) == [None, None, None, "jump"]
        step(store, "undo")
        assert names(store) == ["walk", "rest", None, None]
        wait(lambda: is_saved(store))
        assert "start,stop,class\n30,40,jump\n" in copies(root)


def test_an_outside_change_is_seen_on_a_page_although_the_labels_of_many_videos_were_opened_since(
    tmp_path: Path,
) -> None:
    stems = [f"clip_{index:02d}" for index in range(MAX_OPEN + 4)]
    root = make_dataset(tmp_path, EXCLUSIVE, *stems)
    (root / "labels").mkdir()
    with label_store(root, dict.fromkeys(stems, T)) as store:
        first, *others = (video_of(store, stem) for stem in stems)
        for is_told_before in (False, True):
            with store.opened(first) as document:
                document.poll()
                before = document.version
            if is_told_before:
                store.status(first.id)
            for video in others:
                store.summary(video)
            assert (store.version(first.id) == before) == is_told_before
            (root / "labels" / f"{first.stem}.csv").write_text(f"start,stop,class\n0,{4 + is_told_before},walk\n")
            assert store.status(first.id)["labels"][first.id] > before


def test_an_outside_change_of_labels_that_were_only_looked_at_is_shown(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        assert names(store)[0] == "walk"
        before = store.version(video_of(store, "clip").id)
        (root / "labels" / "clip.csv").write_text("start,stop,class\n0,40,jump\n")
        assert store.status(video_of(store, "clip").id)["labels"] == {video_of(store, "clip").id: before + 1}
        assert names(store) == ["jump"] * 4


def conflicting(store: LabelStore, root: Path, theirs: str | None) -> None:
    """Let somebody else change the label file while there is an unsaved edit."""
    edit(store, (0, 10, 20, 1))
    path = root / "labels" / "clip.csv"
    if theirs is None:
        path.unlink()
    else:
        path.write_text(theirs)
    assert poll(store).conflict is not None
    time.sleep(0.4)  # longer than it takes to save
    assert (path.read_text() if path.exists() else None) == theirs


@pytest.mark.parametrize("theirs", ["start,stop,class\n30,40,jump\n", None])
def test_mine_is_written_and_theirs_is_kept_as_a_copy(root: Path, theirs: str | None) -> None:
    with label_store(root, FRAMES) as store:
        conflicting(store, root, theirs)
        edit(store, (0, 20, 30, 2))  # goes on meanwhile
        assert store.summary(video_of(store, "clip")).has_conflict
        with store.opened(video_of(store, "clip")) as opened:
            assert opened.resolve(keep_mine=True) is None
        wait(lambda: is_saved(store))
        assert names(store) == ["walk", "rest", "jump", None]
        assert (root / "labels" / "clip.csv").read_text() == "start,stop,class\n0,10,walk\n10,20,rest\n20,30,jump\n"
        assert theirs is None or theirs in copies(root)


@pytest.mark.parametrize("theirs", ["start,stop,class\n30,40,jump\n", None])
def test_theirs_is_taken_over_and_undo_brings_mine_back(root: Path, theirs: str | None) -> None:
    with label_store(root, FRAMES) as store:
        conflicting(store, root, theirs)
        with store.opened(video_of(store, "clip")) as opened:
            found = opened.resolve(keep_mine=False)
            assert found is not None
            assert found.focus() == (0, T)
        assert names(store) == [None, None, None, "jump" if theirs else None]
        assert is_saved(store)
        step(store, "undo")
        assert names(store) == ["walk", "rest", None, None]
        wait(lambda: is_saved(store))
    assert (root / "labels" / "clip.csv").read_text() == "start,stop,class\n0,10,walk\n10,20,rest\n"


def test_a_conflict_is_one_after_a_restart_too(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        conflicting(store, root, "start,stop,class\n30,40,jump\n")
    with label_store(root, FRAMES) as store:
        assert poll(store).conflict is not None
        with store.opened(video_of(store, "clip")) as opened:
            opened.resolve(keep_mine=True)
            with pytest.raises(RefusedError, match="not changed by anybody else"):
                opened.resolve(keep_mine=True)
        wait(lambda: is_saved(store))


def test_the_same_change_on_both_sides_is_no_conflict(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
        (root / "labels" / "clip.csv").write_text("class,start,stop\nrest,10,20\nwalk,0,10\n")
        found = poll(store)
        assert found.conflict is None
        assert not found.is_unsaved


def test_a_deleted_label_file_is_a_change(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
        wait(lambda: is_saved(store))
        (root / "labels" / "clip.csv").unlink()
        poll(store)
        assert names(store) == [None] * 4
        step(store, "undo")
        wait(lambda: is_saved(store))
    assert (root / "labels" / "clip.csv").read_text() == "start,stop,class\n0,10,walk\n10,20,rest\n"


def test_what_cannot_be_read_is_not_written_over(root: Path) -> None:
    (root / "labels" / "clip.csv").write_text("start,stop,class\n0,1000,walk\n0,5,run\n")
    with label_store(root, FRAMES) as store:
        (problem, *_) = poll(store).problems
        assert problem.startswith("clip.csv:2: ")
        with pytest.raises(RefusedError, match="cannot be edited until this is solved"):
            edit(store, (0, 10, 20, 1))
        (root / "labels" / "clip.csv").write_text("start,stop,class\n0,10,walk\n")
        poll(store)
        edit(store, (0, 10, 20, 1))
        wait(lambda: is_saved(store))
        (root / "labels" / "clip.csv").write_text("nonsense")
        assert poll(store).problems
        assert names(store)[:2] == ["walk", "rest"]  # what the journal has
        with pytest.raises(RefusedError, match="cannot be edited"):
            step(store, "undo")


def test_two_label_files_of_one_video_are_a_problem(root: Path) -> None:
    (root / "labels" / "clip.txt").write_text("walk\n" * T)
    with label_store(root, FRAMES) as store:
        assert "both label" in poll(store).problems[0]


def test_edits_wait_in_the_journal_while_the_disk_is_full(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    from pipeline.studio.labels import store as module

    monkeypatch.setattr(module, "SECONDS_TO_RETRY", 0.1)
    monkeypatch.setattr(saving, "replacing", refuse)
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
        wait(lambda: bool(poll(store).notices))
        assert "the disk is full" in poll(store).notices[0]
        assert not is_saved(store)
        edit(store, (0, 20, 30, 2))  # nothing is in the way of the next edit
        assert "the disk is full" in store.summary(video_of(store, "clip")).problems[0]
        monkeypatch.undo()
        wait(lambda: is_saved(store))
        assert not poll(store).notices
    assert (root / "labels" / "clip.csv").read_text() == "start,stop,class\n0,10,walk\n10,20,rest\n20,30,jump\n"


def test_edits_wait_in_the_journal_while_labels_is_not_a_folder(root: Path) -> None:
    (root / "labels" / "clip.csv").unlink()
    (root / "labels").rmdir()
    (root / "labels").touch()
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
        wait(lambda: bool(poll(store).notices))
        assert "the edits are kept in the journal" in poll(store).notices[0]
    (root / "labels").unlink()
    with label_store(root, FRAMES) as store:
        poll(store)
        wait(lambda: is_saved(store))
    assert (root / "labels" / "clip.csv").read_text() == "start,stop,class\n10,20,rest\n"


def test_an_edit_that_the_journal_cannot_take_is_refused_and_not_made(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
        wait(lambda: is_saved(store))

        def refuse(file: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(RefusedError, match="was not made"):
            edit(store, (0, 20, 30, 2))
        monkeypatch.undo()
        assert names(store) == ["walk", "rest", None, None]
    with label_store(root, FRAMES) as store:
        assert names(store) == ["walk", "rest", None, None]


def test_a_damaged_journal_is_set_aside_and_the_label_file_counts(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
        edit(store, (0, 20, 30, 2))
    (journal,) = (root / ".studio" / "journals").iterdir()
    content = journal.read_text()
    journal.write_text(content.replace('"test"', '"TEST"', 1))
    with label_store(root, FRAMES) as store:
        assert "is damaged" in poll(store).notices[0]
        assert not poll(store).problems
        assert names(store) == ["walk", "rest", "jump", None]
        edit(store, (0, 30, 40, 0))
        with store.opened(video_of(store, "clip")) as opened:
            assert len(opened.history.done) == 1
    aside = [path for path in journal.parent.iterdir() if path != journal]
    assert [path.read_text() for path in aside] == [content.replace('"test"', '"TEST"', 1)]


def test_a_journal_of_another_number_of_frames_is_set_aside(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
    with label_store(root, FRAMES | {"clip": T + 1}) as store:
        assert "is of 100 frames, and the video has 101" in poll(store).notices[0]
        assert names(store) == ["walk", "rest", None, None]


def forget_the_last_entry(root: Path) -> None:
    (journal,) = (root / ".studio" / "journals").iterdir()
    lines = journal.read_bytes().splitlines(keepends=True)
    assert b'"saved"' in lines[-1]
    journal.write_bytes(b"".join(lines[:-1]))


def test_a_kill_before_the_replaced_file_was_removed_is_recognised(root: Path) -> None:
    content = "walk\n" * 10 + "\n" * 90
    (root / "labels" / "clip.csv").unlink()
    (root / "labels" / "clip.txt").write_text(content)
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
    assert [path.name for path in (root / "labels").iterdir()] == ["clip.csv"]
    forget_the_last_entry(root)
    (root / "labels" / "clip.txt").write_text(content)
    with label_store(root, FRAMES) as store:
        found = poll(store)
        assert found.conflict is None
        assert not found.problems
        assert not found.is_unsaved
        assert names(store) == ["walk", "rest", None, None]
    assert [path.name for path in (root / "labels").iterdir()] == ["clip.csv"]


@pytest.mark.parametrize("written", ["clip.csv", "clip.txt"])
def test_a_file_that_somebody_else_wrote_meanwhile_is_not_removed(root: Path, written: str) -> None:
    (root / "labels" / "clip.csv").unlink()
    (root / "labels" / "clip.txt").write_text("walk\n" * 10 + "\n" * 90)
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
    forget_the_last_entry(root)
    (root / "labels" / "clip.txt").write_text("walk\n" * 10 + "\n" * 90)
    theirs = "jump\n" * 100 if written == "clip.txt" else "start,stop,class\n1,2,jump\n"
    (root / "labels" / written).write_text(theirs)
    with label_store(root, FRAMES) as store:
        assert "both label" in poll(store).problems[0]
    assert (root / "labels" / written).read_text() == theirs


def test_a_saved_file_is_recognised_although_the_note_of_it_is_missing(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
    forget_the_last_entry(root)
    with label_store(root, FRAMES) as store:
        found = poll(store)
        assert found.conflict is None
        assert not found.is_unsaved
        edit(store, (0, 20, 30, 2))
    assert copies(root) == ["start,stop,class\n0,10,walk\n"]


# Classes --------------------------------------------------------------------------------------------------------------


def test_classes_of_labels_are_listed_before_the_first_change(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, EXCLUSIVE, "clip", "other")
    (root / "classes.txt").unlink()
    (root / "labels").mkdir()
    (root / "labels" / "clip.csv").write_text("start,stop,class\n0,10,walk\n20,30,rest\n")
    with label_store(root, FRAMES) as store:
        assert store.label_space.classes == ("rest", "walk")
        edit(store, (0, 0, 100, 0))  # the last segment of `walk` is gone
    assert (root / "classes.txt").read_text() == "rest\nwalk\n"


def test_a_class_is_added_and_labels_and_history_stay(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
        store.add_class('run, "fast"', None, None)
        assert (root / "classes.txt").read_text() == 'walk\nrest\njump\nrun, "fast"\n'
        edit(store, (0, 20, 30, 3))
        step(store, "undo")
        step(store, "undo")
        step(store, "redo")
        step(store, "redo")
    with label_store(root, FRAMES) as store:
        assert names(store) == ["walk", "rest", 'run, "fast"', None]
        step(store, "undo")
        assert names(store) == ["walk", "rest", None, None]
    assert "walk\nrest\njump\n" in copies(root)


def test_a_class_that_was_put_before_others_does_not_shift_the_labels(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
        edit(store, (0, 20, 30, 2))
        step(store, "undo")
    (root / "classes.txt").write_text("new\njump\nwalk\nrest\n")
    for _ in range(2):
        with label_store(root, FRAMES) as store:
            assert names(store)[:2] == ["walk", "rest"]
            step(store, "redo")
            assert names(store) == ["walk", "rest", "jump", None]
            step(store, "undo")


def test_a_class_that_is_gone_sets_the_journal_aside(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
    (root / "classes.txt").write_text("walk\nrest\n")
    with label_store(root, FRAMES) as store:
        assert "classes that are gone from the list" in poll(store).notices[0]
        assert names(store) == ["walk", "rest", None, None]


@pytest.mark.parametrize(
    ("name", "group", "message"),
    [
        ("walk", None, "already"),
        ("", None, "empty"),
        (" a", None, "space"),
        ("a\nb", None, "control character"),
        ("a\ud800", None, "lone surrogate"),
        (5, None, "not text"),
        ("x" * 101, None, "101 characters"),
        ("a", "g", "leave the group out"),
    ],
)
def test_a_class_that_cannot_be_is_refused(root: Path, name: object, group: object, message: str) -> None:
    with label_store(root, FRAMES) as store, pytest.raises(RefusedError, match=message):
        store.add_class(name, group, None)
    assert (root / "classes.txt").read_text() == "walk\nrest\njump\n"


def test_a_class_is_not_added_to_a_list_that_somebody_else_has_changed(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        assert store.label_space == EXCLUSIVE
        (root / "classes.txt").write_text("walk\nrest\n")
        with pytest.raises(RefusedError, match="somebody else"):
            store.add_class("run", None, None)


def test_a_new_data_set_gets_its_classes(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, EXCLUSIVE, "clip", "other")
    (root / "classes.txt").unlink()
    with label_store(root, FRAMES) as store:
        assert names(store) == [None] * 4
        store.add_class("walk", None, None)
        edit(store, (0, 0, 10, 0))
        store.add_class("rest", None, None)
        edit(store, (0, 10, 20, 1))
        assert names(store) == ["walk", "rest", None, None]
    assert (root / "labels" / "clip.csv").read_text() == "start,stop,class\n0,10,walk\n10,20,rest\n"


def test_a_new_data_set_may_choose_classes_that_overlap(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, EXCLUSIVE, "clip", "other")
    (root / "classes.txt").unlink()
    with label_store(root, FRAMES) as store:
        store.add_class("eats", None, True)
        store.add_class("a", "state", None)
        store.add_class("b", "state", None)
        with pytest.raises(RefusedError, match=";"):
            store.add_class("a;b", None, None)
        edit(store, (1, 0, 20, PRESENT), (2, 10, 30, PRESENT))
        found = store.labels(video_of(store, "clip"))
        assert found[[0, 15, 25, 40], :].tolist() == [
            [IGNORE_INDEX, PRESENT, ABSENT],
            [IGNORE_INDEX, ABSENT, PRESENT],
            [IGNORE_INDEX, ABSENT, PRESENT],
            [IGNORE_INDEX] * 3,
        ]
    assert (root / "classes.csv").read_text() == "class,group\neats,eats\na,state\nb,state\n"


def read_back(root: Path, space: LabelSpace, stem: str) -> np.ndarray:
    """Read labels as training does."""
    labels = read_annotation(root / "labels" / f"{stem}.csv", space, num_frames=T)
    return Scored(root / "scored.csv", read_scored(root / "scored.csv", space)).keep(stem, labels, space)


def test_nobody_has_looked_for_a_new_class_that_may_overlap(tmp_path: Path) -> None:
    root = make_dataset(tmp_path, OVERLAPPING, "clip", "other")
    (root / "labels").mkdir()
    for stem in ("clip", "other"):
        (root / "labels" / f"{stem}.csv").write_text("start,stop,class\n0,10,eats\n")
    (root / "scored.csv").write_text("stem,start,stop\nother,0,50\n")
    with label_store(root, FRAMES) as store:
        before = {stem: store.labels(video_of(store, stem)) for stem in ("clip", "other")}
        edit(store, (2, 0, 5, PRESENT))
        store.add_class("grooms", None, None)
        space = store.label_space
        assert (store.labels(video_of(store, "clip"))[:, 3] == IGNORE_INDEX).all()
    assert np.array_equal(read_back(root, space, "other")[:, :3], before["other"])
    assert (read_back(root, space, "other")[:, 3] == IGNORE_INDEX).all()
    found = read_back(root, space, "clip")
    assert (found[:, 3] == IGNORE_INDEX).all()
    assert np.array_equal(found[:, :2], before["clip"][:, :2])
    assert found[:6, 2].tolist() == [PRESENT] * 5 + [ABSENT]


def test_keys_are_those_that_were_chosen_and_then_letters_that_are_free(root: Path) -> None:
    with label_store(root, FRAMES) as store:
        keys = {one["name"]: one["key"] for one in store.describe()["classes"]}
        assert keys == {"walk": "a", "rest": "r", "jump": "j"}
        store.classes.set_keys({"jump": "a"})
        assert {one["name"]: one["key"] for one in store.describe()["classes"]} == {
            "walk": "l",
            "rest": "r",
            "jump": "a",
        }
        for wrong, message in (
            ({"jump": "s"}, "the page itself"),
            ({"jump": "ab"}, "one character"),
            ({"fly": "1"}, "no class 'fly'"),
            ({"rest": "a"}, "several classes"),
            ([], "expected an object"),
        ):
            with pytest.raises(RefusedError, match=message):
                store.classes.set_keys(wrong)
    with label_store(root, FRAMES) as store:
        assert store.classes.keys()["jump"] == "a"


def test_labels_that_are_only_looked_at_are_not_changed(root: Path, tmp_path: Path) -> None:
    (root / "labels" / "classes.txt").write_text("walk\nrest\njump\n")
    places = find_places(root / "labels", root / "videos", state=tmp_path / "state")
    store = LabelStore(places, GivenClocks(FRAMES), places.find_videos())
    assert names(store) == ["walk", None, None, None]
    with pytest.raises(RefusedError, match="only looked at"):
        store.add_class("run", None, None)
    (root / "labels" / "clip.csv").write_text("start,stop,class\n0,40,jump\n")
    assert poll(store).version == 2
    assert names(store) == ["jump"] * 4
    store.close()
    assert not (tmp_path / "state" / "journals").exists()


def test_links_out_of_the_data_set_are_not_read(root: Path, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}.csv"
    outside.write_text("start,stop,class\n0,10,secret\n")
    (root / "labels" / "clip.csv").unlink()
    (root / "labels" / "clip.csv").symlink_to(outside)
    with label_store(root, FRAMES) as store:
        (problem,) = poll(store).problems
        assert "link out of the data set" in problem
        assert "secret" not in problem


def test_a_folder_of_labels_that_leads_out_of_the_data_set_is_not_written(root: Path, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}_outside"
    (root / "labels").rename(outside)
    (outside / "clip.csv").unlink()
    (root / "labels").symlink_to(outside)
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
        wait(lambda: bool(poll(store).notices))
        assert "link out of the data set" in poll(store).notices[0]
    assert not [*outside.iterdir()]


def test_an_outside_change_is_adopted_later_where_the_journal_cannot_be_written(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with label_store(root, FRAMES) as store:
        edit(store, (0, 10, 20, 1))
        wait(lambda: is_saved(store))

        def refuse(file: int) -> None:
            raise OSError(28, "No space left on device")

        (root / "labels" / "clip.csv").write_text("start,stop,class\n0,40,jump\n")
        monkeypatch.setattr(os, "fsync", refuse)
        assert "the disk is full" in poll(store).notices[0]
        assert names(store) == ["walk", "rest", None, None]
        monkeypatch.undo()
        with store.opened(video_of(store, "clip")) as opened:
            opened.reread()
        assert names(store) == ["jump"] * 4


def test_many_documents_are_closed_and_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.studio.labels import store as module

    monkeypatch.setattr(module, "MAX_OPEN", 2)
    stems = [f"clip{index}" for index in range(5)]
    root = make_dataset(tmp_path, EXCLUSIVE, *stems)
    with label_store(root, dict.fromkeys(stems, T)) as store:
        for stem in stems:
            edit(store, (0, 0, 10, 0), stem=stem)
        for stem in stems:
            wait(partial(is_saved, store, stem))
        assert sum(bool(store.version(video_of(store, stem).id)) for stem in stems) <= 2
        for stem in stems:
            edit(store, (0, 10, 20, 1), stem=stem)
            assert store.version(video_of(store, stem).id) == 3
    for stem in stems:
        assert (root / "labels" / f"{stem}.csv").read_text() == "start,stop,class\n0,10,walk\n10,20,rest\n"


def test_classes_that_cannot_be_read_are_named(root: Path) -> None:
    (root / "classes.csv").write_text("class,group\na,b\n")
    with label_store(root, FRAMES) as store:
        assert "both list the classes" in store.describe()["problem"]
        with pytest.raises(InputError, match="both list the classes"):
            store.summary(video_of(store, "clip"))


def test_the_work_of_replaying_grows_linearly_with_the_edits(root: Path) -> None:
    frames = {"clip": 40 * MANY, "other": T}
    num_made = 0

    def prepare(number: int) -> Callable[[], object]:
        nonlocal num_made
        with pytest.MonkeyPatch.context() as patched, label_store(root, frames) as store:
            patched.setattr(os, "fsync", lambda file: None)
            with store.opened(video_of(store, "clip")) as opened:
                for index in range(num_made, number):
                    opened.change("edit", {"name": "test", "paints": [[0, 40 * index, 40 * index + 30, index % 3]]})
        num_made = number
        return replay

    def replay() -> None:
        with label_store(root, frames) as store:
            assert store.summary(video_of(store, "clip")).num_segments == num_made

    assert_grows_linearly(prepare)
