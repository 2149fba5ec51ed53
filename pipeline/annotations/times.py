"""Frames from times in seconds: a time belongs to the frame that is shown then, by the time stamps of the video.

Other programs write times, rounded to some decimals, and many multiply them by a frame rate, which is wrong where the
rate varies, frames were dropped, or the first frame is not shown at 0.
"""

from dataclasses import dataclass

import numpy as np

FLOAT_ERROR_SECONDS = 1e-9  # of a sum or a product of times; no video has frames as short as that


@dataclass(frozen=True)
class FrameTimes:
    """When the frames of a video are shown.

    Attributes:
        pts_seconds: float64 [T], ascending, the presentation time of each frame.
        frame_seconds: How long the last frame is shown.

    Example:
        >>> times = FrameTimes(np.array([0.0, 0.040, 0.100]), frame_seconds=0.040)
        >>> times.frame_shown_at(0.05, resolution=0.001), times.segment(0.05, 0.14, resolution=0.001)
        (1, (1, 3))
    """

    pts_seconds: np.ndarray
    frame_seconds: float

    @property
    def num_frames(self) -> int:
        """T, the number of frames."""
        return len(self.pts_seconds)

    @property
    def end_seconds(self) -> float:
        """The time at which the last frame ends; 0 without any frame."""
        return float(self.pts_seconds[-1]) + self.frame_seconds if len(self.pts_seconds) else 0.0

    @property
    def usual_step(self) -> float:
        """The median time between frames, in seconds."""
        return float(np.median(np.diff(self.pts_seconds))) if self.num_frames > 1 else self.frame_seconds

    def usable_resolution(self, resolution: float) -> float:
        """Return the resolution of the times of a file if frames are further apart than that, and otherwise 0.

        Whole seconds say nothing about which of the frames of a second is meant: they are taken as they are written.

        Args:
            resolution: See `frame_shown_at`.
        """
        return resolution if resolution <= self.usual_step else 0.0

    def frame_shown_at(self, seconds: float, *, resolution: float) -> int:
        """Return the frame that is shown at a time.

        Args:
            seconds: The time, on the clock of `pts_seconds`.
            resolution: The distance of neighbouring times that a file can state, such as 0.001 for milliseconds. The
                time of a frame, rounded so, still belongs to that frame, if frames are further apart than that.

        Returns:
            The number of the frame; -1 before the first one, and T from the end of the last one on.
        """
        latest = seconds + resolution / 2 + FLOAT_ERROR_SECONDS
        if len(self.pts_seconds) and latest >= self.end_seconds:
            return self.num_frames
        return int(np.searchsorted(self.pts_seconds, latest, side="right")) - 1

    def segment(self, start_seconds: float, stop_seconds: float, *, resolution: float) -> tuple[int, int]:
        """Return the frames of a segment, as [start, stop).

        The frame that is shown at the stop is the first one after the segment, so that segments that meet in time meet
        in a frame too. A part before the first frame or after the last one is left out.

        Args:
            start_seconds: The time at which it starts.
            stop_seconds: The time at which it stops.
            resolution: See `frame_shown_at`.

        Returns:
            Start and stop. They are equal where the segment is shorter than the frame in which it lies, or lies
            outside the video.
        """
        start = max(0, self.frame_shown_at(start_seconds, resolution=resolution))
        return start, max(start, self.frame_shown_at(stop_seconds, resolution=resolution))
