"""The Results view in a real browser, against a real server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_labelling import write_video
from made_results import EXCLUSIVE, OVERLAPPING, write_results
from made_studio import Studio, opened, serving, until
from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def exclusive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("page")
    write_results(folder / "dataset", folder / "predicted", space=EXCLUSIVE)
    with serving(folder / "dataset") as studio:
        yield studio


@contextmanager
def results(browser: Browser, studio: Studio, **options: Any) -> Iterator[Page]:
    """Open the page at the Results view."""
    with opened(browser, studio.address, **options) as page:
        until(page, "studio.labels !== null")
        page.click("#tab-results")
        page.wait_for_selector("#export-format option", state="attached")
        yield page


def test_a_number_opens_its_frames_and_each_can_be_reached_by_keys(exclusive: Studio, browser: Browser) -> None:
    with results(browser, exclusive) as page:
        page.focus("#view-results .matrix tbody tr:nth-child(1) td:nth-child(3) button")
        page.keyboard.press("Enter")
        page.wait_for_selector("#stretches li")
        model = page.evaluate("document.getElementById('results-model').value")
        answer = exclusive.get(f"/api/results/frames?source={model}&true=0&predicted=1").json
        stretches = answer["stretches"]
        assert page.locator("#stretches li").count() == len(stretches) == 2
        assert "rest, which the model takes for <script>" in page.inner_text("#stretches h3").lower()
        page.focus("#stretches li:nth-child(1) button")
        page.keyboard.press("Enter")
        for index, each in enumerate(stretches):
            selection = f"studio.selection?.start === {each['start']} && studio.selection.stop === {each['stop']}"
            until(page, f"studio.video.id === '{each['video']}' && {selection} && studio.view === 'watch'")
            assert page.evaluate("studio.frame") == each["start"]
            if index + 1 < len(stretches):
                page.get_by_role("button", name="Next", exact=True).click()
        page.get_by_role("button", name="Previous", exact=True).click()
        until(page, f"studio.video.id === '{stretches[0]['video']}'")
        page.get_by_role("button", name="Back to the results").click()
        until(page, "studio.view === 'results' && document.activeElement.closest('#stretches li')")


def test_tables_are_sorted_and_a_video_opens(exclusive: Studio, browser: Browser) -> None:
    with results(browser, exclusive) as page:
        table = page.get_by_role("region", name="Videos", exact=True)
        for _ in range(2):
            table.get_by_role("button", name="accuracy").click()
        accuracies = [float(text) for text in table.locator("tbody td:nth-child(3)").all_inner_texts()]
        assert accuracies == sorted(accuracies)
        assert table.locator("th[aria-sort='ascending']").count() == 1
        table.get_by_role("button", name="two").click()
        until(page, f"studio.view === 'watch' && studio.video.id === '{exclusive.ids()['two']}'")


def test_names_of_classes_and_models_are_text(exclusive: Studio, browser: Browser) -> None:
    with results(browser, exclusive, dark=True, width=1000, height=700) as page:
        assert page.locator("#view-results script").count() == 0
        assert page.get_by_role("region", name="Classes", exact=True).get_by_text("<script>").count() == 1
        assert page.inner_text("#results-model option") == "my <model>"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_export_is_saved_with_its_name(exclusive: Studio, browser: Browser, tmp_path: Path) -> None:
    with results(browser, exclusive) as page:
        page.select_option("#export-format", "boris")
        with page.expect_download() as download:
            page.locator("#export").get_by_role("button", name="Export").click()
        assert download.value.suggested_filename == "dataset_given_labels.boris"
        download.value.save_as(tmp_path / "saved")
        assert b"<script>" in (tmp_path / "saved").read_bytes()
        assert "2 videos" in page.inner_text("#export [role=status]")


def test_errors_of_classes_that_overlap_open_in_their_lane(tmp_path: Path, browser: Browser) -> None:
    write_results(tmp_path / "dataset", tmp_path / "predicted", space=OVERLAPPING)
    with serving(tmp_path / "dataset") as studio, results(browser, studio) as page:
        page.click("#view-results .matrix tbody tr:nth-child(3) td:nth-child(2) button")
        page.click("#stretches li:nth-child(1) button")
        until(page, "studio.view === 'watch' && studio.selection?.track === 2 && studio.track === 2")


def test_without_results_the_page_says_what_to_do(dataset: Path, browser: Browser) -> None:
    write_video(dataset / "videos" / "a.mp4")
    with serving(dataset) as studio, results(browser, studio, allowed="422") as page:
        page.wait_for_selector("#result-groups .empty")
        assert "--model" in page.inner_text("#result-groups .empty")
        assert "No video has labels yet" in page.inner_text("#budget")
        with page.expect_response("**/api/export"):
            page.locator("#export").get_by_role("button", name="Export").click()
        page.wait_for_selector("#notices .error")
        assert "no labels to export" in page.inner_text("#notices .error")
