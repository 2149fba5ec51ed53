"""What a many-to-one model learns of a video: its class, or the set of its classes where classes overlap.

Shapes: T frames, K classes.
"""

import numpy as np

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.datasets.manifest import video_class


def video_target(labels: np.ndarray, label_space: LabelSpace) -> int | np.ndarray | None:
    """Return the target of a video.

    Args:
        labels: int64 [T], or int8 [T, K] where classes overlap.
        label_space: The classes.

    Returns:
        The index of the class, see `video_class`; where classes overlap, int8 [K], see `video_presence`. None where the
        video says nothing.
    """
    return video_class(labels, label_space) if label_space.is_exclusive else video_presence(labels, label_space)


def video_presence(labels: np.ndarray, label_space: LabelSpace) -> np.ndarray | None:
    """Return the set of classes of a video.

    Args:
        labels: int8 [T, K].
        label_space: The classes, which overlap.

    Returns:
        int8 [K]: PRESENT where a frame has the class, ABSENT where no frame has it and some are known not to,
        IGNORE_INDEX where nothing is known of it, or where frames have other classes of its group, of which the video
        can have one. None where nothing is known of any class.

    >>> video_presence(np.array([[1, 0, -100], [0, 0, -100]], dtype=np.int8), LabelSpace.independent(("a", "b", "c")))
    array([   1,    0, -100], dtype=int8)
    """
    found = np.where((labels == ABSENT).any(axis=0), ABSENT, IGNORE_INDEX).astype(np.int8)
    found[(labels == PRESENT).any(axis=0)] = PRESENT
    for members in map(list, label_space.group_members):
        if (found[members] == PRESENT).sum() > 1:
            found[members] = IGNORE_INDEX
    return found if label_space.is_labelled(found).any() else None
