"""A call on a cluster that is killed, and repeated, writes what an undisturbed one writes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_clusters import find_workers, serving_cluster
from made_models import write_video

from pipeline.labelling.folder import label_videos
from pipeline.labelling.model import load_model

pytestmark = pytest.mark.slow  # a cluster takes long to start, and each worker imports torch
NUM_VIDEOS = 8
SECONDS = 120  # until the cluster has ended the workers of a call that was killed


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return the files with the times of their last change, without what killed workers left of others."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.name[0] != "."}


def test_a_call_that_is_killed_and_repeated_writes_what_an_undisturbed_one_writes(spread_model, tmp_path):
    videos, out, one = (tmp_path / name for name in ("videos", "out", "one"))
    for folder in (videos, out, one):
        folder.mkdir()
    for number in range(NUM_VIDEOS):
        write_video(videos / f"clip{number}.mp4", num_frames=100 + number)
    label_videos(sorted(videos.iterdir()), load_model(str(spread_model), device="cpu"), one, on_failure=pytest.fail)
    draw = random.Random(0)
    with serving_cluster(num_nodes=2, cores=1) as cluster:
        command = [sys.executable, "-m", "pipeline.cli", "label", str(videos), "--model", str(spread_model)]
        command += ["--out", str(out), "--cluster", cluster.address]
        for wanted in (1, 4):  # videos that are finished at least, when the call is killed
            call = subprocess.Popen(command, start_new_session=True)
            while len(list(out.glob("*.report.json"))) < wanted:
                assert call.poll() is None
                time.sleep(0.1)
            time.sleep(draw.uniform(0, 1))
            os.killpg(call.pid, signal.SIGKILL)
            call.wait()
            started = time.monotonic()
            while find_workers():
                assert time.monotonic() - started < SECONDS
                time.sleep(0.1)
            before = contents(out)
            num_finished = sum(name.endswith(".report.json") for name in before)
            assert num_finished >= wanted
        subprocess.run(command, check=True)
    found = contents(out)
    assert {name: content for name, (content, _) in found.items()} == {
        name: content for name, (content, _) in contents(one).items()
    }
    finished = {name.removesuffix(".report.json") for name in before if name.endswith(".report.json")}
    for name, written in before.items():
        if name.split(".")[0] in finished:
            assert found[name] == written, "a finished video is left alone"
