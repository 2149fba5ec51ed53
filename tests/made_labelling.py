"""A studio with labelled videos, one for each test, and what tests read from its page and point at on it."""

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from made_studio import Studio, opened, serving, until
from playwright.sync_api import Browser, Page

NUM_FRAMES = 60
RESTING, WALKING, EATING = 0, 1, 2
CLASSES = "resting\nwalking\neating\n"
ROWS = "start,stop,class\n0,10,resting\n10,20,walking\n30,40,resting\n"  # 20 to 30 and 40 to 60 are unlabelled
GROUPS = "class,group\nresting,posture\nstanding,posture\ncalls,calls\n"
GROUP_ROWS = "start,stop,class\n0,20,resting\n20,40,standing\n10,30,calls\n"


def write_video(path: Path, num_frames: int = NUM_FRAMES) -> None:
    """Write a video of 25 frames per second, 64x48, a bar that moves."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(num_frames):
            picture = np.zeros((48, 64, 3), dtype=np.uint8)
            picture[:, index % 64] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def write_dataset(place: Path, stems: Sequence[str], *, classes: str, rows: str, overlapping: bool = False) -> None:
    """Write a data set whose videos are one file, and have the same labels."""
    (place / "videos").mkdir(parents=True)
    (place / "labels").mkdir()
    (place / ("classes.csv" if overlapping else "classes.txt")).write_text(classes, encoding="utf-8")
    first = place / "videos" / f"{stems[0]}.mp4"
    write_video(first)
    for stem in stems:
        if stem != stems[0]:
            os.link(first, place / "videos" / f"{stem}.mp4")
        (place / "labels" / f"{stem}.csv").write_text(rows, encoding="utf-8")


@dataclass
class LabelledStudio:
    """A running studio; each call of `page` opens the next video, which no test has changed yet."""

    studio: Studio
    place: Path
    browser: Browser
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def page(self, **options: Any) -> Iterator[Page]:
        """Open the page on the next video, with its labels."""
        stem = f"clip_{next(self._numbers):02d}"
        with self.page_of(stem, **options) as page:
            yield page

    @contextmanager
    def page_of(self, stem: str, **options: Any) -> Iterator[Page]:
        """Open the page on a video, with its labels."""
        video_id = self.studio.ids()[stem]
        with opened(self.browser, f"{self.studio.address}#{video_id}", **options) as page:
            until(page, f"studio.labels?.id === '{video_id}'")
            yield page

    def tracks(self, page: Page) -> list[list[tuple[int, int, int]]]:
        """The runs (start, stop, value) of each track, as the server has them."""
        answer = self.studio.get(f"/api/videos/{page.evaluate('studio.video.id')}/labels").json
        return [list(zip(t["starts"], t["stops"], t["values"], strict=True)) for t in answer["tracks"]]


@contextmanager
def labelled_studio(place: Path, browser: Browser, *, overlapping: bool = False) -> Iterator[LabelledStudio]:
    """Run a studio on 60 labelled videos."""
    stems = [f"clip_{index:02d}" for index in range(60)]
    classes, rows = (GROUPS, GROUP_ROWS) if overlapping else (CLASSES, ROWS)
    write_dataset(place, stems, classes=classes, rows=rows, overlapping=overlapping)
    with serving(place) as studio:
        yield LabelledStudio(studio, place, browser)


def shown_tracks(page: Page) -> list[list[tuple[int, int, int]]]:
    """The runs of each track on the page, edits that are under way included."""
    tracks = page.evaluate("studio.labels.tracks.map((t) => [...t.starts].map((s, i) => [s, t.stops[i], t.values[i]]))")
    return [[tuple(run) for run in track] for track in tracks]


def settle(page: Page) -> None:
    """Wait until the server has confirmed all edits."""
    until(page, "studio.labels && studio.labels.pending === 0")


def go(page: Page, frame: int) -> None:
    """Move the playhead, as the player does."""
    page.evaluate(f"studio.setFrame({frame}, 'player')")


def place_of(page: Page, frame: float, lane: int = 0) -> tuple[float, float]:
    """Where a position in frames is on the lane of a track of the given labels, in pixels of the page."""
    x, y = page.evaluate(
        """([frame, track]) => {
          const { timeline } = studio;
          const box = timeline.canvas.getBoundingClientRect();
          const lane = timeline.lanes.find((each) => each.kind === "given" && each.track === track);
          const y = timeline.lanesTop + lane.top + lane.height / 2;
          return [box.left + timeline.left + timeline.view.x(frame), box.top + y];
        }""",
        [frame, lane],
    )
    return x, y


def drag(page: Page, start: tuple[float, float], stop: tuple[float, float]) -> None:
    """Drag the mouse from a place to another one."""
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + stop[0]) / 2, (start[1] + stop[1]) / 2)
    page.mouse.move(*stop)
    page.mouse.up()


# A model's labels and probabilities, as predictions.js gives them to the page. The page's own answer, which may come
# later, does not replace them.
MODEL = """([name, tracks, doubts]) => {
  const numFrames = studio.video.num_frames, rows = studio.info.classes.length + 1;
  const level = (size) => {
    const bins = Math.ceil(numFrames / size), tile = new Uint8Array(bins * rows);
    for (const [start, stop] of doubts)
      for (let frame = start; frame < stop; frame++) tile[(rows - 1) * bins + Math.floor(frame / size)] = 255;
    return tile;
  };
  const columns = (runs, index) => runs.map((run) => run[index]);
  const predictions = [{
    id: "made", name, numLevels: 2, hasProbabilities: true, isWhole: true, unknown: [],
    tile: (index) => level(4 ** index),
    tracks: tracks.map((runs) => ({ starts: columns(runs, 0), stops: columns(runs, 1), values: columns(runs, 2) })),
  }];
  Object.defineProperty(studio, "predictions", { get: () => predictions, set() {}, configurable: true });
  studio.emit("predictions");
}"""


def add_model(
    page: Page, tracks: list[list[tuple[int, int, int]]], *, doubts: Sequence[tuple[int, int]] = (), name: str = "model"
) -> None:
    """Give the page the labels of a model, which is in doubt in some stretches."""
    page.evaluate(MODEL, [name, [[list(run) for run in track] for track in tracks], [list(each) for each in doubts]])
