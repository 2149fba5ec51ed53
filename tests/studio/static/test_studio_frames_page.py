"""The frame number that the page shows is the one drawn into the pixels, paused and playing, in a real browser."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_numbers import READ_NUMBER, write_numbered
from made_studio import Studio, opened, serving, until
from playwright.sync_api import Browser, Page

# Steps of 7 to 100 ms, from 1.5 s on.
VARIABLE = list(itertools.accumulate([20, 33, 40, 100, 7] * 20, initial=1500))
KINDS: dict[str, Callable[[Path], Path]] = {
    "h264": lambda folder: write_numbered(folder / "h264.mp4"),
    "variable": lambda folder: write_numbered(folder / "variable.mp4", ticks=VARIABLE),
    "hevc": lambda folder: write_numbered(
        folder / "hevc.mp4", codec="libx265", options={"x265-params": "log-level=none"}
    ),
    "av1": lambda folder: write_numbered(folder / "av1.webm", codec="libsvtav1", options={"preset": "10"}),
    "mpeg4": lambda folder: write_numbered(folder / "mpeg4.avi", codec="mpeg4", options={"bf": "2", "b": "2M"}),
    "broadcast": lambda folder: write_numbered(folder / "broadcast.ts"),
}
IS_PLAYED_AS_IT_IS = ("h264", "variable", "av1")

# Collects, while the video plays, a picture of it with its time, and what the page shows with the time by which it
# found that. A VideoFrame has the pixels and the time of the very same picture; on a busy machine, that may be a later
# one than the browser has just told of.
COLLECT = f"""() => {{
  const read = {READ_NUMBER};
  const video = document.querySelector("#player video"), label = document.querySelector("#player .number");
  window.seen = [];
  const note = (now, {{ mediaTime }}) => {{
    if (studio.playing && label.dataset.frame !== "" && document.querySelector("#player canvas").hidden) {{
      const picture = new VideoFrame(video);
      const bitmap = new OffscreenCanvas(picture.displayWidth, picture.displayHeight);
      bitmap.getContext("2d").drawImage(picture, 0, 0);
      window.seen.push([read(bitmap), picture.timestamp / 1e6, Number(label.dataset.frame), mediaTime, studio.frame]);
      picture.close();
    }}
    video.requestVideoFrameCallback(note);
  }};
  video.requestVideoFrameCallback(note);
}}"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    dataset = tmp_path_factory.mktemp("numbered")
    (dataset / "videos").mkdir()
    for write in KINDS.values():
        write(dataset / "videos")
    with serving(dataset) as studio:
        yield studio


@pytest.fixture
def page(studio: Studio, browser: Browser) -> Iterator[Page]:
    # A file that the browser cannot play is an error of its element, after which the page takes the converted copy.
    with opened(browser, studio.address, width=900, height=700, allowed="ERR_ABORTED|409") as page:
        yield page


def open_video(page: Page, studio: Studio, stem: str) -> int:
    until(page, "studio.video !== null")  # the page opens the first video by itself
    page.evaluate("id => studio.openVideo(id)", studio.ids()[stem])
    wait_for_frame(page, 0)
    assert page.evaluate("studio.video.stem") == stem
    return int(page.evaluate("studio.video.num_frames"))


def wait_for_frame(page: Page, frame: int) -> None:
    until(page, f'document.querySelector("#player .number").dataset.frame === "{frame}"')
    until(page, 'document.querySelector("#player canvas").hidden === false')


def number_in_picture(page: Page) -> int:
    return int(page.evaluate(f"() => ({READ_NUMBER})(document.querySelector('#player canvas'))"))


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_paused_picture_has_the_number_that_is_shown(page: Page, studio: Studio, kind: str) -> None:
    num_frames = open_video(page, studio, kind)
    assert number_in_picture(page) == 0
    for frame in (57, 3, num_frames - 1, 58, 59, 20):
        page.evaluate("frame => studio.setFrame(frame, 'timeline')", frame)
        wait_for_frame(page, frame)
        assert number_in_picture(page) == frame
        assert f"frame {frame} (0 to {num_frames - 1}) ·" in page.text_content("#player .number")
    for name, frame in (("One frame forward (→)", 21), ("One frame back (←)", 20), ("One frame back (←)", 19)):
        page.get_by_role("button", name=name).click()
        wait_for_frame(page, frame)
        assert number_in_picture(page) == frame


def test_a_converted_copy_is_not_begun_after_another_video_was_opened(page: Page) -> None:
    until(page, "studio.times !== null")
    page.evaluate(
        """async () => {
          const { Proxy: Copy } = await import("/static/proxy.js");
          const element = document.createElement("video");
          const copy = new Copy(studio, element, studio.video, () => {});
          copy.close();
          element.src = "/media/another";
          copy.begin();  // the browser tells late that the copy could be begun
        }"""
    )


def test_a_frame_that_is_asked_for_while_its_place_is_hidden_is_not_blurred(page: Page, studio: Studio) -> None:
    open_video(page, studio, "h264")
    page.get_by_role("tab", name="Results").click()
    page.wait_for_timeout(200)  # until the place for the picture is known to be hidden
    page.evaluate("() => { studio.setFrame(12, 'jump'); studio.show('watch'); }")
    wait_for_frame(page, 12)
    assert number_in_picture(page) == 12


@pytest.mark.slow
@pytest.mark.parametrize("speed", [1, 4])
@pytest.mark.parametrize("kind", list(KINDS))
def test_each_picture_that_plays_is_the_frame_of_its_time(page: Page, studio: Studio, kind: str, speed: int) -> None:
    num_frames = open_video(page, studio, kind)
    page.evaluate(COLLECT)
    page.get_by_label("Speed").select_option(str(speed))
    page.get_by_role("button", name="Play", exact=False).first.click()
    until(page, f"studio.frame > {num_frames // 2}", seconds=30)
    page.get_by_role("button", name="Pause").click()
    until(page, 'document.querySelector("#player canvas").hidden === false')
    until(page, 'document.querySelector("#player .number").dataset.frame === String(studio.frame)')
    assert number_in_picture(page) == page.evaluate("studio.frame")
    seen = page.evaluate("seen")
    assert len(seen) > 5
    offset = page.evaluate("document.querySelector('#player video').src.startsWith('blob:') ? studio.times[0] : 0")
    assert (offset == 0) == (kind in IS_PLAYED_AS_IT_IS) or kind == "hevc"
    find = "times => times.map((seconds) => studio.frameAt(seconds))"
    numbers, seconds, shown, media_seconds, frames = zip(*seen, strict=True)
    assert page.evaluate(find, [each + offset + 0.001 for each in seconds]) == list(numbers)
    assert page.evaluate(find, [each + offset + 0.001 for each in media_seconds]) == list(shown) == list(frames)
    assert any(number == frame for number, frame in zip(numbers, shown, strict=True))
