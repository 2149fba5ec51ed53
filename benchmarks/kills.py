"""Whether calls that are killed at random moments, and repeated, write what an undisturbed call writes.

docs/results/benchmarks/kills.md has the results.

    python benchmarks/kills.py label --kills 100
    python benchmarks/kills.py follow --kills 20
    python benchmarks/kills.py repro --kills 10

label     `framescribe label` of a folder of clips, with all formats and overlays
follow    `framescribe label --follow` of a recording
repro     `dvc repro` of the whole pipeline, in a clone of this repository's last commit, with few and short videos

Each call is killed by SIGKILL after a random part of the time that an undisturbed call took, and then repeated without
a kill. All files of the output are compared byte by byte. A live call never overwrites an earlier file; there the file
of the killed call must be the beginning of the undisturbed one, in whole rows. Of `dvc repro`, the scores, the pictures
and tables of the evaluation, and the weights of the models are compared, and there must be as many MLflow runs. The
model of the other calls is EfficientNet-Lite0 at 64x64 with a causal GRU of random weights.

Training has a test of its own, which kills FRAMESCRIBE_KILLS trainings of either kind:

    FRAMESCRIBE_KILLS=30 pytest -m slow tests/training/test_killed_training.py -k random
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import imageio_ffmpeg
import yaml
from label import LITE0, make_model
from mlflow import MlflowClient
from tqdm import tqdm

from pipeline.annotations.layouts import LIVE

NUM_CLIPS = 6
CLIP_SECONDS, RECORDING_SECONDS = 2, 6
LOG = Path(tempfile.gettempdir()) / f"framescribe_kills_{os.getpid()}.log"  # what the last call printed
REPOSITORY = Path(__file__).resolve().parents[1]
SMALL = {  # settings of `repro`: the stages take seconds each
    "scenes": {"num_videos": 24, "num_images": 48, "shortest_frames": 24, "longest_frames": 32},
    "training": {"epochs": 3},
    "captioner": {"training": {"epochs": 3}},
}


def main() -> None:
    """Kill calls, and print how many of the repeated ones differ from an undisturbed one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("label", "follow", "repro"))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = _repro(Path(folder)) if options.command == "repro" else _label(options.command, Path(folder))
        differing, killed = count_differing(run, Path(folder), num_kills=options.kills, seed=options.seed)
    print(f"{options.command}: {killed} calls killed, {differing} of the repeated ones wrote something else")


class Run(NamedTuple):
    """What is killed.

    Attributes:
        start: Starts the call as a process in a session of its own; its output goes into a folder.
        prepare: Makes the folder of the output as it is before the first call.
        contents: Reads what is compared from the folder.
    """

    start: Callable[[Path], "subprocess.Popen[bytes]"]
    prepare: Callable[[Path], None]
    contents: Callable[[Path], dict[str, bytes]]


def _label(command: str, work: Path) -> Run:
    model = make_model(work / "model", encoder=LITE0, size=(64, 64), bidirectional=False)
    arguments = _label_clips(work) if command == "label" else _follow_recording(work)
    call = [sys.executable, "-m", "pipeline.cli", "label", *arguments, "--model", str(model)]
    return Run(lambda out: _start([*call, "--out", str(out)], REPOSITORY), Path.mkdir, contents)


def _repro(work: Path) -> Run:
    """Clone the repository for each output: DVC then finds no result of an earlier call."""
    return Run(partial(_start, ["dvc", "repro"]), _clone, _results)


def _start(command: list[str], folder: Path) -> "subprocess.Popen[bytes]":
    """Start a command in a folder. It leads a session, so that the processes that it starts can be killed too."""
    # Without it, Python would import the pipeline from where it is installed.
    environment = os.environ | {"PYTHONPATH": str(folder)}
    with open(LOG, "wb") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)


def _clone(folder: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(folder)], check=True)
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(_merged(yaml.safe_load(path.read_text()), SMALL), sort_keys=False))


def _merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for name, value in changes.items():
        merged[name] = _merged(settings[name], value) if isinstance(value, dict) else value
    return merged


def _results(folder: Path) -> dict[str, bytes]:
    """Return scores, evaluation and weights by name, and the names of the MLflow runs as "runs"."""
    paths = [*(folder / "results").rglob("*.*"), *(folder / "models").rglob("*.safetensors")]
    found = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return found | {"runs": "\n".join(sorted(f"{run.info.run_name} {run.info.status}" for run in runs)).encode()}


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


def count_differing(run: Run, work: Path, *, num_kills: int, seed: int) -> tuple[int, int]:
    """Kill calls and repeat them.

    Args:
        run: What is killed.
        work: A folder for the output.
        num_kills: The number of calls that are killed.
        seed: The seed of the moments.

    Returns:
        The number of repeated calls whose output differs from that of an undisturbed call, and the number of calls
        that were killed before they ended.
    """
    undisturbed, out = work / "undisturbed", work / "out"
    run.prepare(undisturbed)
    start = time.monotonic()
    _finish(run.start(undisturbed))
    seconds = time.monotonic() - start
    expected, moments = run.contents(undisturbed), random.Random(seed)
    num_differing = num_killed = 0
    with tqdm(total=num_kills, unit="kill") as bar:
        while num_killed < num_kills:
            shutil.rmtree(out, ignore_errors=True)
            run.prepare(out)
            process = run.start(out)
            try:
                process.wait(moments.uniform(0.2, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                num_killed += 1
                bar.update()
                _finish(run.start(out))
            found = run.contents(out)
            if not is_right(found, expected):
                num_differing += 1
                names = sorted(name for name in found | expected if found.get(name) != expected.get(name))
                tqdm.write(f"differing after kill {num_killed}: {', '.join(names)}")
    return num_differing, num_killed


def _finish(process: "subprocess.Popen[bytes]") -> None:
    if process.wait() != 0:
        printed = LOG.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"got exit code {process.returncode} of {process.args!r}, expected 0; it printed: {printed}")


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
