"""The part of a frame that is used and its size: all that a decoder has to know about an encoder."""

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import InputError

ROUNDING = 1e-9  # fractions such as 0.1 + 0.9 may exceed 1 by a rounding error


@dataclass(frozen=True)
class Region:
    """The region of interest, and the size that it is scaled to.

    Attributes:
        size: (height, width) of the encoder's input, in pixels.
        crop: (x, y, width, height) of the region of interest; None for the whole frame.
        crop_unit: "pixels", or "fractions" of the frame's width and height (rounded to whole pixels).
        follow_motion: Whether what moves is shown beside the region: the left half of the input is the region, and the
            right half the part of it that moves, see `readers.following`.

    Raises:
        InputError: An attribute is not valid.
    """

    size: tuple[int, int]
    crop: tuple[float, float, float, float] | None = None
    crop_unit: Literal["pixels", "fractions"] = "pixels"
    follow_motion: bool = False

    def __post_init__(self) -> None:
        if problems := self._problems():
            raise InputError("preprocessing: " + "; ".join(problems))

    def _problems(self) -> list[str]:
        problems = []
        if len(self.size) != 2 or min(self.size) < 1:
            problems.append(f"size must be (height, width) of at least 1, got {self.size}")
        if self.crop is not None and (len(self.crop) != 4 or min(self.crop[:2]) < 0 or min(self.crop[2:]) <= 0):
            problems.append(f"crop must be (x, y, width, height) with a positive area, got {self.crop}")
        if self.crop_unit not in ("pixels", "fractions"):
            problems.append(f"crop_unit must be 'pixels' or 'fractions', got {self.crop_unit!r}")
        if self.follow_motion and self.size[1] % 2:
            problems.append(f"the width must be even to follow motion, got {self.size[1]}")
        return problems

    def at_size(self, size: tuple[int, int]) -> "Region":
        """Return the region of interest alone, at another (height, width)."""
        return Region(size, self.crop, self.crop_unit)

    def crop_box(self, *, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the region in frames of this size.

        Args:
            width: Of the frames, in pixels.
            height: Of the frames, in pixels.

        Returns:
            (left, top, right, bottom) in whole pixels, right and bottom excluded.

        Raises:
            InputError: The crop does not lie within such a frame, or is smaller than a pixel.
        """
        if self.crop is None:
            return 0, 0, width, height
        x, y, crop_width, crop_height = self.crop
        scale_x, scale_y = (width, height) if self.crop_unit == "fractions" else (1, 1)
        edges = (x * scale_x, y * scale_y, (x + crop_width) * scale_x, (y + crop_height) * scale_y)
        left, top, right, bottom = (round(edge) for edge in edges)
        inside = edges[2] <= width * (1 + ROUNDING) and edges[3] <= height * (1 + ROUNDING)
        if not inside or left >= right or top >= bottom:
            raise InputError(
                f"crop (x, y, width, height) = {self.crop} in {self.crop_unit} does not lie within "
                f"a frame {width} wide and {height} high"
            )
        return left, top, right, bottom
