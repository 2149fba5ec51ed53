"""What labelling on a cluster costs beside labelling: time for each video, memory of the caller, and finding work.

docs/results/benchmarks/fleet.md has the results.

    python benchmarks/fleet.py

A cluster with as many cores as this machine runs on it, and a local S3 server (moto). The model is EfficientNet-Lite0
at 224x224 with a GRU of random weights.

overhead     of many short videos on one worker that is ready: the time between the start of the first and the end of
             the last, without what the worker says that it labelled, for each video
throughput   of videos of 10 seconds: frames per second of a worker on each core that are ready, by those of one process
             with as many threads; the two take turns
finding      of NUM_OBJECTS videos in the store, all of them finished (four objects each): the seconds until a call
             knows that nothing is left, and the most memory of its process. The call is a process of its own. For
             every page of a listing, moto sorts all names, and reads the date of each object from a text: here it is
             made to remember both.
jobs         the most memory of such a process when none of the videos is finished, and all wait for a worker
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # where clusters and stores are started

import torch
from botocore.utils import parse_to_aware_datetime
from kills import make_video
from label import make_model
from made_clusters import serving_cluster
from made_stores import BUCKET, address, serving_store
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import FakeBucket, FakeKey, S3Backend, s3_backends

from pipeline.annotations.layouts import DECODE_REPORT
from pipeline.fleet.cluster import Job, Pool, Share, connected
from pipeline.fleet.label import Labelling
from pipeline.fleet.worker import FleetWorker, ModelSource, Order, code_fingerprint
from pipeline.labelling.folder import Tally, label_videos
from pipeline.labelling.inputs import find_everywhere
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.one_video import Outcome
from pipeline.labelling.outputs import LocalFolder, OutputOptions
from pipeline.labelling.ranges import RANGE_FRAMES
from pipeline.labelling.report import DecodeRow, describe_model, describe_video, write_decode_report
from pipeline.labelling.stored_outputs import FINISHED, mark_of, output_folder
from pipeline.stores.objects import StoredFile
from pipeline.video.types import DecodeReport

NUM_SHORT, SHORT_SECONDS = 200, 0.4
NUM_CLIPS, CLIP_SECONDS = 8, 10
NUM_OBJECTS = 100_000
ROUNDS = 3


class TimedWorker(FleetWorker):
    """A worker that also says how many seconds it labelled."""

    def timed(self, path: Path, folder: LocalFolder) -> tuple[Outcome, float]:
        """Label a video."""
        start = time.perf_counter()
        return self.label(path, folder), time.perf_counter() - start


def main() -> None:
    """Print all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=NUM_OBJECTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=("cluster", "store"))
    parser.add_argument("--caller", metavar="MODEL", help=argparse.SUPPRESS)  # how this program calls itself
    options = parser.parse_args()
    if options.caller:
        print(json.dumps(call(options.caller)))
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = make_model(Path(folder) / "model", bidirectional=False)
        if options.only != "store":
            measure_cluster(Path(folder), checkpoint, rounds=options.rounds)
        if options.only != "cluster":
            measure_store(Path(folder), checkpoint, num_objects=options.objects)


def measure_cluster(work: Path, checkpoint: Path, *, rounds: int) -> None:
    """Print the overhead and the throughput."""
    cores = os.cpu_count() or 1
    clips, short = (
        make_videos(work / "clips", NUM_CLIPS, CLIP_SECONDS),
        make_videos(work / "short", NUM_SHORT, SHORT_SECONDS),
    )
    torch.set_num_threads(cores)
    model = load_model(str(checkpoint), device="cpu")
    with serving_cluster(num_nodes=1, cores=cores) as cluster, connected(cluster.address):
        with pool_of(work, checkpoint, model, cores) as pool:
            label_on(pool, clips, work)  # until all workers are ready
            ratios = []
            for number in range(rounds):
                alone = measure_alone(clips, model, work / f"alone{number}", cores)
                ratios.append(alone / label_on(pool, clips, work)[0])
        with pool_of(work, checkpoint, model, 1) as pool:
            label_on(pool, short[:1], work)
            overheads = []
            for _ in range(rounds):
                wall, labelling = label_on(pool, short, work)
                overheads.append((wall - labelling) / len(short))
                each = labelling / len(short)
    print(f"overhead     {1000 * statistics.median(overheads):.1f} ms a video, {listed(overheads, 1000)}", end=" ")
    print(f"beside {1000 * each:.0f} ms of labelling")
    print(f"throughput   {statistics.median(ratios):.2f} of one process ({listed(ratios)})", flush=True)


def listed(values: Sequence[float], factor: float = 1) -> str:
    """List the values of the rounds."""
    return "rounds " + ", ".join(f"{factor * value:.2f}" for value in values)


def make_videos(folder: Path, count: int, seconds: float) -> list[Path]:
    """Make videos, which are links to a few."""
    folder.mkdir()
    paths = [folder / f"clip{number}.mp4" for number in range(count)]
    for number, path in enumerate(paths):
        if number < 4:
            make_video(path, seconds=seconds, seed=number)
        else:
            os.link(paths[number % 4], path)
    return paths


def measure_alone(videos: Sequence[Path], model: Model, out: Path, cores: int) -> float:
    """Return the seconds of one process."""
    out.mkdir()
    start = time.perf_counter()
    label_videos(videos, model, out, num_parallel=cores, on_failure=fail)
    return time.perf_counter() - start


def fail(sentence: str) -> None:
    """End the benchmark, as a video was not labelled."""
    raise RuntimeError(sentence)


@contextmanager
def pool_of(work: Path, checkpoint: Path, model: Model, num_workers: int) -> Iterator[Pool]:
    """Yield workers of a core each; fewer than there are cores take several."""
    source = ModelSource((str(checkpoint),), "cpu", "full", None, "auto", None)
    order = Order(source, model.fingerprint, code_fingerprint(), work, OutputOptions(), Path.cwd(), 1, RANGE_FRAMES)
    share = Share(cpus=(os.cpu_count() or 1) // num_workers)
    with closing(Pool(TimedWorker, order, share, on_note=print)) as pool:
        yield pool


def label_on(pool: Pool, videos: Sequence[Path], work: Path) -> tuple[float, float]:
    """Label videos, and return the seconds that this took, and those that the workers labelled."""
    out = Path(tempfile.mkdtemp(dir=work))
    start = time.perf_counter()
    labelling = 0.0
    for _, (outcome, seconds) in pool.run(Job(path, "timed", (path, LocalFolder(out))) for path in videos):
        if not outcome.is_labelled:
            fail(str(outcome.complaints))
        labelling += seconds
    return time.perf_counter() - start, labelling


def measure_store(work: Path, checkpoint: Path, *, num_objects: int) -> None:
    """Print what finding takes, and the memory of callers."""
    with serving_store() as store, listing_quickly():
        bucket = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for number in range(num_objects):
            bucket.put_object(BUCKET, f"videos/clip{number:06}.mp4", b"")
        found = called(checkpoint)
        print(f"jobs         {describe(found)}, {found['due']} videos wait", flush=True)
        finish_all(work, load_model(str(checkpoint), device="cpu"), bucket)
        before = len(store.requests)
        found = called(checkpoint)
        print(f"finding      {describe(found)}, {len(store.requests) - before} requests, {found['due']} videos wait")


def finish_all(work: Path, model: Model, bucket: S3Backend) -> None:
    """Put what a call writes for each video, empty but for the decode report."""
    described, outputs, rows = describe_model(model), OutputOptions(), []
    for path in find_everywhere([address("videos/")], model):
        assert isinstance(path, StoredFile)
        files = outputs.files(path)
        mark = mark_of(path.stem, describe_video(path, path.listed), described, files, FINISHED)
        for name in (*files, f"{path.stem}.report.json", mark):
            bucket.put_object(BUCKET, f"labels/{name}", b"")
        rows.append(DecodeRow(path.stem, "labelled", DecodeReport(250, 250, 0, 0, False, 0, ("640x360",), ())))
    write_decode_report(work, rows)
    bucket.put_object(BUCKET, f"labels/{DECODE_REPORT}", (work / DECODE_REPORT).read_bytes())


@contextmanager
def listing_quickly() -> Iterator[None]:
    """Have moto sort the names of a folder once, and read each date once, and not for every page of a listing."""
    remembered: dict[tuple[str, int], list[str]] = {}

    def listing(
        self: S3Backend,
        bucket: FakeBucket,
        prefix: str,
        delimiter: str | None,
        continuation_token: str | None,
        start_after: str | None,
        max_keys: int,
    ) -> tuple[list[FakeKey], bool, str | None]:
        key = (prefix, len(bucket.keys))
        if key not in remembered:
            remembered[key] = sorted(name for name in bucket.keys if name.startswith(prefix))
        names = remembered[key]
        start = bisect_right(names, continuation_token or "")
        page = names[start : start + max_keys]
        is_more = start + max_keys < len(names)
        return [bucket.keys[name] for name in page], is_more, page[-1] if is_more else None

    reading_dates = patch("moto.core.serialize.parse_to_aware_datetime", cache(parse_to_aware_datetime))
    with patch.object(S3Backend, "list_objects_v2", listing), reading_dates:
        yield


def called(checkpoint: Path) -> dict[str, float]:
    """Return what `call` measures in a process of its own."""
    command = [sys.executable, __file__, "--caller", str(checkpoint)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])


def call(checkpoint: str) -> dict[str, float]:
    """Do what a call does before its first job, and measure it."""
    model = load_model(checkpoint, device="cpu", opens_encoders=False)
    before = peak_megabytes()
    start, processor = time.perf_counter(), time.process_time()
    outputs = OutputOptions()
    paths = find_everywhere([address("videos/")], model)
    labelling = Labelling(output_folder(address("labels")), Tally(fail, fail), lambda progress: None)
    jobs = list(labelling.jobs(labelling.find_due(paths, describe_model(model), outputs)))
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,
        "megabytes": peak_megabytes(),
        "megabytes_before": before,
        "due": len(jobs),
    }


def peak_megabytes() -> float:
    """Return the most memory that this process had; `getrusage` would count that of the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def describe(found: dict[str, float]) -> str:
    """Describe what a call took."""
    return (
        f"{found['seconds']:.1f} s, {found['processor_seconds']:.1f} s of its processor; {found['megabytes']:.0f} MB,"
        f" {found['megabytes_before']:.0f} MB of them with the model alone"
    )


if __name__ == "__main__":
    main()
