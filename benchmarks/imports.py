"""How long it takes to import a BORIS project of 100 hours and 50,000 events, beside indexing its videos.

docs/results/benchmarks/imports.md has the results.

    python benchmarks/imports.py

The project has an observation for each of 100 videos of an hour, which are one file under many names: every name is
indexed again. The import is called twice, first as a user calls it, and then with the indexes at hand, so that the
difference is the indexing. The memory is the most that this process ever had.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import imageio_ffmpeg

from pipeline.interchange import importing
from pipeline.interchange.imported import ImportOptions
from pipeline.interchange.recognition import find_foreign_files
from pipeline.interchange.videos import VideoFolder, read_times

BEHAVIOURS = ("walk", "rest", "eat", "groom")
SECONDS = 3600


def main() -> None:
    """Print the seconds of both calls, and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=100, help="the number of videos of an hour")
    parser.add_argument("--events", type=int, default=50_000, help="the number of events, each with a start and a stop")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_videos(folder / "videos", options.videos)
        project = folder / "project.boris"
        project.write_text(json.dumps(make_project(options.videos, options.events)))
        whole = time_import(project, folder / "videos")
        with patch.object(importing, "read_times", cache(read_times)):
            time_import(project, folder / "videos")  # fills the cache
            beside = time_import(project, folder / "videos")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(
        f"{options.events} events in {options.videos} hours: {whole:.1f} s, {beside:.1f} s beside indexing the videos"
    )
    print(f"memory: {memory} MB at most, with the indexes of all videos at hand")


def make_videos(folder: Path, num_videos: int) -> None:
    """Make a video of an hour, and give it many names."""
    folder.mkdir()
    source = f"color=size=32x32:rate=25:duration={SECONDS}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264"]
    subprocess.run([*command, "-preset", "ultrafast", str(folder / "0.mp4")], check=True)
    for number in range(1, num_videos):
        os.link(folder / "0.mp4", folder / f"{number}.mp4")


def make_project(num_videos: int, num_events: int) -> dict[str, Any]:
    """Make a project: state events at random times, two rows each, with subjects, modifiers and comments."""
    random.seed(0)
    observations: dict[str, Any] = {}
    for number in range(num_videos):
        name = f"{number}.mp4"
        rows = []
        for index in range(num_events // num_videos):
            start = round(random.uniform(0, SECONDS - 10), 3)
            stop = round(start + random.uniform(0.1, 9), 3)
            behaviour = BEHAVIOURS[index % len(BEHAVIOURS)]
            rows += [[start, "", behaviour, "", "seen"], [stop, "", behaviour, "", ""]]
        observations[f"day {number}"] = {
            "file": {"1": [name]},
            "type": "MEDIA",
            "time offset": 0.0,
            "media_info": {"length": {name: float(SECONDS)}, "fps": {name: 25.0}},
            "events": sorted(rows),
        }
    ethogram = {str(i): {"code": name, "type": "State event"} for i, name in enumerate(BEHAVIOURS)}
    return {"behaviors_conf": ethogram, "subjects_conf": {}, "observations": observations, "time_format": "s"}


def time_import(project: Path, videos: Path) -> float:
    """Import the project, and return the seconds that it took."""
    start = time.perf_counter()
    importing.import_files(find_foreign_files("boris", [project]), VideoFolder(videos), ImportOptions())
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
