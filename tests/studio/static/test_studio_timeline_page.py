"""The timeline, the list of videos and the keys in a real browser, against a real server, see made_labelling."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_labelling import (
    NUM_FRAMES,
    LabelledStudio,
    add_model,
    drag,
    go,
    labelled_studio,
    place_of,
    settle,
    shown_tracks,
    write_dataset,
    write_video,
)
from made_studio import opened, serving, until
from playwright.sync_api import Browser, Page

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.write import write_frames

RESTING, STANDING, CALLS = 0, 1, 2
PRESENT, ABSENT = 1, 0
COMMANDS = "import('/static/commands.js').then(({ COMMANDS }) => COMMANDS)"
PART = "document.activeElement.closest('#videos, #player, #timeline, #classes')?.id ?? ''"


@pytest.fixture(scope="module")
def exclusive(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[LabelledStudio]:
    with labelled_studio(tmp_path_factory.mktemp("exclusive") / "dataset", browser) as studio:
        yield studio


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[LabelledStudio]:
    with labelled_studio(tmp_path_factory.mktemp("overlapping") / "dataset", browser, overlapping=True) as studio:
        yield studio


def given(labelled: LabelledStudio, page: Page) -> list[list[tuple[int, int, int]]]:
    """The given labels, which are the same on the page and on the server once all edits are confirmed."""
    settle(page)
    shown, saved = shown_tracks(page), labelled.tracks(page)
    assert shown == saved
    return saved


def pixel(page: Page, x: float, y: float) -> list[int]:
    """The colour [red, green, blue] of the timeline's canvas at a place of the page."""
    page.evaluate("studio.timeline.draw()")
    color: list[int] = page.evaluate(
        """([x, y]) => {
          const { canvas, context, ratio } = studio.timeline, box = canvas.getBoundingClientRect();
          return [...context.getImageData((x - box.left) * ratio, (y - box.top) * ratio, 1, 1).data].slice(0, 3);
        }""",
        [x, y],
    )
    return color


def color_of(page: Page, class_index: int) -> list[int]:
    color = page.evaluate(f"studio.info.classes[{class_index}].color")
    return [int(color[at : at + 2], 16) for at in (1, 3, 5)]


def test_lanes_have_the_colours_of_their_classes_and_unlabelled_frames_none(exclusive: LabelledStudio) -> None:
    with exclusive.page() as page:
        go(page, 59)
        assert pixel(page, *place_of(page, 9)) == color_of(page, 0)
        assert pixel(page, *place_of(page, 19)) == color_of(page, 1)
        x, y = place_of(page, 25)
        hatched = {tuple(pixel(page, x + shift, y)) for shift in range(8)}
        assert len(hatched) > 1
        assert not hatched & {tuple(color_of(page, index)) for index in range(3)}


def test_zooming_keeps_what_is_under_the_pointer_and_shows_single_frames(exclusive: LabelledStudio) -> None:
    with exclusive.page() as page:
        x, y = map(round, place_of(page, 20.5))
        offset = x - place_of(page, 0)[0]
        position = page.evaluate(f"studio.timeline.view.position({offset})")
        page.mouse.move(x, y)
        page.keyboard.down("Control")
        for _ in range(12):
            page.mouse.wheel(0, -200)
        page.keyboard.up("Control")
        until(page, "studio.timeline.view.scale >= 20")
        assert place_of(page, position)[0] == pytest.approx(x, abs=0.01)
        start = page.evaluate("studio.timeline.view.start")
        page.mouse.wheel(0, 100)
        until(page, f"studio.timeline.view.start > {start}")
        page.keyboard.press("z")
        until(page, "studio.timeline.view.isWhole")


def test_a_click_sets_the_frame_and_the_ruler_scrubs(exclusive: LabelledStudio) -> None:
    with exclusive.page() as page:
        page.mouse.click(*place_of(page, 33.5))
        assert page.evaluate("studio.frame") == 33
        x, y = place_of(page, 10.5)
        ruler = y - 22
        page.mouse.move(x, ruler)
        page.mouse.down()
        assert page.evaluate("studio.frame") == 10
        page.mouse.move(place_of(page, 48.5)[0], ruler)
        assert page.evaluate("studio.frame") == 48
        page.mouse.up()


def test_the_name_of_a_lane_is_whole_under_the_pointer(exclusive: LabelledStudio) -> None:
    with exclusive.page() as page:
        add_model(page, [[(0, 60, 0)]], name="a labeller of a long name, 29 Nov 01:12")
        until(page, "studio.timeline.lanes.length > 1")
        x, y = place_of(page, 0)
        page.mouse.move(x - 60, y + 24)
        assert page.locator("#timeline canvas").get_attribute("title") == "a labeller of a long name, 29 Nov 01:12"


def test_a_double_click_selects_the_segment(exclusive: LabelledStudio) -> None:
    with exclusive.page() as page:
        page.mouse.dblclick(*place_of(page, 14.5))
        assert page.evaluate("[studio.selection.start, studio.selection.stop]") == [10, 20]


def test_what_is_at_the_playhead_is_told_in_words(exclusive: LabelledStudio) -> None:
    with exclusive.page() as page:
        add_model(page, [[(0, 60, 1)]], name="new model")
        page.evaluate("studio.setFrame(5, 'jump')")
        now = page.locator("#timeline-now")
        until(page, "document.querySelector('#timeline-now').textContent.includes('frame 5')")
        assert re.fullmatch(r"frame 5, 0:00\.20 · given resting · new model walking \d+%", now.inner_text())
        rows = page.locator("#timeline table tbody tr")
        assert [row.inner_text().split() for row in rows.all()][:2] == [
            ["resting", "0", "9", "0:00.00", "0:00.40"],
            ["walking", "10", "19", "0:00.40", "0:00.80"],
        ]
        page.evaluate("studio.setFrame(25, 'jump')")
        until(page, "document.querySelector('#timeline-now').textContent.includes('given unlabelled')")


def test_overlapping_classes_have_lanes_of_their_own(overlapping: LabelledStudio) -> None:
    with overlapping.page() as page:
        lanes = page.evaluate("studio.timeline.lanes.map((lane) => lane.name)")
        assert lanes == ["resting", "standing", "calls"]
        page.mouse.click(*place_of(page, 25.5, CALLS))
        assert page.evaluate("[studio.frame, studio.track]") == [25, CALLS]
        page.keyboard.press("ArrowUp")
        assert page.evaluate("studio.track") == STANDING
        drag(page, place_of(page, 44.5, CALLS), place_of(page, 50.5, CALLS))
        page.get_by_role("button", name="calls").click()
        calls = given(overlapping, page)[CALLS]
        assert calls == [(0, 10, ABSENT), (10, 30, PRESENT), (30, 44, ABSENT), (44, 51, PRESENT), (51, 60, ABSENT)]


def test_what_is_unknown_is_filled_by_lane_or_everywhere(overlapping: LabelledStudio) -> None:
    with overlapping.page() as page:
        for key in ("q", "Delete", "f"):
            page.keyboard.press(key)
        dialog = page.get_by_role("dialog")
        assert "“resting” is unknown in 20 frames of the selection" in dialog.inner_text()
        dialog.get_by_role("button", name="“resting” is not there in these frames").click()
        assert given(overlapping, page)[RESTING][0] == (0, 60, ABSENT)
        for key in ("q", "Delete", "ArrowDown", "q", "f"):
            page.keyboard.press(key)
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        page.keyboard.press("f")
        assert "“standing” is known in all frames of the video" in page.get_by_role("dialog").inner_text()
        assert page.get_by_role("button", name="these frames").count() == 0
        page.get_by_role("button", name="Wherever a class is unknown, it is not there").click()
        assert given(overlapping, page)[RESTING] == [(0, 60, ABSENT)]


def test_a_class_that_becomes_present_makes_the_others_of_its_group_absent(overlapping: LabelledStudio) -> None:
    with overlapping.page() as page:
        drag(page, place_of(page, 10.5, STANDING), place_of(page, 14.5, STANDING))
        page.get_by_role("button", name="standing").click()
        tracks = given(overlapping, page)
        assert tracks[RESTING] == [(0, 10, PRESENT), (10, 15, ABSENT), (15, 20, PRESENT), (20, 60, ABSENT)]
        assert (10, 15, PRESENT) in tracks[STANDING]


def test_not_there_and_unknown_are_different(overlapping: LabelledStudio) -> None:
    with overlapping.page() as page:
        page.mouse.click(*place_of(page, 25.5, CALLS))
        page.keyboard.press("Delete")
        assert given(overlapping, page)[CALLS] == [(0, 10, ABSENT), (30, 60, ABSENT)]
        assert page.get_by_role("button", name="calls, unknown").count() == 1
        page.keyboard.press("x")
        assert given(overlapping, page)[CALLS] == [(0, 60, ABSENT)]
        assert page.get_by_role("button", name="calls, not there").count() == 1


def test_the_model_is_accepted_in_one_lane_or_in_all(overlapping: LabelledStudio) -> None:
    model = [[(0, 60, ABSENT)], [(0, 30, PRESENT), (30, 60, ABSENT)], [(0, 60, PRESENT)]]
    with overlapping.page() as page:
        add_model(page, model)
        page.mouse.click(*place_of(page, 5.5, CALLS))
        page.keyboard.press("y")
        assert given(overlapping, page)[CALLS] == [(0, 60, PRESENT)]
        page.keyboard.press("Shift+Y")
        assert given(overlapping, page)[:2] == [[(0, 60, ABSENT)], [(0, 40, PRESENT), (40, 60, ABSENT)]]


def test_the_list_searches_sorts_and_opens_by_keyboard(exclusive: LabelledStudio) -> None:
    with exclusive.page() as page:
        until(page, "document.querySelector('#videos .counts').textContent === '0 of 60 videos done'")
        page.get_by_label("Search the videos").fill("CLIP_03")
        options = page.locator("#videos [role=option]")
        assert options.count() == 1
        page.get_by_label("Search the videos").fill("clip_3")
        assert options.count() == 10
        page.keyboard.press("ArrowDown")  # from the search into the list
        page.keyboard.press("Home")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        until(page, "studio.video.stem === 'clip_31' && studio.labels !== null")
        assert page.evaluate("location.hash.slice(1) === studio.video.id")
        assert options.nth(1).get_attribute("aria-selected") == "true"
        page.get_by_label("Sort by").select_option("labelled")
        assert options.count() == 10


def test_the_list_follows_what_is_labelled(exclusive: LabelledStudio) -> None:
    with exclusive.page() as page:
        stem = page.evaluate("studio.video.stem")
        assert page.get_by_role("option", name=f"{stem}.mp4, 0:02, 50% labelled").count() == 1
        page.keyboard.press("f")
        page.get_by_role("dialog").get_by_role("button", name="eating").click()
        option = page.get_by_role("option", name=f"{stem}.mp4, 0:02, done")
        option.wait_for()
        until(page, "document.querySelector('#videos .counts').textContent.startsWith('1 of 60')")


def test_names_from_files_are_text(tmp_path: Path, browser: Browser) -> None:
    script, image = "<script>alert(1)</script>", "<img src=x onerror=alert(2)>"
    place = tmp_path / "dataset"
    write_dataset(
        place, [image.replace("/", "")], classes=f"{script}\nother\n", rows=f"start,stop,class\n0,9,{script}\n"
    )
    (place / "videos" / "broken.mp4").write_bytes(b"<b>no video</b>")
    with serving(place) as studio, opened(browser, studio.address) as page:
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        until(page, "studio.labels !== null")
        page.locator("#videos .problems").wait_for()
        assert script in page.locator("#classes").inner_text()
        assert image in page.locator("#videos").inner_text()
        page.keyboard.press("q")
        page.keyboard.press("?")
        assert script in page.get_by_role("dialog").inner_text()
        page.keyboard.press("Escape")
        page.keyboard.press("f")
        page.wait_for_timeout(300)
        assert page.locator("main img[onerror], main script, dialog script").count() == 0
        assert dialogs == []


def test_the_sheet_names_every_command_and_class_and_keeps_the_focus(overlapping: LabelledStudio) -> None:
    with overlapping.page() as page:
        names = page.evaluate(f"{COMMANDS}.then((all) => all.map(({{ name }}) => name))")
        page.keyboard.press("?")
        sheet = page.get_by_role("dialog", name="Keys")
        text = sheet.inner_text()
        assert [name for name in [*names, "resting", "standing", "calls"] if name not in text] == []
        for _ in range(5):
            page.keyboard.press("Tab")
            assert page.evaluate(
                "document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
            )
        page.keyboard.press("Escape")
        assert sheet.count() == 0


def test_no_key_has_two_meanings(exclusive: LabelledStudio, overlapping: LabelledStudio) -> None:
    for labelled in (exclusive, overlapping):
        with labelled.page() as page:
            keys = page.evaluate(
                "import('/static/commands.js').then(({ COMMANDS }) => COMMANDS.flatMap(({ keys }) => keys))"
            )
            keys += page.evaluate("studio.info.classes.map(({ key }) => key)")
            assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(("text", "frame"), [("33", 33), ("0:01.2", 30), ("9999", 59), ("soon", None)])
def test_a_frame_is_reached_by_its_number_or_time(exclusive: LabelledStudio, text: str, frame: int | None) -> None:
    with exclusive.page() as page:
        page.keyboard.press("Shift+J")
        page.keyboard.type(text)
        page.keyboard.press("Enter")
        if frame is None:
            assert "“soon” is neither" in page.get_by_role("dialog").inner_text()
        else:
            assert page.get_by_role("dialog").count() == 0
            assert page.evaluate("studio.frame") == frame


def test_views_and_videos_are_reached_by_keys(exclusive: LabelledStudio) -> None:
    with exclusive.page_of("clip_50") as page:
        for key, view in (("Shift+T", "train"), ("Shift+R", "results"), ("Shift+L", "watch")):
            page.keyboard.press(key)
            assert page.evaluate("studio.view") == view
        for key, stem in (("Shift+PageDown", "clip_51"), ("Shift+PageUp", "clip_50")):
            page.keyboard.press(key)
            until(page, f"studio.video.stem === '{stem}'")


def test_every_control_has_a_name(overlapping: LabelledStudio) -> None:
    roles = {"button", "textbox", "searchbox", "combobox", "checkbox", "radio", "listbox", "option", "tab", "dialog"}
    with overlapping.page() as page:
        page.keyboard.press("m")
        settle(page)
        for key in (None, "?", "f", "Shift+M"):
            if key:
                page.keyboard.press("Escape")
                page.keyboard.press(key)
            nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
            named: list[tuple[Any, Any]] = [
                (node["role"]["value"], node.get("name", {}).get("value")) for node in nodes if not node["ignored"]
            ]
            assert {role for role, _ in named} >= {"button"}
            assert [role for role, name in named if role in roles and not name] == []


def test_the_focus_goes_from_the_list_over_the_timeline_to_the_classes(exclusive: LabelledStudio) -> None:
    with exclusive.page() as page:
        page.get_by_label("Search the videos").focus()
        order = []
        for _ in range(60):
            page.keyboard.press("Tab")
            order.append(page.evaluate(PART))
        seen = [name for index, name in enumerate(order) if name and name not in order[:index]]
        assert [name for name in seen if name != "player"] == ["videos", "timeline", "classes"]


def test_nothing_can_be_changed_in_a_studio_that_only_shows(tmp_path: Path, browser: Browser) -> None:
    place = tmp_path / "dataset"
    write_dataset(place, ["clip"], classes="resting\n", rows="start,stop,class\n0,10,resting\n")
    write_video(place / "videos" / "other.mp4")
    with serving(place / "labels", "--videos", place / "videos") as studio, opened(browser, studio.address) as page:
        until(page, "studio.labels !== null")
        page.keyboard.press("Delete")
        page.keyboard.press("r")
        assert page.get_by_role("button", name="Add a class").count() == 0
        assert page.locator("[data-command=erase]").count() == 0
        assert page.locator("#saved").inner_text() == "Read-only"
        assert shown_tracks(page) == [[(0, 10, 0)]]


def test_label_files_of_a_model_are_shown_as_labels_of_a_model(tmp_path: Path, browser: Browser) -> None:
    place, folder = tmp_path / "dataset", tmp_path / "predicted"
    write_dataset(place, ["clip", "other"], classes="resting\n", rows="start,stop,class\n0,60,resting\n")
    labels, space = np.zeros(NUM_FRAMES, np.int64), LabelSpace(("resting", "walking"))
    folder.mkdir()
    (folder / "clip.csv").write_text("start,stop,class\n0,60,resting\n")
    write_frames(
        folder / "other.frames.csv",
        labels,
        probabilities=np.full(NUM_FRAMES, 0.5),
        pts_seconds=np.arange(NUM_FRAMES) / 25,
        label_space=space,
    )
    with serving(folder, "--videos", place / "videos") as studio:
        for stem, owner in (("clip", "given"), ("other", "model")):
            video_id = studio.ids()[stem]
            with opened(browser, f"{studio.address}#{video_id}") as page:
                until(page, f"document.querySelector('#timeline-now').innerText.endsWith('· {owner} resting')")
                assert page.evaluate("studio.timeline.lanes.map(({ name }) => name)") == [owner]
                until(page, "document.querySelector('#videos .counts').innerText === '2 of 2 videos labelled'")
        assert studio.get("/api/results").json["given"]["name"] == "label files"
        assert "data set" in studio.get("/api/training").json["problem"]


def test_names_of_lanes_have_the_room_that_they_need(tmp_path: Path, browser: Browser) -> None:
    long = ["the_left_mouse_is_eating", "the_left_mouse_is_sleeping"]
    groups = "class,group\n" + "".join(f"{name},{name}\n" for name in long)
    write_dataset(tmp_path / "dataset", ["clip"], classes=groups, rows="start,stop,class\n", overlapping=True)
    with serving(tmp_path / "dataset") as studio, opened(browser, studio.address) as page:
        until(page, "studio.timeline.drawn > 0")
        widths = page.evaluate(
            """(names) => {
              const { context } = studio.timeline;
              context.font = "600 12px system-ui, sans-serif";
              return names.map((name) => context.measureText(name).width);
            }""",
            long,
        )
        assert page.evaluate("studio.timeline.left") >= max(widths) + 20


@pytest.mark.parametrize("width", [700, 1024, 1400])
def test_no_part_of_the_label_view_is_wider_than_its_column(exclusive: LabelledStudio, width: int) -> None:
    with exclusive.page(width=width, height=600) as page:
        add_model(page, [[(0, 20, 1)]])
        too_wide = page.evaluate(
            """() => ["#videos", "#stage", "#side"].filter((place) => {
              const column = document.querySelector(place), { right } = column.getBoundingClientRect();
              const inside = [...column.querySelectorAll("button, select, input, output, p")];
              return inside.some((each) => each.getBoundingClientRect().right > right + 0.5);
            })"""
        )
        assert too_wide == []


def test_a_label_file_that_is_corrected_is_shown_without_a_reload(tmp_path: Path, browser: Browser) -> None:
    write_dataset(tmp_path / "dataset", ["clip"], classes="resting\n", rows="start,stop,class\n0,ten,resting\n")
    with serving(tmp_path / "dataset") as studio, opened(browser, studio.address) as page:
        until(page, "document.querySelector('#notices').innerText.includes('Correct the file, or move it')")
        (tmp_path / "dataset" / "labels" / "clip.csv").write_text("start,stop,class\n0,10,resting\n")
        until(page, "document.querySelector('#notices').innerText === '' && studio.labels.readOnly === null")
        assert shown_tracks(page) == [[(0, 10, 0)]]


def test_the_first_classes_may_overlap_and_the_page_waits_for_their_labels(tmp_path: Path, browser: Browser) -> None:
    (tmp_path / "dataset" / "videos").mkdir(parents=True)
    write_video(tmp_path / "dataset" / "videos" / "clip.mp4")
    with serving(tmp_path / "dataset") as studio, opened(browser, studio.address) as page:
        until(page, "studio.labels !== null")
        page.route("**/labels", lambda route: (time.sleep(0.6), route.continue_()))
        for name in ("calls", "fights"):
            page.get_by_role("button", name="Add a class").click()
            page.get_by_label("Name").fill(name)
            if name == "calls":
                page.get_by_label("Classes may overlap").check()
            page.keyboard.press("Enter")
            until(page, f"studio.info.classes.some((each) => each.name === '{name}')")
            page.keyboard.press("ArrowDown")
            page.wait_for_timeout(400)  # until the words below the timeline are written
        until(page, "studio.labels.tracks.length === 2 && document.querySelector('dialog[open]') === null")


def test_a_class_is_added_and_its_key_is_chosen(tmp_path: Path, browser: Browser) -> None:
    place = tmp_path / "dataset"
    write_dataset(place, ["clip"], classes="resting\n", rows="start,stop,class\n0,10,resting\n")
    with serving(place) as studio, opened(browser, studio.address, allowed="422") as page:
        until(page, "studio.labels !== null")
        for name in ("resting", "climbing"):
            page.get_by_role("button", name="Add a class").click()
            page.get_by_label("Name").fill(name)
            page.keyboard.press("Enter")
            if name == "resting":  # it is there already
                page.locator("dialog .error:not(:empty)").wait_for()
                page.get_by_role("button", name="Cancel").click()
        until(page, "studio.info.classes.length === 2")
        assert (place / "classes.txt").read_text() == "resting\nclimbing\n"
        page.get_by_role("button", name="Edit keys").click()
        page.get_by_role("textbox", name="climbing").fill("s")
        page.get_by_role("button", name="Save").click()
        assert "key of the page" in page.locator("dialog .error").inner_text()
        page.get_by_role("textbox", name="climbing").fill("7")
        page.get_by_role("button", name="Save").click()
        until(page, "studio.info.classes[1].key === '7' && document.querySelector('dialog[open]') === null")
        go(page, 20)
        page.keyboard.press("7")
        go(page, 24)
        page.keyboard.press("7")
        settle(page)
        assert shown_tracks(page) == [[(0, 10, 0), (20, 25, 1)]]
