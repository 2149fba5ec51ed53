"""Writing aggregated events, the table that BORIS 8 and 9 export (`boris/export_observation.py` of BORIS)."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.annotations.foreign.base import LabelledVideo, written_at
from pipeline.annotations.foreign.boris_project import (
    DECIMALS,
    common_label_space,
    observation_names,
    rounded,
    shown_path,
    unlabelled_losses,
)
from pipeline.annotations.foreign.cells import protect, score_comment
from pipeline.annotations.foreign.document import Loss
from pipeline.annotations.foreign.unkept import changed_names, close_frames
from pipeline.annotations.layouts import mean_probability
from pipeline.files import replacing

HEADER = (
    "Observation id",
    "Observation date",
    "Description",
    "Observation type",
    "Source",
    "Time offset (s)",
    "Coding duration",
    "Media duration (s)",
    "FPS (frame/s)",
    "Subject",
    "Observation duration by subject by observation",
    "Behavior",
    "Behavioral category",
    "Behavior type",
    "Start (s)",
    "Stop (s)",
    "Duration (s)",
    "Media file name",
    "Image index start",
    "Image index stop",
    "Image file path start",
    "Image file path stop",
    "Comment start",
    "Comment stop",
)

NO_ROW = "videos have no frame with a class and are not in the table"
UNUSED = "classes are in no frame and are not in the table"


def write_boris_table(path: Path, videos: Sequence[LabelledVideo]) -> list[Loss]:
    """Write labels as aggregated events, comma-separated: a row for each segment, in the order of videos and starts.

    Times have 3 decimals. The probability of a segment is the comment of its start. A cell that a spreadsheet would
    compute begins with an apostrophe.

    Args:
        path: The table.
        videos: The videos, all with the same classes.

    Raises:
        InputError: Videos differ in their classes.
    """
    common_label_space(path, videos)
    names = observation_names([video.video for video in videos])
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(HEADER)
        for name, video in zip(names, videos, strict=True):
            writer.writerows(_rows(path, name, video))
    media = [shown_path(video.video, path) for video in videos]
    losses = close_frames(videos, 10.0**-DECIMALS) + changed_names(videos, media)
    return [*unlabelled_losses(videos), *_absent(videos), *losses]


def _absent(videos: Sequence[LabelledVideo]) -> list[Loss]:
    """Return a loss for each video without any segment, and for each class without any, as no row names them."""
    used = [{segment.class_index for segment, _ in video.timed_segments()} for video in videos]
    losses = [Loss(NO_ROW, video.video.name) for video, found in zip(videos, used, strict=True) if not found]
    if videos:
        everywhere = set[int]().union(*used)
        names = enumerate(videos[0].label_space.classes)
        losses += [Loss(UNUSED, "", name) for index, name in names if index not in everywhere]
    return losses


def _rows(path: Path, name: str, video: LabelledVideo) -> Iterator[list[str]]:
    media = shown_path(video.video, path)
    length = _seconds(video.times.end_seconds)
    date = written_at(video.video).isoformat(sep=" ")
    segments = [*video.timed_segments()]
    duration = _seconds(sum(stop - start for _, (start, stop) in segments))
    rate = f"{video.frame_rate:.3f}"
    observation = [protect(name), date, "", "Media file", f"player #1:{media}", "0.0", length, length, rate]
    for segment, (start, stop) in segments:
        behaviour = protect(video.label_space.classes[segment.class_index])
        times = [_seconds(start), _seconds(stop), _seconds(rounded(stop) - rounded(start))]
        probabilities = video.probabilities
        comment = "" if probabilities is None else score_comment(mean_probability(segment, probabilities))
        subject = ["No focal subject", duration, behaviour, "Not defined", "STATE"]
        yield [*observation, *subject, *times, protect(media), "NA", "NA", "", "", comment, ""]


def _seconds(seconds: float) -> str:
    return f"{rounded(seconds):.{DECIMALS}f}"
