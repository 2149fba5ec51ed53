"""Levels of detail of what a model says of a video, so that a timeline of days is drawn from a few tiles.

A bin of level L has 4**L frames. A tile has BINS bins of K + 1 rows: the highest probability of each class in the bin,
and the highest uncertainty, each from 0 to 255. T frames, K classes.
"""

import numpy as np

from pipeline.annotations.label_space import LabelSpace

BINS = 1024  # of a tile
FACTOR = 4  # frames of a bin from one level to the next
CHUNK = 1 << 16  # frames that are computed at once, so that no float array of the whole video is made
HIGHEST = 255


def count_levels(num_frames: int) -> int:
    """Return the number of levels: the last one is a single tile.

    >>> count_levels(1024), count_levels(1025), count_levels(900_000)
    (1, 2, 6)
    """
    levels, bins = 1, num_frames
    while bins > BINS:
        bins = -(-bins // FACTOR)
        levels += 1
    return levels


def uncertainty_of(probabilities: np.ndarray, labels: np.ndarray, label_space: LabelSpace) -> np.ndarray:
    """Return how uncertain a model is of each frame, float [T] from 0 to 1; 0 for a frame that has no label.

    Args:
        probabilities: [T, K].
        labels: int64 [T], the labels of the model; or int8 [T, K] where classes overlap.
        label_space: The classes.

    Returns:
        1 - p of the label; where classes overlap, twice the smaller one of p and 1 - p of the most doubted class.
    """
    if label_space.num_classes == 0:
        return np.zeros(len(labels))
    if label_space.is_exclusive:
        is_labelled = label_space.is_labelled(labels)
        chosen = np.take_along_axis(probabilities, np.where(is_labelled, labels, 0)[:, None], axis=1)[:, 0]
        doubt = np.where(is_labelled, 1 - chosen, 0)
    else:
        known = np.where(labels == label_space.unlabelled(1)[0], 0, np.minimum(probabilities, 1 - probabilities))
        doubt = 2 * known.max(axis=1)
    return np.nan_to_num(doubt, nan=0.0)


class Pyramid:
    """All levels of a video.

    Args:
        probabilities: [T, K]; NaN for frames that were not decoded, which count as 0.
        labels: int64 [T] or int8 [T, K], the labels of the model.
        label_space: The classes.
    """

    def __init__(self, probabilities: np.ndarray, labels: np.ndarray, label_space: LabelSpace) -> None:
        num_frames, num_classes = probabilities.shape
        finest = np.empty((num_classes + 1, num_frames), np.uint8)
        for start in range(0, num_frames, CHUNK):
            part = slice(start, min(num_frames, start + CHUNK))
            values = probabilities[part].astype(np.float32)
            doubt = uncertainty_of(values, labels[part], label_space)
            rows = np.column_stack([np.nan_to_num(values, nan=0.0), doubt])
            finest[:, part] = np.rint(rows.T * HIGHEST).astype(np.uint8)
        self.levels = [finest]
        for _ in range(count_levels(num_frames) - 1):
            self.levels.append(_coarser(self.levels[-1]))

    @property
    def num_bytes(self) -> int:
        """The size in memory."""
        return sum(level.nbytes for level in self.levels)

    def tile(self, level: int, index: int) -> bytes | None:
        """Return a tile, row by row; None where there is no such one."""
        if not 0 <= level < len(self.levels) or index < 0:
            return None
        bins = self.levels[level][:, index * BINS : (index + 1) * BINS]
        return np.ascontiguousarray(bins).tobytes() if bins.shape[1] else None


def _coarser(level: np.ndarray) -> np.ndarray:
    num_rows, num_bins = level.shape
    padded = np.zeros((num_rows, -(-num_bins // FACTOR) * FACTOR), np.uint8)
    padded[:, :num_bins] = level
    return padded.reshape(num_rows, -1, FACTOR).max(axis=2)
