"""How fast the studio is: its list, its timeline and its pictures, in a real browser.

docs/results/benchmarks/studio.md has the results.

    python benchmarks/studio.py [--folder DIR]

It makes the data sets of `studio_timeline` and `studio_pixels`, starts the studio on each, and prints what they
measure.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # where studios are started

import studio_pixels
import studio_timeline
from made_studio import serving


def main() -> None:
    """Make the data sets where they are missing, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the data sets are made and kept (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        for kind in ("overlapping", "exclusive"):
            measure_timeline(folder / kind, overlapping=kind == "overlapping")
        measure_pixels(folder / "pixels")


def measure_timeline(place: Path, *, overlapping: bool) -> None:
    """Print what is measured of the list and the timeline."""
    if not place.exists():
        studio_timeline.make_dataset(place, overlapping=overlapping)
    print(f"\n20 classes that {'overlap' if overlapping else 'exclude each other'}, 20,000 segments in 10 hours")
    for name, value in studio_timeline.measure(place).items():
        print(f"{name:45} {value}", flush=True)


def measure_pixels(place: Path) -> None:
    """Print what is measured of single frames: the median and the 90th percentile in milliseconds."""
    paths = [studio_pixels.make_video(place / "videos" / f"{stem}.mp4") for stem in studio_pixels.CAMERAS]
    with serving(place) as studio:
        for path in paths:
            print(f"\n{studio_pixels.describe(path)}")
            print(f"{'milliseconds':<52} {'median':>7} {'90 %':>7}   target")
            for timing in studio_pixels.measure(studio, place, path.stem):
                print(timing.line(), flush=True)
        print(f"most memory of the server: {studio_pixels.memory_mb(studio):.0f} MB")


if __name__ == "__main__":
    main()
