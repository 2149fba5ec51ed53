"""Labelling in a real browser, by keys and by mouse, against a real server, see made_labelling."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_labelling import (
    CLASSES,
    EATING,
    RESTING,
    ROWS,
    WALKING,
    LabelledStudio,
    add_model,
    drag,
    go,
    labelled_studio,
    place_of,
    settle,
    shown_tracks,
    write_dataset,
)
from made_studio import opened, reload, serving, until
from playwright.sync_api import Browser, Page

BEGIN = [(0, 10, RESTING), (10, 20, WALKING), (30, 40, RESTING)]
Runs = list[tuple[int, int, int]]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[LabelledStudio]:
    with labelled_studio(tmp_path_factory.mktemp("exclusive") / "dataset", browser) as studio:
        yield studio


def given(labelled: LabelledStudio, page: Page) -> Runs:
    """The given labels, which are the same on the page and on the server once all edits are confirmed."""
    settle(page)
    (shown,), (saved,) = shown_tracks(page), labelled.tracks(page)
    assert shown == saved
    return saved


def test_a_recording_has_all_frames_from_start_to_end_although_playing_skips_some(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        go(page, 42)
        page.keyboard.press("t")  # eating: e is a key of the page, a is of walking
        assert page.get_by_role("button", name="eating").get_attribute("aria-pressed") == "true"
        for frame in (43, 47, 52):
            go(page, frame)
        page.keyboard.press("t")
        assert given(labelled, page) == [*BEGIN, (42, 53, EATING)]
        page.keyboard.press("Control+z")
        assert given(labelled, page) == BEGIN  # one recording is one step of undo


def test_another_class_ends_a_recording_before_the_frame_where_it_begins(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        go(page, 40)
        page.keyboard.press("t")
        go(page, 45)
        page.keyboard.press("a")
        go(page, 49)
        page.keyboard.press("a")
        assert given(labelled, page) == [*BEGIN, (40, 45, EATING), (45, 50, WALKING)]


def test_escape_gives_up_a_recording(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        page.keyboard.press("t")
        go(page, 30)
        page.keyboard.press("Escape")
        go(page, 35)
        assert page.evaluate("studio.recorder.isRecording") is False
        assert given(labelled, page) == BEGIN


def test_a_held_key_labels_the_frames_that_pass_and_the_choice_is_remembered(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        page.get_by_label("held").check()
        go(page, 45)
        page.keyboard.down("t")
        go(page, 47)
        go(page, 50)
        page.keyboard.up("t")
        go(page, 55)
        assert given(labelled, page) == [*BEGIN, (45, 51, EATING)]
        reload(page)
        until(page, "window.studio?.recorder !== undefined")
        assert page.get_by_label("held").is_checked()


def test_a_class_button_that_is_held_labels_the_frames_that_pass(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        page.get_by_label("held").check()
        go(page, 45)
        page.get_by_role("button", name="eating").hover()
        page.mouse.down()
        go(page, 48)
        page.mouse.up()
        go(page, 55)
        assert given(labelled, page) == [*BEGIN, (45, 49, EATING)]


def test_a_recording_that_is_on_when_another_video_is_opened_is_kept(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        video = page.evaluate("studio.video.id")
        go(page, 50)
        page.keyboard.press("t")
        go(page, 55)
        page.locator("#videos [role=option]").nth(39).click()
        until(page, f"studio.labels !== null && studio.video.id !== '{video}'")
        page.evaluate(f"studio.openVideo('{video}')")
        until(page, f"studio.labels?.id === '{video}'")
        assert given(labelled, page) == [*BEGIN, (50, 56, EATING)]


def test_dragging_selects_frames_and_a_click_on_a_class_labels_them(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        drag(page, place_of(page, 44.5), place_of(page, 50.5))
        assert page.evaluate("[studio.selection.start, studio.selection.stop]") == [44, 51]
        page.get_by_role("button", name="walking").click()
        assert given(labelled, page) == [*BEGIN, (44, 51, WALKING)]


def test_dragging_a_boundary_moves_it_and_snaps_to_the_playhead(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        page.evaluate("studio.setFrame(15, 'jump')")
        drag(page, place_of(page, 10), place_of(page, 14.8))
        assert given(labelled, page) == [(0, 15, RESTING), (15, 20, WALKING), (30, 40, RESTING)]
        drag(page, place_of(page, 40), place_of(page, 36))
        assert given(labelled, page)[-1] == (30, 36, RESTING)


def test_a_selection_ends_with_its_class_or_when_a_boundary_is_dragged(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        drag(page, place_of(page, 44.5), place_of(page, 50.5))
        page.get_by_role("button", name="walking").click()
        assert page.evaluate("studio.selection") is None
        drag(page, place_of(page, 12.5), place_of(page, 17.5))
        drag(page, place_of(page, 40), place_of(page, 36))
        assert page.evaluate("studio.selection") is None
        page.get_by_role("button", name="eating").click()  # it records, and relabels nothing
        page.keyboard.press("Escape")
        assert given(labelled, page) == [*BEGIN[:2], (30, 36, RESTING), (44, 51, WALKING)]


def test_a_drag_from_the_unlabelled_side_of_a_boundary_selects(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        x, y = place_of(page, 20)
        drag(page, (x + 4, y), place_of(page, 25.5))
        assert page.evaluate("[studio.selection.start, studio.selection.stop]") == [20, 26]
        drag(page, (x - 4, y), place_of(page, 18))
        assert given(labelled, page) == [BEGIN[0], (10, 18, WALKING), BEGIN[2]]


def test_escape_while_dragging_a_boundary_leaves_it(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        x, y = place_of(page, 10)
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 60, y)
        page.keyboard.press("Escape")
        page.mouse.up()
        assert given(labelled, page) == BEGIN


def test_undo_and_redo_work_across_a_reload(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        drag(page, place_of(page, 44.5), place_of(page, 50.5))
        page.keyboard.press("t")
        settle(page)
        reload(page)
        until(page, "window.studio?.labels?.canUndo")
        page.get_by_role("button", name="Undo", exact=True).click()
        assert given(labelled, page) == BEGIN
        page.keyboard.press("Control+y")
        assert given(labelled, page) == [*BEGIN, (44, 51, EATING)]
        page.keyboard.press("Control+z")
        page.keyboard.press("Control+Shift+Z")
        assert given(labelled, page) == [*BEGIN, (44, 51, EATING)]


# The keys that are pressed, the frame of the playhead before, and what is given afterwards.
COMMANDS: dict[str, tuple[int, list[str], Runs]] = {
    "split": (5, ["s"], [(0, 5, RESTING), (5, 10, RESTING), *BEGIN[1:]]),
    "merge a cut": (5, ["s", "w", "g"], BEGIN),
    "merge with the next": (5, ["g"], [(0, 20, RESTING), (30, 40, RESTING)]),
    "merge with the previous": (15, ["Shift+G"], [(0, 20, WALKING), (30, 40, RESTING)]),
    "merge with unlabelled frames": (15, ["g"], [(0, 10, RESTING), (10, 30, WALKING), (30, 40, RESTING)]),
    "erase the segment": (15, ["Delete"], [BEGIN[0], BEGIN[2]]),
    "erase the selection": (15, ["q", "Backspace"], [BEGIN[0], BEGIN[2]]),
    "relabel the segment": (15, ["q", "t"], [BEGIN[0], (10, 20, EATING), BEGIN[2]]),
    "select to the playhead": (42, ["i", *["ArrowRight"] * 3, "o", "t"], [*BEGIN, (42, 46, EATING)]),
    "boundary here": (12, ["b"], [(0, 12, RESTING), (12, 20, WALKING), (30, 40, RESTING)]),
    "extend over unlabelled frames": (22, ["b"], [(0, 10, RESTING), (10, 22, WALKING), (30, 40, RESTING)]),
    "next boundary": (12, ["e", "e", "b", "Delete"], BEGIN[:2]),
    "accept": (55, ["y"], [*BEGIN, (50, 60, EATING)]),
    "accept in the selection": (22, ["q", "y"], [*BEGIN[:2], (20, 25, RESTING), (25, 30, EATING), (30, 40, RESTING)]),
    "next difference": (0, ["u", "q", "y"], [(0, 20, RESTING), (30, 40, RESTING)]),
    "previous difference": (59, ["Shift+U", "Delete"], BEGIN[:2]),
    "next doubt": (0, ["n", "t", "t"], [*BEGIN, (45, 46, EATING)]),
    "previous doubt": (59, ["Shift+N", "t", "t"], [*BEGIN, (45, 46, EATING)]),
    "first and last frame": (20, ["Home", "Delete", "End", "t", "t"], [*BEGIN[1:], (59, 60, EATING)]),
}
MODEL = [(0, 25, RESTING), (25, 50, EATING), (50, 60, EATING)]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_works_by_its_keys(labelled: LabelledStudio, name: str) -> None:
    frame, keys, expected = COMMANDS[name]
    with labelled.page() as page:
        add_model(page, [MODEL], doubts=[(45, 48)])
        go(page, frame)
        for key in keys:
            page.keyboard.press(key)
            page.wait_for_timeout(30)
        assert given(labelled, page) == expected


def test_filling_asks_first_and_fills_only_unlabelled_frames(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        page.keyboard.press("f")
        dialog = page.get_by_role("dialog")
        assert "30 frames" in dialog.inner_text()
        dialog.get_by_role("button", name="Cancel").click()
        assert given(labelled, page) == BEGIN
        drag(page, place_of(page, 15.5), place_of(page, 44.5))
        page.keyboard.press("f")
        page.get_by_role("dialog").get_by_role("button", name="eating").click()
        assert given(labelled, page) == [*BEGIN[:2], (20, 30, EATING), BEGIN[2], (40, 45, EATING)]


def test_the_buttons_of_undo_and_redo_say_what_they_do_and_whether_they_can(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        undo, redo = (page.locator(f"[data-command={name}]") for name in ("undo", "redo"))
        until(page, "document.querySelector('[data-command=undo]').disabled")
        page.keyboard.press("Delete")
        settle(page)
        until(page, "document.querySelector('[data-command=undo]').title === 'Undo: erase'")
        assert redo.is_disabled()
        undo.click()
        settle(page)
        until(page, "document.querySelector('[data-command=redo]').title === 'Redo: erase'")
        assert undo.is_disabled()
        assert given(labelled, page) == BEGIN


def test_marks_and_notes_are_added_shown_edited_and_deleted(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        go(page, 12)
        page.keyboard.press("m")
        go(page, 33)
        page.keyboard.press("Shift+M")
        page.keyboard.type("<b>looks</b> up, then s and Delete")  # no key fires in a field
        page.keyboard.press("Tab")
        page.keyboard.type("<img src=x onerror=alert(1)>")
        page.keyboard.press("Enter")
        settle(page)
        marks = page.locator("#marks li")
        assert marks.count() == 2
        assert "<img src=x onerror=alert(1)>" in marks.nth(1).inner_text()
        marks.nth(0).get_by_role("button", name="Go to").click()
        assert page.evaluate("studio.frame") == 12
        marks.nth(0).get_by_role("button", name="Edit").click()
        page.get_by_label("Name of the mark").fill("jump")
        page.get_by_role("button", name="Save").click()
        settle(page)
        assert "jump" in marks.nth(0).inner_text()
        marks.nth(1).get_by_role("button", name=re.compile("^Delete")).click()
        settle(page)
        saved = labelled.studio.get(f"/api/videos/{page.evaluate('studio.video.id')}/labels").json
        assert [(mark["frame"], mark["name"]) for mark in saved["marks"]] == [(12, "jump")]
        assert given(labelled, page) == BEGIN


def test_the_keys_are_those_of_the_timeline_once_a_video_is_chosen(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        video = page.evaluate("studio.video.id")
        page.locator("#videos [role=option]").nth(38).click()
        until(page, f"studio.labels !== null && studio.video.id !== '{video}'")
        page.keyboard.press("End")
        assert page.evaluate("studio.frame") == 59
        page.locator("#videos ul").focus()
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Enter")
        until(page, "studio.labels !== null && studio.video.stem === 'clip_37'")
        page.keyboard.press("End")
        assert page.evaluate("studio.frame") == 59


def test_an_edit_in_one_page_appears_in_another_which_is_told(labelled: LabelledStudio) -> None:
    with labelled.page() as first, labelled.page_of(first.evaluate("studio.video.stem")) as second:
        until(second, "document.querySelector('#notices').innerText.includes('another page')")
        drag(first, place_of(first, 44.5), place_of(first, 50.5))
        first.keyboard.press("t")
        until(second, "studio.labels.tracks[0].starts.length === 4")
        assert given(labelled, second) == [*BEGIN, (44, 51, EATING)]


def test_an_edit_of_labels_that_another_page_has_changed_is_refused_in_words(
    labelled: LabelledStudio,
) -> None:
    with labelled.page(allowed="409|ERR_FAILED") as page:
        video = page.evaluate("studio.video.id")
        page.route("**/api/status*", lambda route: route.abort())  # so that the page does not see it first
        version = labelled.studio.get(f"/api/videos/{video}/labels").json["version"]
        change = {"version": version, "name": "other", "paints": [[0, 50, 60, EATING]]}
        assert labelled.studio.post(f"/api/videos/{video}/edits", change).status == 200
        go(page, 5)
        page.keyboard.press("Delete")
        until(page, "document.querySelector('#notices').innerText.includes('could not be made')")
        assert "erase" in page.locator("#notices").inner_text()
        assert given(labelled, page) == [*BEGIN, (50, 60, EATING)]


def test_the_page_says_that_it_has_taken_over_a_change_of_the_file(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        page.keyboard.press("Delete")
        path = labelled.place / "labels" / f"{page.evaluate('studio.video.stem')}.csv"
        until(page, "document.querySelector('#saved').innerText === 'All changes saved'")
        while "resting" in path.read_text().splitlines()[1]:
            page.wait_for_timeout(20)
        page.wait_for_timeout(500)
        path.write_text("start,stop,class\n0,60,eating\n")
        until(page, "document.querySelector('#notices').innerText.includes('changed outside the studio')")
        assert given(labelled, page) == [(0, 60, EATING)]
        page.keyboard.press("Control+z")
        assert given(labelled, page) == BEGIN[1:]
        page.wait_for_timeout(1500)  # the page asks the server again: its own undo is no change of somebody else
        assert "outside" not in page.locator("#notices").inner_text()


def test_both_versions_are_shown_where_the_file_was_changed_meanwhile(labelled: LabelledStudio) -> None:
    with labelled.page(allowed="ERR_FAILED") as page:
        page.route("**/api/status*", lambda route: route.abort())  # so that the server does not look at the file first
        page.wait_for_timeout(300)
        path = labelled.place / "labels" / f"{page.evaluate('studio.video.stem')}.csv"
        path.write_text("start,stop,class\n0,60,eating\n")
        go(page, 5)
        page.keyboard.press("Delete")
        settle(page)
        page.unroute("**/api/status*")
        until(page, "studio.labels.conflict !== null")
        assert page.evaluate("studio.timeline.lanes.map((lane) => lane.name)") == ["given", "theirs"]
        page.get_by_role("button", name="Take theirs").click()
        until(page, "studio.labels.conflict === null")
        assert given(labelled, page) == [(0, 60, EATING)]


RANDOM_EDITS = """([seed, count]) => {
  let state = seed;
  const random = (below) => { state = (state * 16807) % 2147483647; return state % below; };
  const { labels, info } = studio, numTracks = labels.tracks.length, T = labels.numFrames;
  const values = info.exclusive ? [null, 0, 1, 2] : [null, 0, 1];
  for (let n = 0; n < count; n++) {
    const track = random(numTracks), start = random(T), stop = start + 1 + random(T - start);
    const kind = random(8), frame = 1 + random(T - 1);
    if (kind < 5) labels.edit("paint", { paints: [[track, start, stop, values[random(values.length)]]] });
    else if (kind === 5) labels.edit("cut", { add_cuts: [[track, frame]] });
    else if (kind === 6) labels.edit("join", { remove_cuts: [[track, frame]] });
    else labels.undo();
  }
}"""


@pytest.mark.parametrize("seed", [3, 14, 159])
def test_the_page_shows_what_the_server_will_have_after_any_edits(labelled: LabelledStudio, seed: int) -> None:
    with labelled.page() as page:
        page.evaluate(RANDOM_EDITS.replace("else labels.undo();", ""), [seed, 40])
        at_once = shown_tracks(page)  # before the server has answered
        assert page.evaluate("studio.labels.pending") > 0
        assert given(labelled, page) == at_once[0]
        page.evaluate(RANDOM_EDITS, [seed + 1, 40])
        given(labelled, page)


def test_edits_that_the_server_does_not_take_are_told_and_wait(labelled: LabelledStudio) -> None:
    with labelled.page(allowed=".") as page:
        page.route("**/edits", lambda route: route.abort())
        go(page, 5)
        page.keyboard.press("Delete")
        until(page, "document.querySelector('#saved').textContent.startsWith('Not saved')")
        assert page.evaluate("studio.labels.pending") == 1
        page.unroute("**/edits")
        until(page, "document.querySelector('#saved').textContent === 'All changes saved'")
        assert given(labelled, page) == BEGIN[1:]


def test_a_page_of_an_earlier_studio_asks_once_to_be_loaded_again(tmp_path: Path, browser: Browser) -> None:
    write_dataset(tmp_path / "dataset", ["clip"], classes=CLASSES, rows=ROWS)
    with serving(tmp_path / "dataset") as studio, opened(browser, studio.address, allowed=".") as page:
        until(page, "studio.labels !== null")
        studio.kill()
        with serving(tmp_path / "dataset", "--port", str(studio.port)) as again:
            until(page, "document.querySelector('#notices .error') === null", seconds=120)
            go(page, 5)
            page.keyboard.press("Delete")
            until(page, "document.querySelector('#saved').textContent.startsWith('Not saved')")
            go(page, 15)
            page.keyboard.press("Delete")
            until(page, "document.querySelectorAll('#notices p').length === 1")
            notice = page.locator("#notices p")
            assert "The studio was started again: reload this page." in notice.inner_text()
            page.on("dialog", lambda dialog: dialog.accept())
            notice.get_by_role("button", name="Reload").click()
            until(page, "window.studio?.labels && studio.labels.pending === 0")
            page.keyboard.press("Delete")
            settle(page)
            video = page.evaluate("studio.video.id")
            assert again.get(f"/api/videos/{video}/labels").json["tracks"][0]["starts"] == [10, 30]


def test_words_that_are_no_error_go_with_the_next_command_and_move_nothing(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        height = page.locator("#stage").bounding_box()
        go(page, 25)
        page.keyboard.press("Delete")
        assert "no label already" in page.locator("#notices").inner_text()
        assert page.locator("#stage").bounding_box() == height
        page.keyboard.press("ArrowRight")
        assert page.locator("#notices p").count() == 0


def test_a_video_is_labelled_by_the_keyboard_alone(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        page.keyboard.press("End")
        for _ in range(10):
            page.keyboard.press("ArrowLeft")
        until(page, "studio.frame === 49")
        page.keyboard.press("t")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        until(page, "studio.frame === 52")
        page.keyboard.press("t")
        assert given(labelled, page) == [*BEGIN, (49, 53, EATING)]
        page.keyboard.press("Home")
        for _ in range(22):
            page.keyboard.press("ArrowRight")
        until(page, "studio.frame === 22")
        page.keyboard.press("q")
        page.keyboard.press("a")
        page.keyboard.press("Escape")
        assert given(labelled, page) == [BEGIN[0], (10, 30, WALKING), BEGIN[2], (49, 53, EATING)]


def test_a_recording_ends_with_the_video(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        page.evaluate("studio.setFrame(50, 'jump')")
        page.keyboard.press("t")
        page.keyboard.press(" ")
        until(page, "studio.frame > 50 && !studio.playing")
        assert page.evaluate("studio.recorder.isRecording") is False
        assert given(labelled, page) == [*BEGIN, (50, 60, EATING)]


def test_what_plays_while_a_class_is_on_gets_it_to_the_frame(labelled: LabelledStudio) -> None:
    with labelled.page() as page:
        page.evaluate("studio.setFrame(40, 'jump')")
        page.keyboard.press("t")
        page.keyboard.press(" ")
        until(page, "studio.frame > 45")
        page.keyboard.press(" ")
        until(page, "!studio.playing")
        page.wait_for_timeout(300)
        page.keyboard.press("t")
        last = page.evaluate("studio.frame")
        assert given(labelled, page) == [*BEGIN, (40, last + 1, EATING)]
