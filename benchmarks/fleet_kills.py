"""Whether calls on a cluster write what one machine writes, though workers, machines and the calls are killed.

docs/results/benchmarks/fleet.md has the results.

    python benchmarks/fleet_kills.py --kills 20

A cluster of three nodes with a core each runs on this machine. `framescribe label --cluster` labels a folder of clips,
of which one is long and divided into ranges of RANGE_FRAMES frames. At random moments one of these is killed by
SIGKILL: a worker, a node with all that runs on it, or the call itself, which is then repeated at once. A call that was
not killed has to end by itself. Then all files are compared byte by byte with those of one machine without a cluster,
and the next call labels the folder from scratch, until there were enough kills. The model is EfficientNet-Lite0 at
64x64 with a causal GRU of random weights.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # where clusters are started

from kills import make_video
from label import LITE0, make_model
from made_clusters import kill_node, kill_worker, serving_cluster
from ray.cluster_utils import Cluster
from tqdm import tqdm

NUM_CLIPS, CLIP_SECONDS, LONG_SECONDS = 6, 4, 40
RANGE_FRAMES = 50
VICTIMS = ("worker", "node", "call")
PAUSE_SECONDS = (5.0, 60.0)  # between two kills: on busy cores a worker takes a minute to start
CALL = (
    "import sys; from pipeline.fleet import label; from pipeline.cli.main import main;"
    f" label.RANGE_FRAMES = {RANGE_FRAMES}; sys.exit(main(sys.argv[1:]))"
)
LOG = Path(tempfile.gettempdir()) / f"framescribe_fleet_kills_{os.getpid()}.log"  # what the last call printed


def main() -> None:
    """Kill, and print how many of the folders differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving_cluster(num_nodes=3, cores=1) as cluster:
        work = Path(folder)
        command = _make(work)
        _finish(_start([*command, "--out", str(work / "expected")]))
        expected = contents(work / "expected")
        command += ["--cluster", cluster.address]
        draw, killed = random.Random(options.seed), Counter[str]()
        num_calls = num_differing = 0
        with tqdm(total=options.kills, unit="kill") as bar:
            while killed.total() < options.kills:
                shutil.rmtree(work / "out", ignore_errors=True)
                now = _label(
                    [*command, "--out", str(work / "out")], cluster, draw, max_kills=options.kills - killed.total()
                )
                killed += now
                bar.update(now.total())
                num_calls += 1
                found = contents(work / "out")
                if found != expected:
                    num_differing += 1
                    names = sorted(name for name in found | expected if found.get(name) != expected.get(name))
                    tqdm.write(f"differing: {', '.join(names)}")
    counts = ", ".join(f"{killed[victim]} of a {victim}" for victim in VICTIMS)
    print(f"{killed.total()} kills ({counts}) while {num_calls} folders were labelled: {num_differing} of them differ")


def _make(work: Path) -> list[str]:
    """Make the clips and the model, and return the command without its output."""
    (work / "clips").mkdir()
    for number in range(NUM_CLIPS):
        make_video(work / "clips" / f"clip{number}.mp4", seconds=CLIP_SECONDS, seed=number)
    make_video(work / "clips" / "long.mp4", seconds=LONG_SECONDS, seed=NUM_CLIPS)
    model = make_model(work / "model", encoder=LITE0, size=(64, 64), bidirectional=False)
    return ["label", str(work / "clips"), "--model", str(model)]


def _label(command: list[str], cluster: Cluster, draw: random.Random, *, max_kills: int) -> "Counter[str]":
    """Label the folder, and kill meanwhile. Returns how often which kind of thing was killed."""
    killed, process = Counter[str](), _start(command)
    while killed.total() < max_kills:
        try:
            process.wait(draw.uniform(*PAUSE_SECONDS))
        except subprocess.TimeoutExpired:
            victim = draw.choice(VICTIMS)
            killed[victim] += _kill(victim, process, cluster, draw)
            if victim == "call":
                process = _start(command)
            tqdm.write(f"killed: {dict(killed)}")
        else:
            break
    _finish(process)
    return killed


def _kill(victim: str, process: "subprocess.Popen[bytes]", cluster: Cluster, draw: random.Random) -> bool:
    """Kill something; a node is replaced by a new one. Returns whether there was something to kill."""
    if victim == "call":
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    elif victim == "node":
        kill_node(cluster, draw)
    else:
        return kill_worker(draw)
    return True


def _start(command: list[str]) -> "subprocess.Popen[bytes]":
    with open(LOG, "wb") as log:
        return subprocess.Popen([sys.executable, "-c", CALL, *command], stdout=log, stderr=log, start_new_session=True)


def _finish(process: "subprocess.Popen[bytes]") -> None:
    if process.wait() != 0:
        raise RuntimeError(f"got exit code {process.returncode}, expected 0; it printed: {LOG.read_text()[-2000:]}")


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of each file of the output by name, without what a killed worker left of others."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name[0] != "."}


if __name__ == "__main__":
    main()
