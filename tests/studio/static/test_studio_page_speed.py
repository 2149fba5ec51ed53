"""The page stays fast with many videos and many segments; benchmarks/studio_timeline.py measures a whole recording."""

from pathlib import Path

import pytest
from made_labelling import write_dataset
from made_studio import opened, serving, until
from playwright.sync_api import Browser

pytestmark = pytest.mark.slow


def test_a_drawing_of_many_segments_costs_one_row_of_pixels_a_lane(tmp_path: Path, browser: Browser) -> None:
    place = tmp_path / "dataset"
    names = [f"behaviour_{index:02d}" for index in range(20)]
    classes = "class,group\n" + "".join(f"{name},{name}\n" for name in names)
    write_dataset(place, ["clip"], classes=classes, rows="start,stop,class\n0,9,behaviour_00\n", overlapping=True)
    with serving(place) as studio, opened(browser, studio.address) as page:
        until(page, "studio.labels !== null")
        milliseconds = page.evaluate(
            """() => {
              const starts = Int32Array.from({ length: 1000 }, (_, index) => index * 900);
              const track = { starts, stops: starts.map((start) => start + 450), values: new Int16Array(1000).fill(1) };
              const { labels, timeline, video } = studio;
              video.num_frames = labels.numFrames = 900000;
              studio.times = Float64Array.from({ length: 900001 }, (_, frame) => frame / 25);
              labels.tracks = labels.tracks.map(() => track);
              timeline.view.fit(900000);
              timeline.draw();
              const begin = performance.now();
              for (let n = 0; n < 30; n++) timeline.draw();
              return (performance.now() - begin) / 30;
            }"""
        )
        assert milliseconds < 20  # 50 pictures a second
