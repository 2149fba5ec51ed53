"""The labelling of one video, and the writing of its output."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.exports import FORMATS, TIMED_FORMATS, Predicted
from pipeline.drawing.overlay import write_overlay
from pipeline.errors import InputError, describe_failure, name_failure
from pipeline.files import OVERLAY, InputFile, read_unchanged
from pipeline.labelling.model import Model
from pipeline.labelling.outputs import OutputFolder, OutputOptions, Replaced
from pipeline.labelling.ranges import EncodedVideo, label_encoded
from pipeline.labelling.report import (
    REPORT,
    DecodeRow,
    LabelReport,
    describe_model,
    describe_video,
    source_of,
)
from pipeline.labelling.video import VideoLabels, label_video_once
from pipeline.stores.objects import pinned
from pipeline.video.ffmpeg import clock_start_seconds
from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.types import DamagedVideoError, OpenScaled


class StoppedError(Exception):
    """It is raised by `on_progress` when the call is to end, and passed on; its cause, if any, is the caller's."""


class Outcome(NamedTuple):
    """What became of a video.

    Attributes:
        row: Its row of the decode report; None for ready features, and where it was not decoded.
        complaints: One sentence for each thing that went wrong.
        notes: One sentence for each output of an earlier call that was replaced or removed.
        is_labelled: Whether it was labelled, be it in part.
    """

    row: DecodeRow | None
    complaints: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_labelled: bool = False


@dataclass(frozen=True)
class OneVideo:
    """Labels one video at a time, and writes its output; threads may share it.

    Attributes:
        model: The labeller.
        folder: Where the output goes.
        outputs: The output that is asked for.
    """

    model: Model
    folder: OutputFolder
    outputs: OutputOptions

    def label(
        self,
        path: InputFile,
        *,
        opening: OpenScaled,
        on_progress: Callable[[int], None] = lambda num_frames: None,
        encoded: EncodedVideo | None = None,
    ) -> Outcome:
        """Label a video. If anything fails, only this video is affected.

        Args:
            path: The video.
            opening: How it is opened.
            on_progress: It is called with the number of frames that are labelled so far, and for each frame of the
                overlay. It may raise StoppedError.
            encoded: The encoded frames of the video, which it is labelled by unless it has changed since; None: it is
                decoded and encoded now. StoppedError that its features raise is passed on.
        """
        try:
            return read_unchanged(path, lambda: self._write(path, opening, on_progress, encoded))
        except DamagedVideoError as error:
            return Outcome(DecodeRow(path.stem, "failed", error.report), (str(error),))
        except StoppedError:
            raise
        except Exception as error:  # a decoder or a runtime may raise anything
            return Outcome(None, (name_failure(path, "could not be labelled", error, self.folder.log_folder),))

    def _write(
        self,
        path: InputFile,
        opening: OpenScaled,
        on_progress: Callable[[int], None],
        encoded: EncodedVideo | None,
    ) -> Outcome:
        """Label a video and write its output and the report, instead of those of an earlier call."""
        files = self.outputs.files(path)
        self.folder.check_free((f"{path.stem}{REPORT}", *files))
        with pinned(path) as file:
            video = describe_video(file) if file.is_file() else {}
            if encoded is not None and encoded.division.video == video:
                result = label_encoded(file, encoded, self.model)
            else:
                result = label_video_once(
                    file,
                    self.model,
                    partial=self.outputs.on_error == "partial",
                    on_progress=on_progress,
                    opening=opening,
                )
        with self.folder.staging() as staging:
            self._write_labels(staging, file, result)
            failure = self._write_overlay(staging, file, result, on_progress) if self.outputs.overlay else ""
            files = tuple(name for name in files if (staging / name).exists())
            report = LabelReport(
                video, describe_model(self.model), files, len(result.labels), result.report, result.num_encoded
            )
            if video and describe_video(path) != video:  # nothing was replaced so far
                raise InputError(f"{path}: changed while it was read")
            replaced = self.folder.publish(staging, path.stem, report, overlay=self.outputs.overlay)
        complaints = []
        if report.is_partial and report.decoding:
            complaints.append(f"{path}: labelled in part: {'; '.join(report.decoding.problems)}")
        if failure:  # the labels are written in any case
            complaints.append(f"{path}: labelled, but without its overlay: {failure}")
        return Outcome(report.row(path.stem), tuple(complaints), self._notes(path, replaced), is_labelled=True)

    def _notes(self, path: InputFile, replaced: Replaced) -> tuple[str, ...]:
        """Say where labels of another video were replaced, and where an overlay was removed that nobody asked for."""
        report, before = replaced
        if before is None:
            return ()
        notes = []
        if before.video and before.video != report.video:
            notes.append(
                f"{path}: its labels replaced those of another {before.video.get('name')}, of"
                f" {before.video.get('bytes')} bytes, in {self.folder}: was that file changed, or another one meant?"
            )
        if before.overlay and not report.overlay and not self.outputs.overlay:
            overlay = f"{self.folder}/{before.overlay[0]}"
            notes.append(f"{overlay}: was removed, as it showed earlier labels; --overlay draws it again")
        return tuple(notes)

    def _write_labels(self, staging: Path, path: InputFile, result: VideoLabels) -> None:
        """Write the labels of the video at `path`, in each format that is asked for, into a folder."""
        predicted = Predicted(
            result.labels,
            result.probabilities,
            result.pts_seconds,
            result.frame_seconds,
            self.model.spec.label_space,
            path.resolve() if isinstance(path, Path) else Path(path.name),
            clock_start_seconds(path) if TIMED_FORMATS & set(self.outputs.formats) else 0.0,
            result.novelty,
        )
        for name in self.outputs.formats:
            for suffix, write in FORMATS[name].items():
                write(staging / f"{path.stem}{suffix}", predicted, source_of(self.model))

    def _write_overlay(
        self, staging: Path, path: InputFile, result: VideoLabels, on_progress: Callable[[int], None]
    ) -> str:
        """Draw the labels on the video, into a folder. Returns why that failed, "" where it did not."""
        assert result.index is not None  # or `check_outputs` had refused
        try:
            with PyAVReader(result.index) as video:
                write_overlay(
                    video,
                    staging / f"{path.stem}{OVERLAY}",
                    labels=result.labels,
                    probabilities=result.probabilities,
                    label_space=self.model.spec.label_space,
                    longest_step_seconds=float(np.diff(result.pts_seconds).max(initial=0)),
                    on_frames=lambda num_drawn: on_progress(len(result.labels)),
                )
        except StoppedError:
            raise
        except Exception as error:
            return describe_failure(error, self.folder.log_folder)
        return ""
