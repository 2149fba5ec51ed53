"""The orientation in which a player shows the frames of a video: mirrored, and turned by quarters.

A file states it as a display matrix, which moves the point (x, y) of a stored frame to (a * x + c * y, b * x + d * y).
Any matrix is rounded here to the nearest one that only exchanges and mirrors the axes, in one place for all readers.

Shapes: H x W pixels of a stored frame, h x w pixels of a shown one.
"""

from typing import NamedTuple

import av
import numpy as np

_ONE = 1 << 16  # the numbers of a display matrix are fixed-point


class Orientation(NamedTuple):
    """How a stored frame becomes the shown one: its axes are exchanged, then mirrored.

    Attributes:
        is_transposed: Whether rows become columns.
        is_mirrored_across: Whether left and right are exchanged afterwards.
        is_mirrored_down: Whether top and bottom are exchanged afterwards.
        is_exact: Whether the matrix is exactly this; other programs may round it differently.
    """

    is_transposed: bool = False
    is_mirrored_across: bool = False
    is_mirrored_down: bool = False
    is_exact: bool = True

    @property
    def is_mirrored(self) -> bool:
        """Whether text in the stored frame is shown as mirror writing."""
        return self.is_transposed ^ self.is_mirrored_across ^ self.is_mirrored_down

    @property
    def rotation_degrees(self) -> int:
        """The rotation counterclockwise, 0 to 270; a mirrored frame is turned upside down as in a mirror before."""
        if self.is_transposed:
            return 90 if self.is_mirrored_down else 270
        return 180 if self.is_mirrored_across else 0

    def shown(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height of a shown frame from those of the stored one, or the reverse."""
        return (height, width) if self.is_transposed else (width, height)

    def turn(self, pixels: np.ndarray) -> np.ndarray:
        """Turn a stored frame into the shown one: [H, W, 3] -> [h, w, 3], as a view."""
        if self.is_transposed:
            pixels = pixels.swapaxes(0, 1)
        if self.is_mirrored_across:
            pixels = pixels[:, ::-1]
        return pixels[::-1] if self.is_mirrored_down else pixels


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Return the orientation of a decoded frame; only decoded frames state it.

    A frame that was asked stays in memory until Python collects its garbage, since PyAV makes it refer to itself: ask
    few frames, or use `OrientationsByAngle`.
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know the type of some other side data
        return _nearest_turn(frame.rotation)
    if matrix is None:
        return Orientation()
    a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).tolist()
    is_transposed = abs(b) + abs(c) > abs(a) + abs(d)
    across, down, *others = (c, b, a, d) if is_transposed else (a, d, b, c)
    is_exact = not any(others) and abs(across) == abs(down) == _ONE
    return Orientation(is_transposed, across < 0, down < 0, is_exact)


def _nearest_turn(degrees: int) -> Orientation:
    """Return the orientation of a frame that is turned counterclockwise by about these degrees."""
    quarters = round(degrees / 90) % 4
    return Orientation(quarters % 2 == 1, quarters in (2, 3), quarters in (1, 2), is_exact=degrees == quarters * 90)


class OrientationsByAngle:
    """The orientations of the frames of one video, of which only one frame is asked for each angle."""

    def __init__(self) -> None:
        self._known: dict[int, Orientation] = {}

    def of(self, frame: av.VideoFrame) -> Orientation:
        """Return the orientation of a frame."""
        angle = frame.rotation
        if angle not in self._known:
            self._known[angle] = orientation_of(frame)
        return self._known[angle]
