"""The report beside the labels of a video: which model made them, from which file, and what was decoded.

The report is written last: a video that has one is finished, and need not be labelled again.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from pipeline.annotations.exports import FORMATS, LabelSource
from pipeline.annotations.layouts import DECODE_REPORT
from pipeline.errors import InputError
from pipeline.files import OVERLAY, FileStatus, InputFile, read_bounded, replacing
from pipeline.labelling.model import Model
from pipeline.video.types import DecodeReport

REPORT = ".report.json"  # after a video's stem
GROUPS, MODELS = "groups", "models"  # of the model in a report
# The columns that older versions did not write: it was always PyAV that read, and nothing was noted.
ABSENT_IN_OLDER = {"reader": "pyav", "notes": ""}
DECODED = tuple(field.name for field in fields(DecodeReport))
COUNTS = ("decoded_frames", "failed_frames", "substituted_frames")
MAX_REPORT_BYTES = 1 << 20
MAX_DECODE_REPORT_BYTES = 1 << 26  # the rows of some 300,000 videos


@dataclass(frozen=True)
class LabelReport:
    """The report of one video.

    Attributes:
        video: The name, bytes and modified_ns of the file.
        model: The run_id, data_fingerprint and git_commit of the model (`LabelSource`), its dvc_experiment, precision,
            still and fingerprint; where not every frame is encoded also frame_rate, and where classes overlap GROUPS,
            the group of each class. Of several models that label together, it is the origin of the first one, and
            MODELS has that of each.
        files: The names of the files that were written.
        num_frames: The number of frames of the video.
        decoding: What became of the frames; None for ready features.
        encoded_frames: The number of frames that were encoded; the others have the label of one of them, or show
            nothing new. None for ready features, and in reports from before there was a choice.
    """

    video: dict[str, Any]
    model: dict[str, Any]
    files: tuple[str, ...]
    num_frames: int
    decoding: DecodeReport | None
    encoded_frames: int | None = None

    @property
    def is_partial(self) -> bool:
        """Whether the video is damaged: frames of it are missing, or could not be decoded and have no label."""
        return self.decoding is not None and bool(self.decoding.problems)

    @property
    def classes_overlap(self) -> bool:
        """Whether a frame may have any number of classes, so that segments overlap and leave gaps."""
        return GROUPS in self.model

    @property
    def overlay(self) -> tuple[str, ...]:
        """The name of the overlay, where there is one."""
        return tuple(name for name in self.files if name.endswith(OVERLAY))

    @property
    def files_but_overlay(self) -> tuple[str, ...]:
        """The names of all other files."""
        return tuple(name for name in self.files if not name.endswith(OVERLAY))

    def is_of(self, other: Self) -> bool:
        """Whether both reports are of the same labels: of one file and one model."""
        return bool(self.video) and (self.video, self.model) == (other.video, other.model)

    def row(self, stem: str) -> "DecodeRow | None":
        """Return the row of the video in the decode report; None for ready features, which are not decoded."""
        if self.decoding is None:
            return None
        return DecodeRow(stem, "partly" if self.is_partial else "labelled", self.decoding)

    def replacing(self, before: Self | None, *, overlay: bool, is_there: Callable[[str], bool]) -> Self:
        """Return the report as it takes the place of an earlier one.

        Args:
            before: The earlier report, if there is one.
            overlay: Whether an overlay was asked for. Otherwise an earlier one stays that shows the same labels.
            is_there: Tells whether there is a file of this name.
        """
        if before is None or overlay or not before.is_of(self):
            return self
        return replace(self, files=self.files + tuple(filter(is_there, before.overlay)))

    def to_json(self) -> bytes:
        """Return the report as JSON."""
        return (json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n").encode()

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        with replacing(path) as temporary:
            temporary.write_bytes(self.to_json())

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read a report; None where there is none that this version wrote."""
        try:
            content = read_bounded(path, max_bytes=MAX_REPORT_BYTES)
        except (OSError, InputError):
            return None
        return cls.parse(content, path.name.removesuffix(REPORT))

    @classmethod
    def parse(cls, content: bytes, stem: str) -> Self | None:
        """Parse the report of a video; None where this version did not write it.

        Somebody else may have written it: one that names files which are not written for its video is not taken.
        """
        try:
            report = TypeAdapter(cls).validate_json(content)
        except ValueError:
            return None
        return report if set(report.files) <= files_of(stem) else None


def files_of(stem: str) -> set[str]:
    """The names of all files that labelling a video of this stem can write beside its report."""
    return {f"{stem}{suffix}" for suffixes in FORMATS.values() for suffix in suffixes} | {f"{stem}{OVERLAY}"}


def describe_video(path: InputFile, status: FileStatus | None = None) -> dict[str, Any]:
    """Describe a file, so that it differs from an earlier file of the same name.

    Args:
        path: The file.
        status: What is known of it; None to look at it.
    """
    status = status or path.stat()
    return {"name": path.name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def describe_model(model: Model) -> dict[str, Any]:
    """Describe where a model comes from, and what decides its labels."""
    origin = source_of(model)._asdict()
    experiment = model.spec.lineage.dvc_experiment
    settings: dict[str, Any] = {"precision": model.precision, "still": model.static_threshold}
    if model.frame_rate is not None:  # reports from before there was a choice do not name it
        settings["frame_rate"] = model.frame_rate
    if model.members:
        settings[MODELS] = [source_of(member)._asdict() for member in model.members]
    label_space = model.spec.label_space
    groups = {GROUPS: dict(zip(label_space.classes, label_space.groups, strict=True))} if label_space.groups else {}
    return origin | {"dvc_experiment": experiment, **settings, "fingerprint": model.fingerprint} | groups


def source_of(model: Model) -> LabelSource:
    """Return the run, the data and the commit that a model comes from; of several, those of the first one."""
    lineage = model.spec.lineage
    return LabelSource(lineage.run_id, lineage.data_fingerprint, lineage.git_commit)


@dataclass(frozen=True)
class DecodeRow:
    """A row of decode_report.csv.

    Attributes:
        stem: The stem of the video.
        outcome: labelled, partly (frames that failed have no label) or failed.
        decoding: What became of the frames.
    """

    stem: str
    outcome: str
    decoding: DecodeReport

    def cells(self) -> dict[str, str]:
        """Return the row as text: lists are joined, and what is not known is empty."""
        cells = {"stem": self.stem, "outcome": self.outcome}
        for name in DECODED:
            value = getattr(self.decoding, name)
            cells[name] = "; ".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
        return cells


def write_decode_report(folder: Path, rows: Iterable[DecodeRow]) -> None:
    """Write decode_report.csv, with one row per video; rows that an earlier call wrote for other videos stay.

    Args:
        folder: The folder of the report.
        rows: The new rows. Without any, no report is written: ready features are not decoded.
    """
    rows = list(rows)
    if not rows:
        return
    path = folder / DECODE_REPORT
    header = ["stem", "outcome", *DECODED]
    table = {row["stem"]: row for row in _read_rows(path)}
    table |= {row.stem: row.cells() for row in rows}
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table[stem] for stem in sorted(table))


def count_frames(decode_report: Path, stems: set[str]) -> dict[str, int]:
    """Sum the frames of some videos of a decode_report.csv.

    Args:
        decode_report: The file.
        stems: The stems of the videos.

    Returns:
        decoded_frames, failed_frames and substituted_frames.
    """
    rows = [row for row in _read_rows(decode_report) if row["stem"] in stems]
    return {name: sum(int(row[name]) for row in rows) for name in COUNTS}


def read_labelled(decode_report: Path) -> set[str]:
    """Return the stems of the videos that are labelled, and not in part, by a decode_report.csv."""
    return {row["stem"] for row in _read_rows(decode_report) if row["outcome"] == "labelled"}


def _read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a decode_report.csv that are whole; none of a file that is not one.

    A report is only a summary, which the next call writes again: what cannot be read of it ends no call.
    """
    header = ["stem", "outcome", *DECODED]
    try:
        text = read_bounded(path, max_bytes=MAX_DECODE_REPORT_BYTES).decode()
        lines = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if not set(header) - set(ABSENT_IN_OLDER) <= set(lines.fieldnames or ()) <= set(header):
            return []
        rows = [ABSENT_IN_OLDER | row for row in lines]
    except (OSError, InputError, UnicodeDecodeError, csv.Error):
        return []
    return [row for row in rows if _is_whole(row)]


def _is_whole(row: dict[str, Any]) -> bool:
    """Whether no cell of a row is missing or too many, and the numbers are numbers."""
    cells = all(isinstance(name, str) and isinstance(cell, str) for name, cell in row.items())
    return cells and all(re.fullmatch("[0-9]{1,18}", row[name]) for name in COUNTS)
