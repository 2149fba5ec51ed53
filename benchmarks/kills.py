"""Whether calls that are killed at random moments, and repeated, write what an undisturbed call writes.

docs/results/benchmarks/kills.md has the results.

    python benchmarks/kills.py label --kills 100
    python benchmarks/kills.py follow --kills 20

label     `framescribe label` of a folder of clips, with all formats and overlays
follow    `framescribe label --follow` of a recording

Each call is killed by SIGKILL after a random part of the time that an undisturbed call took, and then repeated without
a kill. All files of the output are compared byte by byte. A live call never overwrites an earlier file; there the file
of the killed call must be the beginning of the undisturbed one, in whole rows. The model is EfficientNet-Lite0 at 64x64
with a causal GRU of random weights.

Training has a test of its own: pytest -m slow tests/training/test_killed_training.py -k random
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import imageio_ffmpeg
from label import LITE0, make_model
from tqdm import tqdm

from pipeline.annotations.layouts import LIVE

NUM_CLIPS = 6
CLIP_SECONDS, RECORDING_SECONDS = 2, 6


def main() -> None:
    """Kill calls, and print how many of the repeated ones differ from an undisturbed one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("label", "follow"))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        model = make_model(work / "model", encoder=LITE0, size=(64, 64), bidirectional=False)
        arguments = _label_clips(work) if options.command == "label" else _follow_recording(work)
        command = [sys.executable, "-m", "pipeline.cli", "label", *arguments, "--model", str(model)]
        differing, killed = count_differing(command, work, num_kills=options.kills, seed=options.seed)
    print(f"{options.command}: {killed} calls killed, {differing} of the repeated ones wrote other bytes")


def _label_clips(work: Path) -> list[str]:
    (work / "clips").mkdir()
    for number in range(NUM_CLIPS):
        make_video(work / "clips" / f"clip{number}.mp4", seconds=CLIP_SECONDS, seed=number)
    return [str(work / "clips"), "--overlay", "--formats", "csv,jsonl,parquet,vtt,srt"]


def _follow_recording(work: Path) -> list[str]:
    make_video(work / "recording.mkv", seconds=RECORDING_SECONDS, seed=0)
    return ["--follow", str(work / "recording.mkv"), "--idle", "0.5"]


def make_video(path: Path, *, seconds: float, seed: int) -> None:
    """Make a video of a moving pattern, which differs between seeds."""
    source = f"testsrc2=size=160x120:rate=25:duration={seconds},hue=h={60 * seed}"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        source,
        "-c:v",
        "libx264",
        str(path),
    ]
    subprocess.run(command, check=True)


def count_differing(command: list[str], work: Path, *, num_kills: int, seed: int) -> tuple[int, int]:
    """Kill calls of a command and repeat them.

    Args:
        command: The command, without `--out`.
        work: A folder for the output.
        num_kills: The number of calls that are killed.
        seed: The seed of the moments.

    Returns:
        The number of repeated calls whose output differs from that of an undisturbed call, and the number of calls
        that were killed before they ended.
    """
    undisturbed, out = work / "undisturbed", work / "out"
    start = time.monotonic()
    subprocess.run([*command, "--out", str(undisturbed)], check=True, capture_output=True)
    seconds = time.monotonic() - start
    expected, moments = contents(undisturbed), random.Random(seed)
    num_differing = num_killed = 0
    with tqdm(total=num_kills, unit="kill") as bar:
        while num_killed < num_kills:
            shutil.rmtree(out, ignore_errors=True)
            process = subprocess.Popen(
                [*command, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                process.wait(moments.uniform(0.4, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                num_killed += 1
                bar.update()
                subprocess.run([*command, "--out", str(out)], check=True, capture_output=True)
            num_differing += not is_right(contents(out), expected)
    return num_differing, num_killed


def is_right(found: dict[str, bytes], expected: dict[str, bytes]) -> bool:
    """Return whether the output is that of an undisturbed call, beside the rows of live calls that were killed."""
    if not any(name.endswith(LIVE) for name in expected):
        return found == expected
    (rows,) = expected.values()
    are_parts = all(rows.startswith(part) and part.endswith(b"\n") for part in found.values())
    return are_parts and rows in found.values()


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of each file in a folder, by name, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


if __name__ == "__main__":
    main()
