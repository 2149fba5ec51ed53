"""The peak memory of `framescribe label` by the length of the video. Linux only.

docs/results/benchmarks/memory.md has the results.

    python benchmarks/memory.py --video clip.mp4
    python benchmarks/memory.py --video clip.mp4 --cases tiny --directions bidirectional --minutes 10 1440

The video is encoded again (H.264) and repeated for as many minutes as asked for. Each is labelled by a process of its
own; the labeller is that of params.yaml, of random weights. The peak is that of the resident memory, pages mapped from
files among it; nothing is asserted.

slow encoder  a small video and Lite0 at 64x64: it is decoded faster than it is encoded
slow decoder  720p and Lite0 at 32x32: it is encoded faster than it is decoded
tiny          a tiny video and a small encoder, for a day of video
"""

import argparse
import itertools
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import av
from label import LITE0, make_model, scaled_copy


class Case(NamedTuple):
    """A case to measure.

    Attributes:
        video: The width and height of the video, in pixels.
        encoder: The name of the encoder.
        size: The height and width of its frames, in pixels.
    """

    video: tuple[int, int]
    encoder: str
    size: tuple[int, int]


CASES = {
    "slow encoder": Case((320, 180), LITE0, (64, 64)),
    "slow decoder": Case((1280, 720), LITE0, (32, 32)),
    "tiny": Case((64, 48), "squeezenet1_1", (32, 32)),
}
DIRECTIONS = {"causal": False, "bidirectional": True}
LABEL = """
import sys
from pathlib import Path
from pipeline.cli import main
failed = main(sys.argv[1:])
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
sys.exit(failed)
"""


class Labelled(NamedTuple):
    """The peak memory of one call of `framescribe label`, in MiB, and its duration."""

    peak_mib: float
    seconds: float


def main() -> None:
    """Print the peak memory of all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True, help="what is repeated; some hundred frames are enough")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["slow encoder", "slow decoder"])
    parser.add_argument("--directions", nargs="+", choices=DIRECTIONS, default=list(DIRECTIONS))
    parser.add_argument("--minutes", nargs="+", type=int, default=[10, 60])
    options = parser.parse_args()
    print(platform.processor() or platform.machine())
    for name, minutes in itertools.product(options.cases, options.minutes):
        case = CASES[name]
        with tempfile.TemporaryDirectory() as folder:
            clip = scaled_copy(options.video, Path(folder) / "clip.mp4", *case.video)
            video = Path(folder) / "video.mp4"
            num_frames = repeat(clip, video, minutes=minutes)
            for direction in options.directions:
                model = Path(folder) / direction
                make_model(model, encoder=case.encoder, size=case.size, bidirectional=DIRECTIONS[direction])
                label(clip, model, Path(folder) / "labels")  # exports the encoder, which takes memory once
                labelled = label(video, model, Path(folder) / "labels")
                rate = num_frames / labelled.seconds
                print(f"{name:14}{direction:15}{minutes:6} min{num_frames:9} frames{labelled.peak_mib:7.0f} MiB"
                      f"{labelled.seconds:7.0f} s{rate:7.0f} frames/s", flush=True)  # fmt: skip


def repeat(clip: Path, path: Path, *, minutes: int) -> int:
    """Write a video that repeats the packets of a clip.

    Args:
        clip: The clip.
        path: The video.
        minutes: Its maximum duration; it has as many whole clips as fit into it.

    Returns:
        The number of its frames.
    """
    with av.open(str(clip)) as source, av.open(str(path), "w") as container:
        stream = source.streams.video[0]
        copy = container.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.size]
        ticks = [(packet.pts, packet.dts) for packet in packets]
        first, second = sorted(pts for pts, _ in ticks)[:2]
        clip_ticks = (second - first) * len(packets)
        num_clips = int(minutes * 60 / (clip_ticks * stream.time_base))
        for start in range(0, num_clips * clip_ticks, clip_ticks):
            for packet, (pts, dts) in zip(packets, ticks, strict=True):
                packet.pts, packet.dts, packet.time_base = start + pts, start + dts, stream.time_base
                packet.stream = copy
                container.mux(packet)
        return num_clips * len(packets)


def label(video: Path, model: Path, out: Path) -> Labelled:
    """Label a video in a process and measure it.

    Args:
        video: The video.
        model: The checkpoint.
        out: The folder of the labels.
    """
    command = [sys.executable, "-c", LABEL, "label", str(video), "--model", str(model), "--out", str(out)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Labelled(int(done.stdout.split()[-1]) / 1024, time.perf_counter() - start)


if __name__ == "__main__":
    main()
