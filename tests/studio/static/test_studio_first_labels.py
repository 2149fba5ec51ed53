"""docs/users/first_labels.md, literally, in a real browser: from a video without labels to a model that labels it.

FRAMESCRIBE_PICTURES names the folder that gets the pictures of the documentation.
"""

import csv
import os
from pathlib import Path

import pytest
from made_labelling import settle
from made_studio import Studio, copy_project, opened, serving, until
from playwright.sync_api import Browser, Page

from pipeline.datasets.scenes.write import make_scenes

PICTURES = os.environ.get("FRAMESCRIBE_PICTURES")
NUM_VIDEOS = 8
NUM_FRAMES = (190, 240) if PICTURES else (100, 130)
FIRST = "scene_000"  # it has 12 frames per second, so that keys are pressed in time on a busy machine
SECONDS_OF_TRAINING = 600


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A copy of this project, which is the current folder, with a data set of which one video is not labelled."""
    folder = tmp_path / "copy"
    folder.mkdir()
    variables = copy_project(folder, empty_store)
    for name in list(os.environ):
        if name.startswith(("DVC_", "MLFLOW_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    root = Path("data/mine")
    make_scenes(root, num_videos=NUM_VIDEOS, num_images=0, seed=3, num_frames=NUM_FRAMES, noise=2.0)
    for name in ("classes.txt", f"labels/{FIRST}.csv"):
        (root / name).rename(tmp_path / Path(name).name)
    return variables


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.wait_for_timeout(500)
        page.screenshot(path=str(Path(PICTURES) / name))


def spans(path: Path) -> list[tuple[int, int, str]]:
    with path.open(newline="") as file:
        return [(int(row["start"]), int(row["stop"]), row["class"]) for row in csv.DictReader(file)]


def record(page: Page, truth: list[tuple[int, int, str]]) -> None:
    """Press the key of what is seen, from the first frame to the last one, while the video plays at twice its speed."""
    keys = {each["name"]: each["key"] for each in page.evaluate("studio.info.classes")}
    page.keyboard.press("Home")
    page.keyboard.press("]")
    page.keyboard.press(keys[truth[0][2]])
    # The page presses the keys at their frames: a test on a busy machine is slower than a person.
    page.evaluate(
        """(due) => studio.on("frame", () => {
          while (due.length && studio.frame >= due[0][0])
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key: due.shift()[1], bubbles: true }));
        })""",
        [[start, keys[name]] for start, _, name in truth[1:]],
    )
    page.keyboard.press(" ")
    until(page, "studio.frame >= studio.video.num_frames - 1 && !studio.playing", seconds=120)
    settle(page)


def model_says(page: Page) -> int:
    """The class that the model gives the frame at the playhead."""
    found: int = page.evaluate(
        """() => {
          const { starts, stops, values } = studio.predictions[0].tracks[0];
          return values[starts.findIndex((start, index) => start <= studio.frame && studio.frame < stops[index])];
        }"""
    )
    return found


def wait_for_training(studio: Studio, page: Page) -> None:
    until(page, "studio.status.training?.epochs?.length > 4", seconds=SECONDS_OF_TRAINING)
    picture(page, "studio_train.png")
    until(page, "studio.status.training?.running === false", seconds=SECONDS_OF_TRAINING)
    status = studio.get("/api/training").json
    assert status["outcome"] == "done", status["log"]


@pytest.mark.slow
def test_the_page_of_first_labels_holds(project: dict[str, str], tmp_path: Path, browser: Browser) -> None:
    truth = spans(tmp_path / f"{FIRST}.csv")
    names = (tmp_path / "classes.txt").read_text().split()
    with (
        serving(Path("data/mine"), environment=project) as studio,
        opened(browser, studio.address, width=1400, height=860) as page,
    ):
        until(page, "studio.video !== null && studio.labels !== null")
        assert page.evaluate("studio.video.stem") == FIRST
        for name in names:
            if name not in [each["name"] for each in page.evaluate("studio.info.classes")]:
                page.get_by_text("Add a class…").click()
                page.keyboard.type(name)
                page.keyboard.press("Enter")
                until(page, f"studio.info.classes.some((each) => each.name === {name!r})")
        record(page, truth)
        video = page.evaluate("studio.video.id")
        until(page, f"studio.status.labels?.[{video!r}] === studio.labels.version")
        while not studio.get(f"/api/videos/{video}/labels").json["saved"]:
            page.wait_for_timeout(50)
        found = spans(Path(f"data/mine/labels/{FIRST}.csv"))
        assert [name for *_, name in found] == [name for *_, name in truth]
        late = [abs(mine[0] - start) for mine, (start, *_) in zip(found, truth, strict=True)]
        assert max(late) <= 12  # half a second at twice the speed, on a busy machine
        page.click("#tab-train")
        page.get_by_role("button", name="Train", exact=True).click()
        wait_for_training(studio, page)
        page.click("#tab-watch")
        until(page, "studio.predictions.length === 1", seconds=120)
        for key in ("u", "q"):
            page.keyboard.press(key)
        picture(page, "studio.png")
        page.keyboard.press("y")
        settle(page)
        assert page.evaluate("studio.labels.valueAt(0, studio.frame)") == model_says(page)
        until(page, "!studio.status.predicting?.running", seconds=240)
        page.click("#tab-results")
        page.get_by_role("heading", name="Scores").wait_for()
        picture(page, "studio_results.png")
