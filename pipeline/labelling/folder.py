"""Labels for folders of videos: several at once, each written when it is finished, what is finished left alone."""

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from pipeline.annotations.exports import FORMATS, TIMED_FORMATS, Predicted
from pipeline.annotations.layouts import DECODE_REPORT
from pipeline.drawing.overlay import write_overlay
from pipeline.errors import InputError, describe_os_error
from pipeline.files import OVERLAY, find_files
from pipeline.labelling.model import Model
from pipeline.labelling.report import (
    REPORT,
    DecodeRow,
    LabelReport,
    count_frames,
    describe_model,
    describe_video,
    source_of,
    write_decode_report,
)
from pipeline.labelling.video import FEATURE_SUFFIX, VideoLabels, label_video
from pipeline.video.decoder_process import DecoderProcesses
from pipeline.video.index import estimate_num_frames
from pipeline.video.open import open_scaled
from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.types import VIDEO_SUFFIXES, DamagedVideoError, OpenScaled, scaling_reader

MAX_JOBS = {"cpu": 4, "cuda": 8}  # by device: each takes memory, and a GPU encodes what several cores decode
OnError = Literal["skip", "stop", "partial"]


@dataclass(frozen=True)
class OutputOptions:
    """What is to be made of each video.

    formats   some of `FORMATS`
    overlay   also the video with its labels drawn on it
    on_error  of a damaged video: "skip" leaves it out, "partial" labels the frames that can be decoded, "stop" ends the
              call at the first one
    overwrite  label also what is finished
    """

    formats: tuple[str, ...] = ("csv",)
    overlay: bool = False
    on_error: OnError = "skip"
    overwrite: bool = False

    def files(self, path: Path) -> tuple[str, ...]:
        """The names of what is written for a video."""
        suffixes = [suffix for name in self.formats for suffix in FORMATS[name]] + [OVERLAY] * self.overlay
        return tuple(f"{path.stem}{suffix}" for suffix in suffixes)


class Progress(NamedTuple):
    """How far a call is; num_frames is an estimate until each video was read."""

    num_frames_done: int
    num_frames: int
    num_videos_done: int
    num_videos: int


class LabellingOutcome(NamedTuple):
    """How many videos were labelled, how many of these in part only; were finished before; could not be labelled."""

    num_labelled: int
    num_partial: int
    num_finished_before: int
    num_failed: int


def find_inputs(paths: Sequence[Path], model: Model) -> list[Path]:
    """The files to label, each once: those named, and those in the folders named that the model could read, sorted.

    Overlays that an earlier call wrote are not found in a folder. Raises InputError where a folder holds nothing.
    """
    if model.runtime:
        return find_files(paths, VIDEO_SUFFIXES, kind="video")
    return find_files(paths, {FEATURE_SUFFIX}, kind=f"{FEATURE_SUFFIX} file, which is what the model was trained on")


def default_num_parallel(model: Model) -> int:
    """How many videos are labelled at the same time where nobody says so: one per CPU core, up to MAX_JOBS."""
    return min(os.cpu_count() or 1, MAX_JOBS[model.device.type])


def check_outputs(outputs: OutputOptions, model: Model) -> None:
    """Raise InputError where a model of ready features, which have no pixels and no times, is asked for them, or where
    damaged videos are to be labelled in part by a reader that cannot tell which frames it lost."""
    asked = ["--overlay"] * outputs.overlay + [f"--formats {name}" for name in outputs.formats if name in TIMED_FORMATS]
    if asked and model.runtime is None:
        raise InputError(f"the model was trained on ready features: {', '.join(asked)}: needs one that sees videos")
    name = scaling_reader(model.reader)
    if outputs.on_error == "partial" and name != "pyav":
        raise InputError(
            f"--on-error partial: got --reader {name}, which cannot tell the frames that it lost; expected --reader"
            " auto or pyav"
        )


def label_videos(
    paths: Sequence[Path],
    model: Model,
    out: Path,
    *,
    outputs: OutputOptions = OutputOptions(),
    num_parallel: int = 1,
    decoder_processes: bool = False,
    on_failure: Callable[[str], None],
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> LabellingOutcome:
    """Label files and write what is wanted of each into `out`, with a report; those that are finished are left alone.

    `on_failure` is called with one sentence for each file that cannot be labelled, or only in part, in the order of
    `paths`. What an earlier call wrote for it stays. In the end decode_report.csv has a row for each video.
    `num_parallel` videos are labelled at the same time, each decoded in a process of its own where
    `decoder_processes` is set; their threads call `on_progress`, one after the other.
    """
    _sweep(out)
    check_outputs(outputs, model)
    videos = _Videos(model, out, outputs, on_progress)
    rows: list[DecodeRow] = []
    try:
        for row, message in videos.label(paths, num_parallel, decoder_processes=decoder_processes):
            rows += [row] if row else []
            if message:
                on_failure(message)
    finally:
        write_decode_report(out, rows)
    return videos.outcome


def track_call(model: Model, paths: Sequence[Path], outcome: LabellingOutcome, out: Path) -> str:
    """Log a call for `paths` that ended, with the decode report of `out`, as a run in MLflow. Returns its id."""
    from pipeline.tracking.store import log_labelling  # mlflow takes seconds to import

    path = out / DECODE_REPORT
    counts = outcome._asdict() | (count_frames(path, {p.stem for p in paths}) if path.exists() else {})
    return log_labelling(source_of(model)._asdict(), counts, path)


class _Stopped(Exception):
    """Raised on the way through a video when the call is to end."""


class _Videos:
    """One call of `label_videos`."""

    def __init__(
        self, model: Model, out: Path, outputs: OutputOptions, on_progress: Callable[[Progress], None]
    ) -> None:
        self._model, self._out, self._outputs, self._on_progress = model, out, outputs, on_progress
        self._described_model = describe_model(model)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._num_frames: dict[Path, int] = {}  # of each video that is due
        self._num_done: dict[Path, int] = {}
        self._num_videos_done = 0
        self.outcome = LabellingOutcome(0, 0, 0, 0)

    def label(
        self, paths: Sequence[Path], num_parallel: int, *, decoder_processes: bool
    ) -> Iterator[tuple[DecodeRow | None, str]]:
        """Yield the row and the complaint ("" for none) of each file, in order."""
        first: dict[str, Path] = {}
        due: dict[Path, Future[tuple[DecodeRow | None, str]]] = {}
        finished = {path: report for path in paths if (report := self._finished(path))}
        with DecoderProcesses(num_parallel) as processes, ThreadPoolExecutor(num_parallel) as threads:
            opening = processes.open_scaled if decoder_processes else open_scaled
            try:
                for path in paths:
                    first.setdefault(path.stem, path)
                    if first[path.stem] == path and path not in finished:
                        self._num_frames[path] = _estimate_num_frames(path)
                        due[path] = threads.submit(self._label_one, path, opening)
                for path in paths:
                    if first[path.stem] != path:
                        self._count(num_failed=1)
                        other = first[path.stem]
                        yield None, f"{path}: its labels would replace those of {other}: label it into another folder"
                    elif path in finished:
                        self._count(num_finished_before=1)
                        yield _row(path, finished[path]), ""
                    else:
                        yield due[path].result()
                    if self._outputs.on_error == "stop" and self.outcome.num_failed:
                        return
            finally:  # also where the caller ends early, or is interrupted
                self._stopped.set()
                threads.shutdown(cancel_futures=True)

    def _finished(self, path: Path) -> LabelReport | None:
        """The report of an earlier call, where this one would do the very same."""
        report = LabelReport.read(self._out / f"{path.stem}{REPORT}")
        if report is None or self._outputs.overwrite or not path.is_file():
            return None
        files = self._outputs.files(path)
        same = (report.video, report.model, report.files) == (describe_video(path), self._described_model, files)
        allowed = not report.is_partial or self._outputs.on_error == "partial"
        return report if same and allowed and all((self._out / name).exists() for name in files) else None

    def _label_one(self, path: Path, opening: OpenScaled) -> tuple[DecodeRow | None, str]:
        try:
            report = self._write(path, opening)
        except DamagedVideoError as error:
            self._count(path, num_failed=1)
            return DecodeRow(path.stem, "failed", error.report), str(error)
        except InputError as error:
            self._count(path, num_failed=1)
            return None, str(error)
        except OSError as error:  # no permission to read it, or no space left to write
            self._count(path, num_failed=1)
            return None, f"{path}: could not be labelled: {describe_os_error(error)}"
        self._count(path, num_labelled=1, num_partial=int(report.is_partial))
        complaint = ""
        if report.is_partial and report.decoding:
            complaint = f"{path}: labelled in part: {'; '.join(report.decoding.problems)}"
        return _row(path, report), complaint

    def _write(self, path: Path, opening: OpenScaled) -> LabelReport:
        """Label a video and write all that is wanted, and the report; they take the place of an earlier call's."""
        video = describe_video(path) if path.is_file() else {}
        result = label_video(
            path,
            self._model,
            partial=self._outputs.on_error == "partial",
            on_progress=lambda done: self._advance(path, done),
            opening=opening,
        )
        report_path = self._out / f"{path.stem}{REPORT}"
        with _staging(self._out) as staging:
            self._write_labels(staging, path, result)
            files = self._outputs.files(path)
            report = LabelReport(video, self._described_model, files, len(result.labels), result.report)
            before = LabelReport.read(report_path)
            report_path.unlink(missing_ok=True)  # from here on until it is written anew the video is not finished
            for name in files:
                (staging / name).replace(self._out / name)
        for name in set(before.files if before else ()) - set(files):
            (self._out / name).unlink(missing_ok=True)
        report.write(report_path)
        return report

    def _write_labels(self, folder: Path, path: Path, result: VideoLabels) -> None:
        """Write what is wanted of the labels of the video at `path` into a folder."""
        labels, probabilities = result.labels, result.probabilities
        label_space = self._model.spec.label_space
        predicted = Predicted(labels, probabilities, result.pts_seconds, result.frame_seconds, label_space)
        for name in self._outputs.formats:
            for suffix, write in FORMATS[name].items():
                write(folder / f"{path.stem}{suffix}", predicted, source_of(self._model))
        if not self._outputs.overlay:
            return
        assert result.index is not None  # or `check_outputs` had refused
        with PyAVReader(result.index) as video:
            write_overlay(
                video,
                folder / f"{path.stem}{OVERLAY}",
                labels=labels,
                probabilities=probabilities,
                label_space=label_space,
                on_frames=lambda num_drawn: self._check_stopped(),
            )

    def _check_stopped(self) -> None:
        if self._stopped.is_set():
            raise _Stopped

    def _advance(self, path: Path, num_done: int) -> None:
        self._check_stopped()
        with self._lock:
            self._num_done[path] = num_done
            self._num_frames[path] = max(num_done, self._num_frames[path])
            self._on_progress(self._progress())

    def _count(self, path: Path | None = None, **counts: int) -> None:
        with self._lock:
            changed = {name: getattr(self.outcome, name) + count for name, count in counts.items()}
            self.outcome = self.outcome._replace(**changed)
            if path is not None:
                self._num_videos_done += 1
                self._num_frames[path] = self._num_done.setdefault(path, 0)
                self._on_progress(self._progress())

    def _progress(self) -> Progress:
        num_done, num_frames = sum(self._num_done.values()), sum(self._num_frames.values())
        return Progress(num_done, num_frames, self._num_videos_done, len(self._num_frames))


def _estimate_num_frames(path: Path) -> int:
    if path.suffix.lower() != FEATURE_SUFFIX:
        return estimate_num_frames(path)
    try:
        return len(np.load(path, mmap_mode="r"))
    except (OSError, ValueError, TypeError):  # told when it is read
        return 0


def _row(path: Path, report: LabelReport) -> DecodeRow | None:
    if report.decoding is None:
        return None
    return DecodeRow(path.stem, "partly" if report.is_partial else "labelled", report.decoding)


STAGING = f".labelling.{socket.gethostname()}."  # and the process: a name that tells whether somebody still works there


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A folder in `out` for files that are being written."""
    folder = out / f"{STAGING}{os.getpid()}.{threading.get_ident()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _sweep(out: Path) -> None:
    """Remove what calls left behind that were killed on this machine."""
    for folder in out.glob(f"{STAGING}*"):
        process = folder.name.removeprefix(STAGING).split(".")[0]
        if process.isdigit() and not _is_alive(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
