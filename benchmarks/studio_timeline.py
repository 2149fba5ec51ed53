"""How fast the studio's page lists videos, and opens, scrolls and zooms the timeline of a long one.

The data set has one video of ten hours, which has 20,000 segments of 20 classes, and 500 short ones. In headless
Chromium, without a GPU, these are measured:

- the time until the list of all videos is on the page;
- the time from the click on the long video to the first picture of its timeline with its labels;
- the pictures per second while the timeline scrolls and zooms, from the times of `requestAnimationFrame`.
"""

import os
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from made_studio import launching, serving
from playwright.sync_api import Page
from studio_pixels import memory_mb

FRAMES_PER_SECOND = 25
HOURS = 10
NUM_FRAMES = HOURS * 3600 * FRAMES_PER_SECOND
NUM_SEGMENTS, NUM_CLASSES, NUM_SHORT = 20_000, 20, 500
LONG = "long_recording"
GOP = 250  # frames from a keyframe to the next one
SECONDS_OF_MOTION = 4
LISTED = "fetch('/api/videos').then((response) => response.json())"


def make_long_video(path: Path, *, num_frames: int = NUM_FRAMES) -> None:
    """Make a video of 64x48 pixels, which repeats the packets of one group of pictures."""
    rng = np.random.default_rng(0)
    still = rng.integers(0, 255, size=(48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"bf": "0", "g": str(GOP), "sc_threshold": "0", "preset": "ultrafast"}
        packets = []
        for index in range(GOP):
            picture = still.copy()
            picture[:, index * 64 // GOP] = 255
            packets += stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        packets += stream.encode(None)
        contents = [(bytes(packet), packet.is_keyframe) for packet in packets]
        base = packets[0].time_base
        ticks = round(1 / (FRAMES_PER_SECOND * base))
        for index in range(num_frames):
            content, is_keyframe = contents[index % GOP]
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, base
            packet.pts = packet.dts = index * ticks
            packet.duration, packet.is_keyframe = ticks, is_keyframe
            container.mux(packet)


def make_dataset(
    place: Path, *, overlapping: bool, num_segments: int = NUM_SEGMENTS, num_short: int = NUM_SHORT
) -> None:
    """Make a data set with the long video and its labels, and short videos: links to one file.

    Args:
        place: The data set; its folder is made.
        overlapping: Whether each class is a group of its own, or all exclude each other.
        num_segments: Of the long video.
        num_short: The number of short videos.
    """
    videos, labels = place / "videos", place / "labels"
    videos.mkdir(parents=True)
    labels.mkdir()
    make_long_video(videos / f"{LONG}.mp4")
    first = videos / "short_000.mp4"
    make_long_video(first, num_frames=GOP)
    for index in range(1, num_short):
        os.link(first, videos / f"short_{index:03d}.mp4")
    names = [f"behaviour_{index:02d}" for index in range(NUM_CLASSES)]
    if overlapping:
        (place / "classes.csv").write_text("class,group\n" + "".join(f"{name},{name}\n" for name in names))
    else:
        (place / "classes.txt").write_text("".join(f"{name}\n" for name in names))
    rows = sorted(_rows(names, num_segments, overlapping=overlapping))
    content = "".join(f"{start},{stop},{name}\n" for start, stop, name in rows)
    (labels / f"{LONG}.csv").write_text(f"start,stop,class\n{content}")


def _rows(names: list[str], num_segments: int, *, overlapping: bool) -> Iterator[tuple[int, int, str]]:
    """Make segments of random lengths, with as much room between them as they have themselves."""
    rng = random.Random(0)
    lanes = names if overlapping else [""]
    per_lane = num_segments // len(lanes)
    room = NUM_FRAMES // per_lane
    for lane in lanes:
        for index in range(per_lane):
            start = index * room + rng.randrange(room // 2)
            stop = start + 1 + rng.randrange(room // 2)
            yield start, stop, lane or rng.choice(names)


@dataclass(frozen=True)
class Motion:
    """How evenly the page drew while something moved.

    Attributes:
        median: Pictures per second, from the median time between two.
        worst: The same from the 99th percentile of the times.
        longest: The longest time between two pictures, in milliseconds.
    """

    median: float
    worst: float
    longest: float

    def __str__(self) -> str:
        return f"{self.median:.0f} pictures/s (worst 1%: {self.worst:.0f}; longest pause {self.longest:.0f} ms)"


def measure_list(page: Page, address: str, count: int) -> float:
    """Open the page and return the seconds until `count` videos are listed."""
    begin = time.perf_counter()
    page.goto(address, wait_until="commit")
    while page.evaluate("document.querySelectorAll('#videos [role=option]').length") < count:
        time.sleep(0.01)
    return time.perf_counter() - begin


def measure_opening(page: Page, video_id: str) -> float:
    """Click a video and return the seconds until its timeline has been drawn with its labels."""
    return float(
        page.evaluate(
            """async (id) => {
              const begin = performance.now();
              document.getElementById(`video-${id}`).click();
              const drawn = () => studio.labels?.id === id && studio.labels.drawnOnce;
              studio.on("labels", () => {
                if (studio.labels?.id === id) requestAnimationFrame(() => requestAnimationFrame(() => {
                  studio.labels.drawnOnce = true;
                }));
              });
              while (!drawn()) await new Promise(requestAnimationFrame);
              return (performance.now() - begin) / 1000;
            }""",
            video_id,
        )
    )


def measure_motion(page: Page, kind: str, seconds: float = SECONDS_OF_MOTION) -> Motion:
    """Move the timeline at each picture, and return how evenly it was drawn.

    Args:
        page: The page, with the long video open.
        kind: "scroll" the frames at 1/50 of the width a picture, "zoom" from the whole video to frames and back, or
            "lanes", which scrolls the lanes up and down.
        seconds: For how long.
    """
    times = page.evaluate(
        """async ([kind, seconds]) => {
          const { timeline } = studio, { view } = timeline;
          if (kind === "zoom") view.fit(); else if (kind === "scroll") { view.fit(); view.zoom(40, view.width / 2); }
          const times = [], steps = Math.round(seconds * 60);
          for (let n = 0; n < steps; n++) {
            times.push(await new Promise(requestAnimationFrame));
            const before = timeline.drawn;
            if (kind === "zoom") view.zoom(n % 240 < 120 ? 1.09 : 1 / 1.09, view.width / 3);
            else if (kind === "lanes") timeline.scroll(n % 60 < 30 ? 12 : -12);
            else view.pan(n % 120 < 60 ? view.width / 50 : -view.width / 50);
            timeline.redraw();
          }
          return times;
        }""",
        [kind, seconds],
    )
    gaps = np.diff(times)
    return Motion(
        median=1000 / statistics.median(gaps),
        worst=1000 / float(np.percentile(gaps, 99)),
        longest=float(gaps.max()),
    )


def measure_drawing(page: Page) -> float:
    """Return the milliseconds of the main thread that one drawing of the timeline takes, on average."""
    return float(
        page.evaluate(
            """() => {
              const { timeline } = studio;
              timeline.view.fit();
              const begin = performance.now();
              for (let n = 0; n < 50; n++) timeline.draw();
              return (performance.now() - begin) / 50;
            }"""
        )
    )


def measure(place: Path) -> dict[str, str]:
    """Measure everything on a data set of `make_dataset`, and return it in words by name."""
    count = sum(1 for _ in (place / "videos").iterdir())
    results = {}
    with serving(place) as studio, launching() as browser:
        address = studio.address
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        results[f"list of {count} videos, studio just started"] = f"{measure_list(page, address, count):.2f} s"
        while not page.evaluate(
            "studio.status.list_version && fetch('/api/videos').then(r => r.json()).then(r => r.complete)"
        ):
            time.sleep(0.5)
        page.goto("about:blank")
        results[f"list of {count} videos"] = f"{measure_list(page, address, count):.2f} s"
        videos = page.evaluate(LISTED)["videos"]
        ids = {row["stem"]: row["id"] for row in videos}
        for stem in ("short_001", LONG):
            results[f"click to timeline, {stem}"] = f"{measure_opening(page, ids[stem]):.2f} s"
        measure_opening(page, ids["short_001"])
        results[f"click to timeline, {LONG} again"] = f"{measure_opening(page, ids[LONG]):.2f} s"
        for kind in ("scroll", "zoom", "lanes"):
            results[kind] = str(measure_motion(page, kind))
        results["one drawing, main thread"] = f"{measure_drawing(page):.1f} ms"
        results["most memory of the server"] = f"{memory_mb(studio):.0f} MB"
    return results
