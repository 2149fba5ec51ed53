"""What files of other programs cannot keep of any labels: frames that are too close together, and blanks in names."""

from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.annotations.foreign.base import LabelledVideo
from pipeline.annotations.foreign.document import Loss
from pipeline.annotations.foreign.values import one_line, shown
from pipeline.annotations.times import FLOAT_ERROR_SECONDS

CLOSE = "videos have frames closer together than the times of this format can tell apart: segments may move by a frame"
CHANGED = "names have blanks at an end, or line ends, which this format does not keep"


def close_frames(videos: Iterable[LabelledVideo], shortest: float) -> list[Loss]:
    """Return a loss for each video whose frames do not all come back from their times.

    Args:
        videos: The videos.
        shortest: The duration of the shortest frames that the format can tell apart, in seconds.
    """
    losses = []
    for video in videos:
        ends = np.append(video.times.pts_seconds, video.times.end_seconds)
        closest = float(np.diff(ends).min(initial=np.inf)) if video.times.num_frames else np.inf
        if closest < shortest - FLOAT_ERROR_SECONDS:
            losses.append(Loss(CLOSE, video.video.name, f"{closest * 1000:.3g} ms, expected {shortest * 1000:g} ms"))
    return losses


def changed_names(videos: Sequence[LabelledVideo], media: Iterable[str] = ()) -> list[Loss]:
    """Return a loss for each name that is another one when it is read again, see `values.one_line`.

    Args:
        videos: The videos, for the names of their classes.
        media: What the file calls them.
    """
    names = dict.fromkeys([*(name for video in videos for name in video.label_space.classes), *media])
    return [Loss(CHANGED, "", shown(name)) for name in names if one_line(name) != name]
