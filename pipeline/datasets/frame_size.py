"""The size at which the encoder gets the frames of a data set, where the data set decides it."""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.datasets.manifest import Source
from pipeline.video.region import Region

AREA = 224 * 224  # pixels, at which most networks were trained on photographs
STEP = 32  # pixels of a side: the cells of the last map of most networks, and a multiple of the patches of others


def frame_size(sources: Sequence[Source], region: Region) -> tuple[int, int]:
    """Return the size in which frames keep their shape and have about as many pixels as 224 x 224.

    A network that was trained on photographs knows things in their proportions, and a frame that is squeezed into a
    square shows others.

    Args:
        sources: The videos. Where their shapes differ, it is the shape of the frame in the middle of all their frames,
            from the widest to the highest one.
        region: The region of the frames that the encoder gets, of any size.

    Returns:
        (height, width) in pixels, multiples of STEP.

    Raises:
        InputError: The region does not lie within the frames of a video.
    """
    shapes = []
    for source in sources:
        assert source.width, "prepare writes the width of videos"
        assert source.height, "prepare writes the height of videos"
        left, top, right, bottom = region.crop_box(width=source.width, height=source.height)
        shapes.append((right - left) / (bottom - top))
    order = np.argsort(shapes)
    ends = np.cumsum([sources[index].num_frames for index in order])
    shape = shapes[order[np.searchsorted(ends, ends[-1] / 2)]]
    height, width = math.sqrt(AREA / shape), math.sqrt(AREA * shape)
    return STEP * max(1, round(height / STEP)), STEP * max(1, round(width / STEP))
