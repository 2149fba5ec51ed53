"""Where the output of `label` goes: a folder of this machine, whose reports tell which videos are finished."""

import filecmp
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from pipeline.annotations.exports import FORMATS
from pipeline.annotations.layouts import DECODE_REPORT
from pipeline.files import OVERLAY, InputFile, check_is_no_folder
from pipeline.labelling.report import REPORT, DecodeRow, LabelReport, describe_video, write_decode_report
from pipeline.labelling.staging import remove_abandoned, staging_folder

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

    def files(self, path: InputFile) -> tuple[str, ...]:
        """Return the names of the files that are written for a video."""
        suffixes = [suffix for name in self.formats for suffix in FORMATS[name]] + [OVERLAY] * self.overlay
        return tuple(f"{path.stem}{suffix}" for suffix in suffixes)


DEFAULTS = OutputOptions()


class Finished(NamedTuple):
    """A video that an earlier call finished.

    Attributes:
        row: Its row of the decode report; None where the decode report has it already, or has none for such files.
    """

    row: DecodeRow | None


class Replaced(NamedTuple):
    """What became of the output of a video.

    Attributes:
        report: The report, with the files that are there now.
        before: The report of an earlier call, which it replaced; None where there was none.
    """

    report: LabelReport
    before: LabelReport | None


class OutputFolder(Protocol):
    """A folder for the labels of videos, on this machine or in a store.

    Attributes:
        log_folder: Where the log of unexpected errors is written.
    """

    log_folder: Path

    def __str__(self) -> str:
        """Name the folder in messages."""
        ...

    def find_finished(
        self, paths: Sequence[InputFile], model: dict[str, Any], outputs: OutputOptions
    ) -> dict[InputFile, Finished]:
        """Find the videos that need no labelling: this call would do exactly what an earlier one did.

        Args:
            paths: The videos.
            model: The description of the model.
            outputs: The output that is asked for.
        """
        ...

    def check_free(self, names: Sequence[str]) -> None:
        """Raise an InputError where one of these files cannot be written."""
        ...

    def staging(self) -> AbstractContextManager[Path]:
        """Return a folder of this machine for files that are being written; it is removed at the end."""
        ...

    def publish(self, staging: Path, stem: str, report: LabelReport, *, overlay: bool) -> Replaced:
        """Put the output of a video in the place of that of an earlier call.

        The video is not finished from the first change to the last one, which writes the report.

        Args:
            staging: The folder with the new files.
            stem: The stem of the video.
            report: The report, of the files in `staging`.
            overlay: Whether an overlay was asked for; otherwise an earlier one of the same labels stays.
        """
        ...

    def write_decode_report(self, rows: Sequence[DecodeRow]) -> None:
        """Write these rows into the decode report."""
        ...

    def for_one(self, stem: str) -> "OutputFolder":
        """Return the folder for the output of one video, small enough to be sent to another machine."""
        ...


class LocalFolder:
    """A folder of this machine, see `OutputFolder`. What killed calls left in it is removed.

    Args:
        out: The folder.
    """

    def __init__(self, out: Path) -> None:
        check_is_no_folder(out / DECODE_REPORT)  # before there is work to lose
        remove_abandoned(out)
        self.log_folder = out
        self._out = out

    def __str__(self) -> str:
        return str(self._out)

    def find_finished(
        self, paths: Sequence[InputFile], model: dict[str, Any], outputs: OutputOptions
    ) -> dict[InputFile, Finished]:
        """See `OutputFolder`."""
        return {path: found for path in paths if (found := self._find_finished(path, model, outputs))}

    def _find_finished(self, path: InputFile, model: dict[str, Any], outputs: OutputOptions) -> Finished | None:
        report = LabelReport.read(self._out / f"{path.stem}{REPORT}")
        if report is None or outputs.overwrite or not path.is_file():
            return None
        files = outputs.files(path)
        try:
            video = describe_video(path)
        except OSError:  # reported when the video is read
            return None
        written = report.files if outputs.overlay else report.files_but_overlay
        same = (report.video, report.model, written) == (video, model, files)
        allowed = not report.is_partial or outputs.on_error == "partial"
        if same and allowed and all((self._out / name).is_file() for name in files):
            return Finished(report.row(path.stem))
        return None

    def check_free(self, names: Sequence[str]) -> None:
        """See `OutputFolder`."""
        for name in names:
            check_is_no_folder(self._out / name)

    def staging(self) -> AbstractContextManager[Path]:
        """See `OutputFolder`: it is in the folder itself, so that files need only be renamed."""
        return staging_folder(self._out)

    def publish(self, staging: Path, stem: str, report: LabelReport, *, overlay: bool) -> Replaced:
        """See `OutputFolder`."""
        report_path, new = self._out / f"{stem}{REPORT}", report.files
        before = LabelReport.read(report_path)
        report = report.replacing(before, overlay=overlay, is_there=lambda name: (self._out / name).is_file())
        if before is not None:
            if before == report and all(self._has(staging, name) for name in new):
                return Replaced(report, before)  # a worker of a killed call, which ends late, finds it finished
            report_path.unlink(missing_ok=True)
        for name in new:
            (staging / name).replace(self._out / name)
        for name in set(before.files if before else ()) - set(report.files):
            (self._out / name).unlink(missing_ok=True)
        report.write(staging / report_path.name)
        (staging / report_path.name).replace(report_path)
        return Replaced(report, before)

    def _has(self, staging: Path, name: str) -> bool:
        """Return whether a file is there already, byte for byte."""
        return (self._out / name).is_file() and filecmp.cmp(staging / name, self._out / name, shallow=False)

    def write_decode_report(self, rows: Sequence[DecodeRow]) -> None:
        """See `OutputFolder`."""
        write_decode_report(self._out, rows)

    def for_one(self, stem: str) -> "LocalFolder":
        """See `OutputFolder`."""
        return self
