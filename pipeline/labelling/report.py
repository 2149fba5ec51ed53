"""The report beside the labels of a video: which model made them, from which file, and what was decoded.

The report is written last: a video that has one is finished, and need not be labelled again.
"""

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from pipeline.annotations.exports import LabelSource
from pipeline.annotations.layouts import DECODE_REPORT
from pipeline.files import replacing
from pipeline.labelling.model import Model
from pipeline.video.types import DecodeReport

REPORT = ".report.json"  # after a video's stem
# The columns that older versions did not write: it was always PyAV that read, and nothing was noted.
ABSENT_IN_OLDER = {"reader": "pyav", "notes": ""}
DECODED = tuple(field.name for field in fields(DecodeReport))


@dataclass(frozen=True)
class LabelReport:
    """The report of one video.

    Attributes:
        video: The name, bytes and modified_ns of the file.
        model: The run_id, data_fingerprint and git_commit of the model (`LabelSource`), its dvc_experiment, precision,
            still and fingerprint.
        files: The names of the files that were written.
        num_frames: The number of frames of the video.
        decoding: What became of the frames; None for ready features.
    """

    video: dict[str, Any]
    model: dict[str, Any]
    files: tuple[str, ...]
    num_frames: int
    decoding: DecodeReport | None

    @property
    def is_partial(self) -> bool:
        """Whether the video is damaged: frames of it are missing, or could not be decoded and have no label."""
        return self.decoding is not None and bool(self.decoding.problems)

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read a report; None where there is none, or it is not of this version."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["decoding"] is not None:
                values["decoding"] = DecodeReport(**_tuples(values["decoding"]))
            return cls(**_tuples(values))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def describe_video(path: Path) -> dict[str, Any]:
    """Describe a file, so that it differs from an earlier file of the same name."""
    status = path.stat()
    return {"name": path.name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def describe_model(model: Model) -> dict[str, Any]:
    """Describe where a model comes from, and what decides its labels."""
    origin = source_of(model)._asdict()
    experiment = model.spec.lineage.dvc_experiment
    settings = {"precision": model.precision, "still": model.static_threshold}
    return origin | {"dvc_experiment": experiment, **settings, "fingerprint": model.fingerprint}


def source_of(model: Model) -> LabelSource:
    """Return the run, the data and the commit that a model comes from."""
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
    table = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.DictReader(file)
            if set(header) - set(ABSENT_IN_OLDER) <= set(lines.fieldnames or ()) <= set(header):
                table = {row["stem"]: ABSENT_IN_OLDER | row for row in lines}
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
    with decode_report.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["stem"] in stems]
    return {
        name: sum(int(row[name]) for row in rows) for name in ("decoded_frames", "failed_frames", "substituted_frames")
    }
