"""Labels for folders of videos: several in parallel, each written when it is finished; finished ones are left alone."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from pipeline.annotations.exports import FORMATS, TIMED_FORMATS, Predicted
from pipeline.annotations.layouts import DECODE_REPORT
from pipeline.datasets.features import count_feature_frames
from pipeline.drawing.overlay import write_overlay
from pipeline.errors import InputError, describe_failure, name_failure
from pipeline.files import OVERLAY, check_is_no_folder, find_files, read_unchanged
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
from pipeline.labelling.staging import remove_abandoned, staging_folder
from pipeline.labelling.video import FEATURE_SUFFIX, VideoLabels, label_video_once
from pipeline.video.decoder_process import DecoderProcesses
from pipeline.video.ffmpeg import clock_start_seconds
from pipeline.video.index import estimate_num_frames
from pipeline.video.open import open_scaled
from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.types import VIDEO_SUFFIXES, DamagedVideoError, OpenScaled, scaling_reader

MAX_JOBS = {"cpu": 4, "cuda": 8}  # by device: each video takes memory, and a GPU encodes what several cores decode
OnError = Literal["skip", "stop", "partial"]


@dataclass(frozen=True)
class OutputOptions:
    """The output that is made of each video.

    Attributes:
        formats: Some of `FORMATS`.
        overlay: Whether the video is also written with its labels drawn on it.
        on_error: What happens to a damaged video: "skip" leaves it out, "partial" labels the frames that can be
            decoded, "stop" ends the call at the first one.
        overwrite: Whether finished videos are labelled again.
    """

    formats: tuple[str, ...] = ("csv",)
    overlay: bool = False
    on_error: OnError = "skip"
    overwrite: bool = False

    def files(self, path: Path) -> tuple[str, ...]:
        """Return the names of the files that are written for a video."""
        suffixes = [suffix for name in self.formats for suffix in FORMATS[name]] + [OVERLAY] * self.overlay
        return tuple(f"{path.stem}{suffix}" for suffix in suffixes)


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


def find_inputs(
    paths: Sequence[Path], model: Model, *, on_note: Callable[[str], None] = lambda note: None
) -> list[Path]:
    """Find the files to label, each once.

    Args:
        paths: Files, and folders. Of a folder, the files that the model could read are found, sorted, but not the
            overlays that an earlier call wrote.
        model: The labeller.
        on_note: It is called with one sentence for each folder with files that are passed over, which may be videos.

    Raises:
        InputError: A folder holds no such file.
    """
    if model.runtime:
        return find_files(paths, VIDEO_SUFFIXES, kind="video", on_note=on_note)
    return find_files(paths, {FEATURE_SUFFIX}, kind=f"{FEATURE_SUFFIX} file, which is what the model was trained on")


def default_num_parallel(model: Model) -> int:
    """Return how many videos are labelled in parallel by default: one per CPU core, up to MAX_JOBS."""
    return min(os.cpu_count() or 1, MAX_JOBS[model.device.type])


def check_outputs(outputs: OutputOptions, model: Model) -> None:
    """Check that a model can make the output that is asked for.

    Args:
        outputs: The output.
        model: The labeller.

    Raises:
        InputError: The output needs pixels or times, which a model of ready features does not have; or damaged videos
            are to be labelled in part by a reader that does not report which frames it lost.
    """
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
    on_note: Callable[[str], None] = lambda note: None,
) -> LabellingOutcome:
    """Label files and write the output of each, with a report; finished ones are left alone.

    In the end decode_report.csv has a row for each video.

    Args:
        paths: The files.
        model: The labeller.
        out: The folder of the output.
        outputs: The output that is made of each video.
        num_parallel: The number of videos that are labelled in parallel.
        decoder_processes: Whether each video is decoded in a process of its own.
        on_failure: It is called with one sentence for each file that cannot be labelled, or only in part, in the order
            of `paths`. What an earlier call wrote for the file stays.
        on_progress: It is called by the threads that label the videos, one after the other.
        on_note: So it is, with one sentence where output of an earlier call was replaced by that of another video, or
            was removed.
    """
    check_is_no_folder(out / DECODE_REPORT)  # before there is work to lose
    remove_abandoned(out)
    check_outputs(outputs, model)
    videos = _Videos(model, out, outputs, on_progress, on_note)
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

    path = out / DECODE_REPORT
    counts = outcome._asdict() | (count_frames(path, {p.stem for p in paths}) if path.exists() else {})
    return log_labelling(source_of(model)._asdict(), counts, path)


class _Stopped(Exception):
    """It is raised while a video is read, when the call is to end; its cause, if any, was raised by `on_progress`."""


def _result(labelled: Future[tuple[DecodeRow | None, str]]) -> tuple[DecodeRow | None, str]:
    try:
        return labelled.result()
    except _Stopped as stopped:
        raise stopped.__cause__ or stopped from None


class _Videos:
    """One call of `label_videos`."""

    def __init__(
        self,
        model: Model,
        out: Path,
        outputs: OutputOptions,
        on_progress: Callable[[Progress], None],
        on_note: Callable[[str], None],
    ) -> None:
        self._model, self._out, self._outputs = model, out, outputs
        self._on_progress, self._on_note = on_progress, on_note
        self._described_model = describe_model(model)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._num_frames: dict[Path, int] = {}  # of each video that has to be labelled
        self._num_done: dict[Path, int] = {}
        self._num_videos_done = 0
        self.outcome = LabellingOutcome(0, 0, 0, 0)

    def label(
        self, paths: Sequence[Path], num_parallel: int, *, decoder_processes: bool
    ) -> Iterator[tuple[DecodeRow | None, str]]:
        """Yield the row of each file, and the complaint about it ("" where there is none), in order."""
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
                        yield _result(due[path])
                    if self._outputs.on_error == "stop" and self.outcome.num_failed:
                        return
            finally:  # also where the caller ends early, or is interrupted
                self._stopped.set()
                threads.shutdown(cancel_futures=True)

    def _finished(self, path: Path) -> LabelReport | None:
        """Return the report of an earlier call where this one would do exactly the same."""
        report = LabelReport.read(self._out / f"{path.stem}{REPORT}")
        if report is None or self._outputs.overwrite or not path.is_file():
            return None
        files = self._outputs.files(path)
        try:
            video = describe_video(path)
        except OSError:  # reported when the video is read
            return None
        written = report.files if self._outputs.overlay else report.files_but_overlay
        same = (report.video, report.model, written) == (video, self._described_model, files)
        allowed = not report.is_partial or self._outputs.on_error == "partial"
        return report if same and allowed and all((self._out / name).is_file() for name in files) else None

    def _label_one(self, path: Path, opening: OpenScaled) -> tuple[DecodeRow | None, str]:
        """Label a video. If anything fails, only this video is affected."""
        try:
            report, overlay_failure = read_unchanged(path, lambda: self._write(path, opening))
        except DamagedVideoError as error:
            self._count(path, num_failed=1)
            return DecodeRow(path.stem, "failed", error.report), str(error)
        except _Stopped:
            raise
        except Exception as error:  # a decoder or a runtime may raise anything
            self._count(path, num_failed=1)
            return None, name_failure(path, "could not be labelled", error, self._out)
        complaints = []
        if report.is_partial and report.decoding:
            complaints.append(f"{path}: labelled in part: {'; '.join(report.decoding.problems)}")
        if overlay_failure:
            complaints.append(f"{path}: labelled, but without its overlay: {overlay_failure}")
        self._count(path, num_labelled=1, num_partial=int(bool(complaints)))
        return _row(path, report), "\n".join(complaints)

    def _write(self, path: Path, opening: OpenScaled) -> tuple[LabelReport, str]:
        """Label a video and write its output and the report, instead of those of an earlier call.

        Returns:
            The report, and why the overlay could not be drawn, "" where it was: the labels are written in any case.
        """
        report_path = self._out / f"{path.stem}{REPORT}"
        files = self._outputs.files(path)
        for name in (report_path.name, *files):
            check_is_no_folder(self._out / name)
        video = describe_video(path) if path.is_file() else {}
        result = label_video_once(
            path,
            self._model,
            partial=self._outputs.on_error == "partial",
            on_progress=lambda done: self._advance(path, done),
            opening=opening,
        )
        with staging_folder(self._out) as staging:
            self._write_labels(staging, path, result)
            overlay_failure = self._write_overlay(staging, path, result) if self._outputs.overlay else ""
            files = tuple(name for name in files if (staging / name).exists())
            report = LabelReport(
                video, self._described_model, files, len(result.labels), result.report, result.num_encoded
            )
            if video and describe_video(path) != video:  # nothing was replaced so far
                raise InputError(f"{path}: changed while it was read")
            before = LabelReport.read(report_path)
            kept = () if before is None or self._outputs.overlay else self._kept_overlay(before, report)
            report = replace(report, files=files + kept)
            report_path.unlink(missing_ok=True)  # the video is not finished until the report is written again
            for name in files:
                (staging / name).replace(self._out / name)
        for name in set(before.files if before else ()) - set(report.files):
            (self._out / name).unlink(missing_ok=True)
        report.write(report_path)
        if before:
            self._note_replaced(path, before, report)
        return report, overlay_failure

    def _kept_overlay(self, before: LabelReport, report: LabelReport) -> tuple[str, ...]:
        """Return the name of an earlier overlay that shows the labels of the new report, where there is one."""
        return tuple(name for name in before.overlay if before.is_of(report) and (self._out / name).is_file())

    def _note_replaced(self, path: Path, before: LabelReport, report: LabelReport) -> None:
        """Say where labels of another video were replaced, and where an overlay was removed that nobody asked for."""
        notes = []
        if before.video and before.video != report.video:
            notes.append(
                f"{path}: its labels replaced those of another {before.video.get('name')}, of"
                f" {before.video.get('bytes')} bytes, in {self._out}: was that file changed, or another one meant?"
            )
        if before.overlay and not report.overlay and not self._outputs.overlay:
            overlay = self._out / before.overlay[0]
            notes.append(f"{overlay}: was removed, as it showed earlier labels; --overlay draws it again")
        with self._lock:
            for note in notes:
                self._on_note(note)

    def _write_labels(self, folder: Path, path: Path, result: VideoLabels) -> None:
        """Write the labels of the video at `path`, in each format that is asked for, into a folder."""
        label_space = self._model.spec.label_space
        predicted = Predicted(
            result.labels,
            result.probabilities,
            result.pts_seconds,
            result.frame_seconds,
            label_space,
            path.resolve(),
            clock_start_seconds(path) if TIMED_FORMATS & set(self._outputs.formats) else 0.0,
        )
        for name in self._outputs.formats:
            for suffix, write in FORMATS[name].items():
                write(folder / f"{path.stem}{suffix}", predicted, source_of(self._model))

    def _write_overlay(self, folder: Path, path: Path, result: VideoLabels) -> str:
        """Draw the labels on the video, into a folder. Returns why that failed, "" where it did not."""
        assert result.index is not None  # or `check_outputs` had refused
        try:
            with PyAVReader(result.index) as video:
                write_overlay(
                    video,
                    folder / f"{path.stem}{OVERLAY}",
                    labels=result.labels,
                    probabilities=result.probabilities,
                    label_space=self._model.spec.label_space,
                    longest_step_seconds=float(np.diff(result.pts_seconds).max(initial=0)),
                    on_frames=lambda num_drawn: self._check_stopped(),
                )
        except _Stopped:
            raise
        except Exception as error:
            return describe_failure(error, self._out)
        return ""

    def _check_stopped(self) -> None:
        if self._stopped.is_set():
            raise _Stopped

    def _advance(self, path: Path, num_done: int) -> None:
        self._check_stopped()
        with self._lock:
            self._num_done[path] = num_done
            self._num_frames[path] = max(num_done, self._num_frames[path])
            self._show_progress()

    def _count(self, path: Path | None = None, **counts: int) -> None:
        with self._lock:
            changed = {name: getattr(self.outcome, name) + count for name, count in counts.items()}
            self.outcome = self.outcome._replace(**changed)
            if path is not None:
                self._num_videos_done += 1
                self._num_frames[path] = self._num_done.setdefault(path, 0)
                self._show_progress()

    def _show_progress(self) -> None:
        num_done, num_frames = sum(self._num_done.values()), sum(self._num_frames.values())
        try:
            self._on_progress(Progress(num_done, num_frames, self._num_videos_done, len(self._num_frames)))
        except Exception as error:  # of the caller, not of the video
            raise _Stopped from error


def _estimate_num_frames(path: Path) -> int:
    try:
        return _count_frames(path)
    except Exception:  # reported when the file is read
        return 0


def _count_frames(path: Path) -> int:
    if path.suffix.lower() != FEATURE_SUFFIX:
        return estimate_num_frames(path)
    return count_feature_frames(path)


def _row(path: Path, report: LabelReport) -> DecodeRow | None:
    if report.decoding is None:
        return None
    return DecodeRow(path.stem, "partly" if report.is_partial else "labelled", report.decoding)
