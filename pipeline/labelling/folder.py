"""Labels for folders of videos: several in parallel, each written when it is finished; finished ones are left alone."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

from pipeline.annotations.exports import NOVELTY_FORMAT, TIMED_FORMATS
from pipeline.datasets.features import count_feature_frames
from pipeline.errors import InputError
from pipeline.files import InputFile
from pipeline.labelling.model import Model
from pipeline.labelling.one_video import OneVideo, Outcome, StoppedError
from pipeline.labelling.outputs import DEFAULTS, OutputOptions
from pipeline.labelling.reading import FEATURE_SUFFIX
from pipeline.labelling.report import DecodeRow, count_frames, describe_model, source_of
from pipeline.labelling.stored_outputs import output_folder, with_decode_report
from pipeline.stores.address import Address
from pipeline.video.decoder_process import DecoderProcesses
from pipeline.video.index import estimate_num_frames
from pipeline.video.open import open_scaled
from pipeline.video.types import OpenScaled, reads_in_part, scaling_reader

MAX_JOBS = {"cpu": 4, "cuda": 8}  # by device: each video takes memory, and a GPU encodes what several cores decode
SECONDS_TO_NOTICE = 0.5  # until a signal ends the call


class Progress(NamedTuple):
    """The progress of a call.

    Attributes:
        num_frames_done: The number of frames that are labelled.
        num_frames: The number of all frames; an estimate until each video was read.
        num_videos_done: The number of videos that are done.
        num_videos: The number of all videos.
    """

    num_frames_done: int
    num_frames: int
    num_videos_done: int
    num_videos: int


class LabellingOutcome(NamedTuple):
    """The outcome of a call, in numbers of videos.

    Attributes:
        num_labelled: Those that were labelled.
        num_partial: Those of them that were labelled in part only.
        num_finished_before: Those that were finished before the call.
        num_failed: Those that could not be labelled.
    """

    num_labelled: int
    num_partial: int
    num_finished_before: int
    num_failed: int

    def plus(self, video: Outcome) -> "LabellingOutcome":
        """Count another video, which was labelled or could not be."""
        if not video.is_labelled:
            return self._replace(num_failed=self.num_failed + 1)
        num_partial = self.num_partial + bool(video.complaints)
        return self._replace(num_labelled=self.num_labelled + 1, num_partial=num_partial)


class Tally:
    """Tells the caller what became of videos.

    Args:
        on_failure: See `label_videos`.
        on_note: See `label_videos`.

    Attributes:
        rows: The rows of the decode report.
    """

    def __init__(self, on_failure: Callable[[str], None], on_note: Callable[[str], None]) -> None:
        self.rows: list[DecodeRow] = []
        self._on_failure, self._on_note = on_failure, on_note

    def add(self, outcome: Outcome) -> None:
        """Add what became of the next video."""
        self.rows += [outcome.row] if outcome.row else []
        for note in outcome.notes:
            self._on_note(note)
        if outcome.complaints:
            self._on_failure("\n".join(outcome.complaints))


def default_num_parallel(model: Model) -> int:
    """Return how many videos are labelled in parallel by default: one per CPU core, up to MAX_JOBS."""
    return min(os.cpu_count() or 1, MAX_JOBS[model.device.type])


def needs_decoder_processes(model: Model) -> bool:
    """Return whether videos are to be decoded in processes, as a GPU needs more frames than threads can pass on.

    Those that nvdec decodes are on the GPU already.
    """
    return model.device.type == "cuda" and model.reader != "nvdec"


def check_outputs(outputs: OutputOptions, model: Model) -> None:
    """Check that a model can make the output that is asked for.

    Args:
        outputs: The output.
        model: The labeller.

    Raises:
        InputError: The output needs pixels or times, which a model of ready features does not have; or the novelty,
            which an older model does not know; or damaged videos are to be labelled in part by a reader that does not
            report which frames it lost.
    """
    asked = ["--overlay"] * outputs.overlay + [f"--formats {name}" for name in outputs.formats if name in TIMED_FORMATS]
    if asked and not model.sees_videos:
        raise InputError(f"the model was trained on ready features: {', '.join(asked)}: needs one that sees videos")
    if NOVELTY_FORMAT in outputs.formats and model.spec.novelty is None:
        raise InputError(f"--formats {NOVELTY_FORMAT}: the model does not know its training frames: train it again")
    name = scaling_reader(model.reader)
    if outputs.on_error == "partial" and not reads_in_part(name):
        raise InputError(
            f"--on-error partial: got --reader {name}, which cannot tell the frames that it lost; expected --reader"
            " auto or pyav"
        )


def label_videos(
    paths: Sequence[InputFile],
    model: Model,
    out: Path | Address,
    *,
    outputs: OutputOptions = DEFAULTS,
    num_parallel: int = 1,
    decoder_processes: bool = False,
    on_failure: Callable[[str], None],
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> LabellingOutcome:
    """Label files and write the output of each, with a report; finished ones are left alone.

    In the end decode_report.csv has a row for each video.

    Args:
        paths: The files.
        model: The labeller.
        out: The folder of the output, on this machine or in a store.
        outputs: The output that is made of each video.
        num_parallel: The number of videos that are labelled in parallel.
        decoder_processes: Whether each video is decoded in a process of its own.
        on_failure: It is called with one sentence for each file that cannot be labelled, or only in part, in the order
            of `paths`. What an earlier call wrote for the file stays.
        on_progress: It is called by the threads that label the videos, one after the other.
        on_note: It is called with one sentence where output of an earlier call was replaced by that of another video,
            or was removed, in the order of `paths`.
    """
    folder = output_folder(out)
    check_outputs(outputs, model)
    videos = _Videos(OneVideo(model, folder, outputs), on_progress)
    tally = Tally(on_failure, on_note)
    try:
        for outcome in videos.label(paths, num_parallel, decoder_processes=decoder_processes):
            tally.add(outcome)
    finally:
        folder.write_decode_report(tally.rows)
    return videos.outcome


def track_call(model: Model, paths: Sequence[InputFile], outcome: LabellingOutcome, out: Path | Address) -> str:
    """Log a call that ended as a run in MLflow.

    Args:
        model: The labeller.
        paths: The files of the call.
        outcome: The outcome of the call.
        out: The folder of the output, whose decode report is logged.

    Returns:
        The id of the run.
    """
    from pipeline.tracking.store import log_labelling  # mlflow takes seconds to import

    with with_decode_report(out) as path:
        counts = outcome._asdict() | (count_frames(path, {p.stem for p in paths}) if path.exists() else {})
        name = out.folder.path.name if isinstance(out, Address) else out.resolve().name
        return log_labelling(source_of(model)._asdict(), counts, path, out=name)


def find_namesakes(paths: Sequence[InputFile]) -> dict[InputFile, InputFile]:
    """Find the files whose labels would replace those of an earlier one with the same stem, with that one."""
    first: dict[str, InputFile] = {}
    return {path: first[path.stem] for path in paths if first.setdefault(path.stem, path) != path}


def refuse_namesake(path: InputFile, other: InputFile) -> Outcome:
    """Return what becomes of a file whose labels would replace those of another one."""
    return Outcome(None, (f"{path}: its labels would replace those of {other}: label it into another folder",))


def _result(labelled: Future[Outcome]) -> Outcome:
    while not wait([labelled], SECONDS_TO_NOTICE).done:
        pass  # a signal that another thread receives does not end a wait of this one
    try:
        return labelled.result()
    except StoppedError as stopped:
        raise stopped.__cause__ or stopped from None


class _Videos:
    """One call of `label_videos`."""

    def __init__(self, one: OneVideo, on_progress: Callable[[Progress], None]) -> None:
        self._one = one
        self._on_progress = on_progress
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._num_frames: dict[InputFile, int] = {}  # of each video that has to be labelled
        self._num_done: dict[InputFile, int] = {}
        self._progress = Progress(0, 0, 0, 0)
        self.outcome = LabellingOutcome(0, 0, 0, 0)

    def label(self, paths: Sequence[InputFile], num_parallel: int, *, decoder_processes: bool) -> Iterator[Outcome]:
        """Yield what became of each file, in order."""
        namesakes = find_namesakes(paths)
        due: dict[InputFile, Future[Outcome]] = {}
        folder, outputs, model = self._one.folder, self._one.outputs, describe_model(self._one.model)
        finished = folder.find_finished(paths, model, outputs)
        with DecoderProcesses(num_parallel) as processes, ThreadPoolExecutor(num_parallel) as threads:
            opening = processes.open_scaled if decoder_processes else open_scaled
            try:
                for path in paths:
                    if path not in namesakes and path not in finished:
                        self._expect(path)
                        due[path] = threads.submit(self._label_one, path, opening)
                for path in paths:
                    if path in namesakes:
                        self._count(num_failed=1)
                        yield refuse_namesake(path, namesakes[path])
                    elif path in finished:
                        self._count(num_finished_before=1)
                        yield Outcome(finished[path].row)
                    else:
                        yield _result(due.pop(path))
                    if outputs.on_error == "stop" and self.outcome.num_failed:
                        return
            finally:  # also where the caller ends early, or is interrupted
                self._stopped.set()
                threads.shutdown(cancel_futures=True)

    def _label_one(self, path: InputFile, opening: OpenScaled) -> Outcome:
        outcome = self._one.label(path, opening=opening, on_progress=lambda done: self._advance(path, done))
        with self._lock:
            self.outcome = self.outcome.plus(outcome)
            num_done = self._num_done.get(path, 0)
            self._update(path, num_done, num_done, num_videos_done=self._progress.num_videos_done + 1)
        return outcome

    def _expect(self, path: InputFile) -> None:
        """Note that a video has to be labelled."""
        num_frames = _estimate_num_frames(path)
        with self._lock:
            self._num_frames[path] = num_frames
            num_videos = self._progress.num_videos + 1
            num_all = self._progress.num_frames + num_frames
            self._progress = self._progress._replace(num_frames=num_all, num_videos=num_videos)

    def _advance(self, path: InputFile, num_done: int) -> None:
        if self._stopped.is_set():
            raise StoppedError
        with self._lock:
            self._update(path, num_done, max(num_done, self._num_frames[path]))

    def _update(self, path: InputFile, num_done: int, num_frames: int, **others: int) -> None:
        """Change the numbers of frames of a video, and show the progress."""
        before = self._progress
        self._progress = before._replace(
            num_frames_done=before.num_frames_done + num_done - self._num_done.get(path, 0),
            num_frames=before.num_frames + num_frames - self._num_frames[path],
            **others,
        )
        self._num_done[path], self._num_frames[path] = num_done, num_frames
        try:
            self._on_progress(self._progress)
        except Exception as error:  # of the caller, not of the video
            raise StoppedError from error

    def _count(self, **counts: int) -> None:
        with self._lock:
            changed = {name: getattr(self.outcome, name) + count for name, count in counts.items()}
            self.outcome = self.outcome._replace(**changed)


def _estimate_num_frames(path: InputFile) -> int:
    if not isinstance(path, Path):
        return 0  # the numbers of objects in a store would cost requests before the first video is labelled
    try:
        return _count_frames(path)
    except Exception:  # reported when the file is read
        return 0


def _count_frames(path: Path) -> int:
    if path.suffix.lower() != FEATURE_SUFFIX:
        return estimate_num_frames(path)
    return count_feature_frames(path)
