"""Frames of segments that a table gives in seconds, by the times at which the frames of the video are shown."""

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from pipeline.annotations.formats.base import VideoFrames
from pipeline.annotations.problems import Problem
from pipeline.annotations.times import FrameTimes

MAX_DECIMALS = 9  # those after them are the error of a computation
_TIME = re.compile(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?")


class TimedSegment(NamedTuple):
    """A row of a table of segments.

    Attributes:
        line: The number of its line.
        start: The text of its start.
        stop: The text of its stop.
        name: The name of its class.
    """

    line: int
    start: str
    stop: str
    name: str


def to_frames(
    path: Path, rows: Sequence[TimedSegment], video: VideoFrames, problems: list[Problem], notes: list[Problem]
) -> list[tuple[int, int, int, str]]:
    """Find the frames of segments in seconds.

    Args:
        path: The file.
        rows: The segments.
        video: The video, whose `times` decide which frame is shown when.
        problems: Segments that have no frame, and times that are no numbers, are appended to it.
        notes: How exact the times are is appended to it, where they are coarse.

    Returns:
        The line, the start and the stop in frames, and the class of each segment that has frames.
    """
    spans = [span for row in rows if (span := _parse(path, row, problems)) is not None]
    if not rows:
        return []
    if video.times is None:
        cause = "ready features have no times, and those of a video are in the video: give frames, start,stop,class"
        message = f"gives times in seconds, and it is not known at which times the frames are shown: {cause}"
        problems.append(Problem(path, None, message, fault="times without a video"))
        return []
    if any("," in text for row in rows for text in (row.start, row.stop)):
        notes.append(Problem(path, None, "a comma in a time is read as a decimal comma"))
    resolution = _resolution(path, [time for _, *times in spans for time in times], video.times, notes)
    found: list[tuple[int, int, int, str]] = []
    for row, start, stop in spans:
        frames = _find_frames(path, row, (start, stop), video.times, resolution, problems)
        if frames is not None:
            found.append((row.line, *frames, row.name))
    return found


def _parse(path: Path, row: TimedSegment, problems: list[Problem]) -> tuple[TimedSegment, Decimal, Decimal] | None:
    """Return a segment with its times; None where they are no times, or none of a segment."""
    times = []
    for name, text in (("start", row.start), ("stop", row.stop)):
        if _TIME.fullmatch(text) and len(text) < 40:
            times.append(_rounded(Decimal(text.replace(",", "."))))
        else:
            message = f"{name} {text!r} is no time in seconds: expected a number such as 12.5"
            problems.append(Problem(path, row.line, message, fault="no time"))
    if len(times) < 2:
        return None
    start, stop = times
    what = f"the segment from {row.start} s to {row.stop} s"
    if start < 0:
        problems.append(Problem(path, row.line, f"start {row.start} s is negative", fault="negative time"))
    elif start == stop:
        message = f"{what} lasts 0 s, and has no frame: give its start and its end, or leave it out"
        problems.append(Problem(path, row.line, message, fault="lasts 0 s"))
    elif start > stop:
        problems.append(Problem(path, row.line, f"{what} ends before it starts", fault="ends before it starts"))
    else:
        return row, start, stop
    return None


def _rounded(time: Decimal) -> Decimal:
    """Return a time without the decimals that a computation left: 0.30000000000000004 s is 0.3 s."""
    exponent = time.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MAX_DECIMALS:
        return round(time, MAX_DECIMALS).normalize()
    return time


def _resolution(path: Path, times: Sequence[Decimal], of_video: FrameTimes, notes: list[Problem]) -> float:
    """Return the distance of neighbouring times that a file can state, by the decimals that it has.

    Where frames are closer to each other than that, a time is taken as it stands: rounding cannot be undone.
    """
    exponents = [time.as_tuple().exponent for time in times]
    resolution = float(Decimal(10) ** min((int(exponent) for exponent in exponents), default=0))
    step = of_video.usual_step
    if of_video.usable_resolution(resolution) == 0.0:
        cause = "write more decimals to state the frame"
        message = f"its times are in steps of {resolution:g} s, and frames are {step:.3g} s apart: {cause}"
        notes.append(Problem(path, None, message, fault="coarse times"))
        resolution = 0.0
    first = float(of_video.pts_seconds[0]) if of_video.num_frames else 0.0
    if first > step:
        cause = "times that a program counts from the first frame must be shifted"
        message = f"the first frame of the video is shown at {first:.3f} s, on the clock of the video: {cause}"
        notes.append(Problem(path, None, message, fault="late first frame"))
    return resolution


def _find_frames(
    path: Path,
    row: TimedSegment,
    times: tuple[Decimal, Decimal],
    of_video: FrameTimes,
    resolution: float,
    problems: list[Problem],
) -> tuple[int, int] | None:
    """Return the frames [start, stop) of a segment; None where it has none, or ends after the video."""
    start_seconds, stop_seconds = map(float, times)
    start, stop = of_video.segment(start_seconds, stop_seconds, resolution=resolution)
    what = f"the segment from {row.start} s to {row.stop} s"
    end = of_video.end_seconds
    if stop_seconds > end + max(resolution, of_video.frame_seconds):
        cause = "it was labelled in another video, or its times are frames or milliseconds"
        message = f"{what} goes beyond the end of the video at {end:.3f} s: {cause}"
        problems.append(Problem(path, row.line, message, fault="time beyond the end"))
    elif start == stop:
        cause = "it lies within one frame" if start_seconds < end else "it lies after the last frame"
        if stop == 0 and of_video.num_frames and stop_seconds < of_video.pts_seconds[0]:
            cause = f"it lies before the first frame, which is shown at {of_video.pts_seconds[0]:.3f} s"
        problems.append(Problem(path, row.line, f"{what} has no frame: {cause}", fault="no frame"))
    else:
        return start, stop
    return None
