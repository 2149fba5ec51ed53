"""What moves before a camera that stands still, and where: a box for each frame of a video.

The background is the median of frames from all over a block of the video. What differs from it moves, or has moved; the
largest such part is the subject. Where there is none, or it has become background because it rested for most of a
block, the box stays between those before and after.

T frames, H x W pixels.
"""

from collections.abc import Iterable

import cv2
import numpy as np
from scipy.ndimage import median_filter

SIDE = 160  # pixels of the longer side of the frames that boxes are found in
BLOCK_FRAMES = 1024  # with a background of their own, as daylight changes
BACKGROUND_FRAMES = 60  # of a block, whose median is the background
LEAST_CHANGE = 28  # grey levels of one of the three colours, above the noise of cameras and of compression
LEAST_AREA = 1 / 128  # of the frame
GAP = 3  # pixels on each side by which parts that belong together may be apart
SMOOTHED_FRAMES = 7  # of which a box is the median
MARGIN = 1.25  # of what is shown around the subject
LEAST_SHARE = 0.2  # of the width and the height of the frame that are shown at least

Boxes = np.ndarray  # float64 [T, 4]: left, top, right, bottom in fractions of the width and the height


def small_size(width: int, height: int) -> tuple[int, int]:
    """Return the (height, width) of the frames in which boxes are found."""
    scale = SIDE / max(width, height)
    return max(1, round(height * scale)), max(1, round(width * scale))


def find_boxes(batches: Iterable[np.ndarray], num_frames: int) -> Boxes:
    """Find what moves.

    Args:
        batches: uint8 [n, H, W, 3], the frames of a whole video, of `small_size`.
        num_frames: T.

    Returns:
        The box of each frame; the whole frame where nothing moves in the video.
    """
    boxes = np.full((num_frames, 4), np.nan)
    start = 0
    for block in _blocks(batches):
        boxes[start : start + len(block)] = _boxes_of_block(block)
        start += len(block)
    return _without_gaps(boxes)


def _blocks(batches: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    """Yield the frames in blocks; the last one has up to twice as many, so that none is short."""
    waiting: list[np.ndarray] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= 2 * BLOCK_FRAMES:
            frames = np.concatenate(waiting)
            yield frames[:BLOCK_FRAMES]
            waiting = [frames[BLOCK_FRAMES:]]
    if waiting:
        yield np.concatenate(waiting)


def _boxes_of_block(frames: np.ndarray) -> Boxes:
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), BACKGROUND_FRAMES)).round().astype(int)
    background = np.median(frames[chosen], axis=0).astype(np.uint8)
    return np.stack([_box_of(cv2.absdiff(frame, background)) for frame in frames])


def _box_of(change: np.ndarray) -> np.ndarray:
    """Return the box of the largest part that changed [4]; NaN where none is large enough."""
    height, width = change.shape[:2]
    changed = (change.max(axis=2) > LEAST_CHANGE).astype(np.uint8)
    changed = cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    joined = cv2.dilate(changed, np.ones((2 * GAP + 1, 2 * GAP + 1), np.uint8))
    _, _, parts, _ = cv2.connectedComponentsWithStats(joined)
    left, top, box_width, box_height, area = max(parts[1:].tolist(), key=lambda part: part[4], default=(0,) * 5)
    if area < LEAST_AREA * width * height:
        return np.full(4, np.nan)
    return np.array([left / width, top / height, (left + box_width) / width, (top + box_height) / height])


def _without_gaps(boxes: Boxes) -> Boxes:
    is_known = ~np.isnan(boxes[:, 0])
    if not is_known.any():
        return np.tile([0.0, 0.0, 1.0, 1.0], (len(boxes), 1))
    frames = np.arange(len(boxes))
    filled = np.stack([np.interp(frames, frames[is_known], side[is_known]) for side in boxes.T], axis=1)
    smoothed: Boxes = median_filter(filled, (SMOOTHED_FRAMES, 1), mode="nearest")
    return smoothed


def view_of(box: np.ndarray, *, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the part of a frame that shows a box: with a margin, within the frame, and in its shape.

    Args:
        box: [4], see `Boxes`.
        width: Of the frame, in pixels.
        height: Of the frame, in pixels.

    Returns:
        (left, top, right, bottom) in pixels, right and bottom excluded.
    """
    share = float(np.clip(MARGIN * max(box[2] - box[0], box[3] - box[1]), LEAST_SHARE, 1))
    view_width, view_height = max(1, round(share * width)), max(1, round(share * height))
    left = round(float(np.clip((box[0] + box[2]) / 2 * width - view_width / 2, 0, width - view_width)))
    top = round(float(np.clip((box[1] + box[3]) / 2 * height - view_height / 2, 0, height - view_height)))
    return left, top, left + view_width, top + view_height
