"""Labels for many videos on a cluster: a video a job, one decode report of all."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.errors import InputError
from pipeline.files import InputFile
from pipeline.fleet.cluster import MAX_LOSSES, Job, Lost, Pool, Share, connected
from pipeline.fleet.worker import FleetWorker, ModelSource, Order, code_fingerprint
from pipeline.labelling.folder import (
    MAX_JOBS,
    LabellingOutcome,
    Progress,
    check_outputs,
    find_namesakes,
    refuse_namesake,
)
from pipeline.labelling.model import Model
from pipeline.labelling.one_video import Outcome
from pipeline.labelling.outputs import OutputOptions
from pipeline.labelling.report import DecodeRow, describe_model
from pipeline.labelling.stored_outputs import output_folder
from pipeline.stores.address import Address
from pipeline.text.wording import counted
from pipeline.video.types import DecodeReport


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
    folder, described = output_folder(out), describe_model(model)
    namesakes = find_namesakes(paths)
    due = []
    tally = _Tally(on_failure, on_note)
    for path in paths:
        if other := namesakes.get(path):
            tally.add(refuse_namesake(path, other))
        elif finished := folder.find_finished(path, described, outputs):
            tally.add_finished(finished.row)
        else:
            due.append(path)
    try:
        if due and not (outputs.on_error == "stop" and tally.outcome.num_failed):
            with connected(address) as resources:
                share = _share(resources, source.device)
                order = Order(
                    replace(source, device="cuda" if share.gpus else "cpu"),
                    model.fingerprint,
                    code_fingerprint(),
                    out,
                    outputs,
                    Path.cwd(),
                    share.num_parallel,
                )
                pool = Pool(FleetWorker, order, share, on_note=on_note)
                jobs = (Job(path, "label", (path, folder.for_one(path.stem))) for path in due)
                for num_done, (job, result) in enumerate(pool.run(jobs), start=1):
                    tally.add(_set_aside(job.key, result) if isinstance(result, Lost) else result)
                    on_progress(Progress(tally.num_frames, tally.num_frames, num_done, len(due)))
                    if outputs.on_error == "stop" and tally.outcome.num_failed:
                        break
                pool.close()
                if pool.num_losses:
                    lost = counted(pool.num_losses, "worker")
                    on_note(f"{lost} of the cluster ended early; other workers did again what they had not finished")
    finally:
        folder.write_decode_report(tally.rows)
    return tally.outcome


class _Tally:
    """Counts what became of videos, and reports it."""

    def __init__(self, on_failure: Callable[[str], None], on_note: Callable[[str], None]) -> None:
        self._on_failure, self._on_note = on_failure, on_note
        self.outcome = LabellingOutcome(0, 0, 0, 0)
        self.rows: list[DecodeRow] = []
        self.num_frames = 0

    def add(self, outcome: Outcome) -> None:
        """Add a video that was labelled, or could not be."""
        self.outcome = self.outcome.plus(outcome)
        if outcome.row:
            self.rows.append(outcome.row)
            self.num_frames += outcome.row.decoding.decoded_frames
        for note in outcome.notes:
            self._on_note(note)
        if outcome.complaints:
            self._on_failure("\n".join(outcome.complaints))

    def add_finished(self, row: DecodeRow | None) -> None:
        """Add a video that an earlier call finished."""
        self.outcome = self.outcome._replace(num_finished_before=self.outcome.num_finished_before + 1)
        self.rows += [row] if row else []


def _share(resources: dict[str, float], device: str) -> Share:
    """Return what a worker takes of a cluster."""
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    if device == "cuda" and not gpus:
        raise InputError("--device cuda: the cluster has no GPU, expected at least one")
    if device == "cpu" or not gpus:
        return Share()
    num_parallel = max(1, min(MAX_JOBS["cuda"], cpus // gpus))  # a core decodes one video
    return Share(cpus=num_parallel, gpus=1, num_parallel=num_parallel)


def _set_aside(path: InputFile, lost: Lost) -> Outcome:
    problem = f"is set aside: {MAX_LOSSES} workers ended while they labelled it: is memory short? ({lost.reason})"
    row = DecodeRow(path.stem, "failed", DecodeReport.of_unreadable(problem))
    return Outcome(row, (f"{path}: {problem}",))
