"""What becomes of damaged videos, by kind of file: how many are reported, and how many are wrong without a word.

docs/results/benchmarks/damaged_videos.md has the results.

    python benchmarks/damage.py                 35 kinds of files, 60 damaged copies of each: 2,100
    python benchmarks/damage.py --kinds gif.gif dv.dv --copies 200

ffmpeg makes a video of each kind, and `tests/damaged_copies.py` damages copies of it, each by one of seven ways: a bit
or some dozen bits are flipped, a part is blanked or overwritten with noise, the end is cut off, bytes are lost or are
there twice. Every copy is read as `framescribe label` reads it, at 32x24 pixels, in a process of its own.

reported   the file is refused, or labelled in part with the reason: exit code 1
unharmed   all frames are there, and no pixel differs by more than 8 grey levels from the undamaged file
wrong      read as a whole file, but pixels differ by more
missing    read as a whole file, but there are fewer frames
surplus    read as a whole file, but there are more frames
crashed    the process that read it ended, or took longer than 60 seconds
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import imageio_ffmpeg
from tqdm import tqdm

from pipeline.text.wording import format_table

SCRIPT = Path(__file__).parents[1] / "tests" / "damaged_copies.py"
OUTCOMES = ("reported", "unharmed", "wrong", "missing", "surplus", "crashed")
VISIBLE = 8  # grey levels
SOURCE = "testsrc2=size={size}:rate=25:duration=1.6"
SIZES = {"dv.dv": "720x576"}  # the standard has no other one for 25 frames per second
H264 = "-c:v libx264 -preset fast -g 12"
HEVC = "-c:v libx265 -preset fast -x265-params log-level=none:keyint=12"
VPX = "-deadline realtime -cpu-used 8 -g 12 -b:v 400k"
KINDS = {
    "h264.mp4": f"{H264} -bf 2",
    "h264_baseline.mp4": f"{H264} -profile:v baseline -pix_fmt yuv420p",
    "h264_slices.mp4": f"{H264} -slices 4",
    "h264_fragments.mp4": f"{H264} -movflags frag_keyframe+empty_moov",
    "h264.mov": f"{H264} -movflags faststart",
    "h264.3gp": f"{H264} -pix_fmt yuv420p",
    "h264.mkv": f"{H264} -bf 2",
    "h264.ts": f"{H264} -bf 2",
    "h264.m2ts": f"{H264} -bf 2 -mpegts_m2ts_mode 1",
    "h264.flv": f"{H264} -bf 2",
    "h264.avi": f"{H264} -bf 0",
    "h264.h264": f"{H264} -bf 2",
    "hevc.mp4": HEVC,
    "hevc_10bit.mp4": f"{HEVC} -pix_fmt yuv420p10le",
    "hevc.mkv": HEVC,
    "hevc.ts": HEVC,
    "av1.mp4": "-c:v libsvtav1 -preset 12 -g 12",
    "av1.webm": "-c:v libsvtav1 -preset 12 -g 12",
    "vp8.webm": f"-c:v libvpx {VPX}",
    "vp9.webm": f"-c:v libvpx-vp9 {VPX}",
    "vp9.mp4": f"-c:v libvpx-vp9 {VPX}",
    "vp9.mkv": f"-c:v libvpx-vp9 {VPX}",
    "theora.ogv": "-c:v libtheora -q:v 6 -g 12",
    "mpeg4.avi": "-c:v mpeg4 -q:v 4 -g 12",
    "mpeg4.mp4": "-c:v mpeg4 -q:v 4 -g 12 -bf 2",
    "mpeg1.mpg": "-c:v mpeg1video -q:v 4 -g 12 -bf 2",
    "mpeg2.mpg": "-c:v mpeg2video -q:v 4 -g 12 -bf 2",
    "mpeg2.ts": "-c:v mpeg2video -q:v 4 -g 12 -bf 2",
    "mpeg2.mxf": "-c:v mpeg2video -q:v 4 -g 12 -bf 2",
    "mjpeg.avi": "-c:v mjpeg -q:v 4",
    "mjpeg.mov": "-c:v mjpeg -q:v 4",
    "prores.mov": "-c:v prores_ks -profile:v 0",
    "dv.dv": "-c:v dvvideo -pix_fmt yuv420p",
    "gif.gif": "-c:v gif",
    "wmv2.wmv": "-c:v wmv2 -q:v 4 -g 12",
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--copies", type=int, default=60, help="the number of damaged copies of each kind")
    options = parser.parse_args()
    start = time.perf_counter()
    rows, total = [], Counter[str]()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as threads:
        count = partial(count_outcomes, folder=Path(folder), num_copies=options.copies)
        counts = tqdm(threads.map(count, options.kinds), total=len(options.kinds), unit="kind")
        for kind, found in zip(options.kinds, counts, strict=True):
            total += found
            rows.append([kind, *(found[outcome] for outcome in OUTCOMES)])
    rows.append(["all", *(total[outcome] for outcome in OUTCOMES)])
    print(format_table([["kind", *OUTCOMES], *([str(cell) for cell in row] for row in rows)], gap="  "))
    print(f"{total.total()} damaged files in {(time.perf_counter() - start) / 60:.1f} minutes")


def count_outcomes(kind: str, *, folder: Path, num_copies: int) -> Counter[str]:
    """Make a video of a kind in `folder`, and count what becomes of its damaged copies: entries of OUTCOMES."""
    video = folder / kind
    source = ["-f", "lavfi", "-i", SOURCE.format(size=SIZES.get(kind, "192x108"))]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *source, *KINDS[kind].split(), str(video)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return Counter(_outcome(copy) for copy in _read_copies(video, num_copies))


def _read_copies(video: Path, num_copies: int) -> Iterator[dict[str, Any] | None]:
    """Yield what `tests/damaged_copies.py` found of each copy; None for one that ended its process."""
    seed = 0
    while seed < num_copies:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(video), str(seed), str(num_copies)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
            seed += 1
        process.wait()
        if seed < num_copies:
            yield None
            seed += 1


def _outcome(copy: dict[str, Any] | None) -> str:
    if copy is None:
        return "crashed"
    if copy["outcome"] != "read":
        return "reported"
    if copy["num_lost"]:
        return "missing" if copy["num_lost"] > 0 else "surplus"
    return "unharmed" if copy["largest_difference"] <= VISIBLE else "wrong"


if __name__ == "__main__":
    main()
