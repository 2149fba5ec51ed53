"""Labels for many videos on a cluster: a video a job, one decode report of all.

While fewer videos wait than workers are idle, a long video is divided into ranges, which become jobs of their own.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import InputError
from pipeline.files import InputFile
from pipeline.fleet.cluster import MAX_LOSSES, Job, Lost, Pool, Share, connected
from pipeline.fleet.worker import FleetWorker, KeptRange, LostRanges, ModelSource, Order, code_fingerprint
from pipeline.labelling.folder import (
    MAX_JOBS,
    LabellingOutcome,
    Progress,
    Tally,
    check_outputs,
    find_namesakes,
    refuse_namesake,
)
from pipeline.labelling.model import Model
from pipeline.labelling.one_video import Outcome
from pipeline.labelling.outputs import OutputFolder, OutputOptions
from pipeline.labelling.ranges import RANGE_FRAMES, Division
from pipeline.labelling.report import DecodeRow, describe_model
from pipeline.labelling.stored_outputs import output_folder
from pipeline.stores.address import Address
from pipeline.text.wording import counted
from pipeline.video.types import DecodeReport

REPORT_SECONDS = 60.0  # between two additions to the decode report: a call that follows a killed one looks there


def label_on_cluster(
    paths: Sequence[InputFile],
    model: Model,
    source: ModelSource,
    out: Path | Address,
    *,
    address: str,
    outputs: OutputOptions,
    on_failure: Callable[[str], None],
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> LabellingOutcome:
    """Label files as `label_videos` does, on the machines of a cluster.

    A worker takes a GPU where the cluster has any and the device permits it, otherwise a CPU core.

    Args:
        paths: The files, which all machines see under these names.
        model: The labeller.
        source: Where workers load it from.
        out: The folder of the output, which all machines share, or in a store.
        address: See `connected`.
        outputs: The output that is made of each video.
        on_failure: It is called with one sentence for each file that cannot be labelled, or only in part, as they come.
        on_progress: It is called after each video. The numbers of frames are those of the videos that are done.
        on_note: See `label_videos`; also where the cluster has no room, or workers were lost.

    Raises:
        InputError: There is no such cluster, or its machines have other folders, models or versions.
    """
    check_outputs(outputs, model)
    folder = output_folder(out)
    labelling = Labelling(folder, Tally(on_failure, on_note), on_progress)
    due = labelling.find_due(paths, describe_model(model), outputs)
    try:
        if due and not (outputs.on_error == "stop" and labelling.outcome.num_failed):
            with connected(address) as machines:
                share = _share(machines, source.device)
                order = Order(
                    replace(source, device="cuda" if share.gpus else "cpu"),
                    model.fingerprint,
                    code_fingerprint(),
                    out,
                    outputs,
                    Path.cwd(),
                    share.num_parallel,
                    RANGE_FRAMES,
                )
                with closing(Pool(FleetWorker, order, share, on_note=on_note)) as pool:
                    labelling.run(due, pool, stops=outputs.on_error == "stop")
                    if pool.num_losses:
                        lost = counted(pool.num_losses, "worker")
                        on_note(f"{lost} of the cluster ended early; others did again what they had not finished")
    finally:
        labelling.report()
    return labelling.outcome


@dataclass
class _Long:
    """A long video that several workers encode.

    Attributes:
        division: Its division.
        sent: What stands for the division in jobs.
        ranges: The ranges that are encoded, by their numbers.
    """

    division: Division
    sent: Any
    ranges: dict[int, KeptRange] = field(default_factory=dict)

    @property
    def num_encoded(self) -> int:
        """The number of frames of these ranges."""
        return sum(stop - start for start, stop in map(self.division.bounds, self.ranges))

    @property
    def num_frames(self) -> int:
        """The number of frames of the video."""
        return len(self.division.index.pts_seconds)


class _Range(NamedTuple):
    """The key of the job that encodes a range of a long video."""

    path: InputFile
    number: int


class Labelling:
    """One call of `label_on_cluster`: videos become jobs, and results become the outcome of the call.

    Args:
        folder: Where the output goes.
        tally: What tells the caller.
        on_progress: See `label_on_cluster`.
    """

    def __init__(self, folder: OutputFolder, tally: Tally, on_progress: Callable[[Progress], None]) -> None:
        self._folder, self.tally, self._on_progress = folder, tally, on_progress
        self.outcome = LabellingOutcome(0, 0, 0, 0)
        self._long: dict[InputFile, _Long] = {}
        self._num_frames = 0  # of the videos that are done

    def find_due(self, paths: Sequence[InputFile], model: dict[str, Any], outputs: OutputOptions) -> list[InputFile]:
        """Return the files that have to be labelled, and count the others."""
        namesakes, finished = find_namesakes(paths), self._folder.find_finished(paths, model, outputs)
        due = []
        for path in paths:
            if other := namesakes.get(path):
                self._count(refuse_namesake(path, other))
            elif path in finished:
                self.outcome = self.outcome._replace(num_finished_before=self.outcome.num_finished_before + 1)
                self.tally.add(Outcome(finished[path].row))
            else:
                due.append(path)
        return due

    def run(self, due: Sequence[InputFile], pool: Pool, *, stops: bool) -> None:
        """Label files.

        Args:
            due: The files.
            pool: The workers.
            stops: Whether the first one that cannot be labelled ends the call.
        """
        num_done, reported = 0, time.monotonic()
        for job, result in pool.run(self.jobs(due)):
            outcome = self._outcome(job, result, pool)
            if outcome is not None:
                num_done += 1
                self._count(outcome)
            num_encoded = sum(each.num_encoded for each in self._long.values())
            num_frames = sum(each.num_frames for each in self._long.values())
            self._on_progress(
                Progress(self._num_frames + num_encoded, self._num_frames + num_frames, num_done, len(due))
            )
            if stops and self.outcome.num_failed:
                return
            if time.monotonic() - reported > REPORT_SECONDS:
                self.report()
                reported = time.monotonic()

    def report(self) -> None:
        """Add what became of videos to the decode report."""
        self._folder.write_decode_report(self.tally.rows)
        self.tally.rows.clear()

    def jobs(self, due: Iterable[InputFile]) -> Iterator[Job]:
        """Return the jobs that label files."""
        return (self._job(path, "label", method_with_room="divide_or_label") for path in due)

    def _job(self, path: InputFile, method: str, *more: Any, method_with_room: str = "") -> Job:
        return Job(path, method, (path, self._folder.for_one(path.stem), *more), method_with_room)

    def _count(self, outcome: Outcome) -> None:
        self.outcome = self.outcome.plus(outcome)
        self._num_frames += outcome.row.decoding.decoded_frames if outcome.row else 0
        self.tally.add(outcome)

    def _outcome(self, job: Job, result: Any, pool: Pool) -> Outcome | None:
        """Return what became of a video; None where it is not done yet, and add the jobs that follow."""
        path = job.key.path if isinstance(job.key, _Range) else job.key
        if isinstance(result, Division):
            self._long[path] = _Long(result, pool.put(result))
            self._encode(path, range(len(result.starts)), pool)
            return None
        if isinstance(result, LostRanges):
            self._encode(path, result.numbers, pool)
            return None
        if isinstance(job.key, _Range):
            return self._take_range(job.key, result, pool) if path in self._long else None
        self._long.pop(path, None)
        return _set_aside(path, result) if isinstance(result, Lost) else result

    def _encode(self, path: InputFile, numbers: Iterable[int], pool: Pool) -> None:
        """Have ranges of a long video encoded."""
        long = self._long[path]
        for number in numbers:
            long.ranges.pop(number, None)
        pool.add([Job(_Range(path, n), "encode", (path, long.sent, n), keeps=True) for n in numbers])

    def _take_range(self, key: _Range, result: Any, pool: Pool) -> Outcome | None:
        """Take a range; after the last one the video is labelled, and after one that failed as a whole."""
        long = self._long[key.path]
        if not isinstance(result, Lost):
            reports, kept = result
            if reports is not None:
                long.ranges[key.number] = KeptRange(reports, kept)
                if len(long.ranges) == len(long.division.starts):
                    ranges = [long.ranges[number] for number in range(len(long.ranges))]
                    pool.add([self._job(key.path, "join", long.sent, ranges)])
                return None
        pool.drop({_Range(key.path, number) for number in range(len(long.division.starts))})
        del self._long[key.path]
        if isinstance(result, Lost):
            return _set_aside(key.path, result)
        pool.add([self._job(key.path, "label")])
        return None


def _share(machines: Sequence[Mapping[str, float]], device: str) -> Share:
    """Return what a worker takes of a machine, for machines with these resources."""
    with_gpus = [machine for machine in machines if machine.get("GPU", 0) >= 1]
    if device == "cuda" and not with_gpus:
        raise InputError("--device cuda: the cluster has no GPU, expected at least one")
    if device == "cpu" or not with_gpus:
        return Share()
    cores = min(int(machine.get("CPU", 0) // int(machine["GPU"])) for machine in with_gpus)
    num_parallel = max(1, min(MAX_JOBS["cuda"], cores))  # a core decodes one video
    return Share(cpus=num_parallel, gpus=1, num_parallel=num_parallel)


def _set_aside(path: InputFile, lost: Lost) -> Outcome:
    problem = f"is set aside: {MAX_LOSSES} workers ended while they labelled it: is memory short? ({lost.reason})"
    row = DecodeRow(path.stem, "failed", DecodeReport.of_unreadable(problem))
    return Outcome(row, (f"{path}: {problem}",))
