"""The choice of the frames that are encoded where a lower frame rate is enough, by the times at which frames are shown.

T frames, of which n are chosen.
"""

import math
from typing import NamedTuple

import numpy as np

ROUNDING_SECONDS = 1e-3  # Matroska rounds the times of frames to milliseconds
FLOAT_ERROR_SECONDS = 1e-9  # of a mean of times
# Rates beyond these choose the same frames: the first one, or all. Their products with times would not be numbers.
MIN_FRAME_RATE, MAX_FRAME_RATE = 1e-6, 1e6


class FrameChoice(NamedTuple):
    """The frames of a video that are encoded, and the one of them that each frame takes its label from.

    Attributes:
        positions: int64 [n], ascending, the frames that are chosen.
        nearest: int64 [T], for each frame the index in `positions` of the chosen frame that is nearest in time, the
            earlier one of two that are as near.
    """

    positions: np.ndarray
    nearest: np.ndarray


def choose_frames(
    pts_seconds: np.ndarray, frame_rate: float | None, *, frame_seconds: float, is_lost: np.ndarray | None = None
) -> FrameChoice:
    """Choose the frames that are shown at the times 0, 1/frame_rate, 2/frame_rate ... after the first frame.

    A frame that is shown at several of these times is chosen once. The first frame is always chosen, and every frame is
    where no frame is shown for less than 1/frame_rate. Times may be rounded to ROUNDING_SECONDS.

    Args:
        pts_seconds: float64 [T], T > 0, ascending, the presentation time of each frame.
        frame_rate: In frames per second; None chooses every frame.
        frame_seconds: How long the last frame is shown.
        is_lost: bool [T], the frames that cannot be decoded and so are never chosen, as the one before is shown
            instead; None where all can be.
    """
    if frame_rate is None:
        return FrameChoice(np.arange(len(pts_seconds)), np.arange(len(pts_seconds)))
    frame_rate = _within_bounds(frame_rate)
    whole = np.arange(len(pts_seconds)) if is_lost is None else np.flatnonzero(~is_lost)
    starts = pts_seconds[whole] - pts_seconds[whole[0]]
    stop = pts_seconds[-1] + frame_seconds - pts_seconds[whole[0]]
    tolerance = min(ROUNDING_SECONDS, np.diff(starts).min(initial=np.inf) / 2, frame_seconds / 2)
    # A frame from `start` to `stop` is shown at k / frame_rate for each whole k with start * rate <= k < stop * rate.
    first_ticks = np.ceil((np.append(starts, stop) - tolerance) * frame_rate)
    positions = whole[np.diff(first_ticks) > 0]
    return FrameChoice(positions, _nearest(pts_seconds, pts_seconds[positions]))


class LiveChoice:
    """Chooses frames of a video that is still being made: the first one at or after each of the times.

    `choose_frames` takes the one before, which is still shown at that time; here the next one is not known yet. Where
    the clock of the video goes back, the times start again.

    Args:
        frame_rate: See `choose_frames`.
    """

    def __init__(self, frame_rate: float | None) -> None:
        self._frame_rate = None if frame_rate is None else _within_bounds(frame_rate)
        self._start = self._latest = math.inf
        self._last_tick = -1

    def is_chosen(self, seconds: float) -> bool:
        """Return whether the next frame is chosen.

        Args:
            seconds: Its time.
        """
        if self._frame_rate is None:
            return True
        if seconds < self._latest:
            self._start, self._last_tick = seconds, -1
        self._latest = seconds
        tick = math.floor((seconds - self._start + ROUNDING_SECONDS) * self._frame_rate)
        is_chosen = tick > self._last_tick
        self._last_tick = tick
        return is_chosen


def find_rate_fault(frame_rate: float) -> str | None:
    """Say why a number that somebody gave cannot be a frame rate; None where it can."""
    if 0 < frame_rate < math.inf:
        return None
    return f"got {frame_rate:g}, expected more than 0 frames per second"


def describe_rate(frame_rate: float | None) -> str:
    """Describe the frames that are encoded at a rate; None is every frame."""
    return "every frame" if frame_rate is None else f"{frame_rate:g} frames per second"


def _within_bounds(frame_rate: float) -> float:
    return min(max(frame_rate, MIN_FRAME_RATE), MAX_FRAME_RATE)


def _nearest(seconds: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return for each time the index of the nearest of other times, which ascend; of two, the earlier one."""
    return np.searchsorted((among[:-1] + among[1:]) / 2 + FLOAT_ERROR_SECONDS, seconds, side="left")
