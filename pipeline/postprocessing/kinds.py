"""Probabilities of frames, weighed by what kind of video they are from.

A network that learnt from videos of several kinds gives each class the share that it has in all of them. In a video of
one kind the shares are others. Where h(c) are the shares of the classes c in the video and g(c) those of all training
videos, the probabilities become p(c) h(c) / g(c), divided by their sum (Saerens, Latinne, Decaestecker, "Adjusting the
outputs of a classifier to new a priori probabilities", Neural Computation 14, 2002, equation 2.4). h is the mean of the
shares of the training videos, each weighed by how probable the new video is if it is of that kind.

Shapes: T frames, K classes, V training videos.
"""

import numpy as np

from pipeline.annotations.video_kinds import VideoKinds

CHUNK_FRAMES = 4096


def weigh_by_kind(probabilities: np.ndarray, kinds: VideoKinds | None) -> np.ndarray:
    """Weigh the probabilities of the frames of a whole video.

    Args:
        probabilities: [T, K].
        kinds: The training videos; None changes nothing.

    Returns:
        [T, K], of the same dtype; each row sums to 1.

    >>> kinds = VideoKinds(shares=((0.9, 0.1), (0.1, 0.9)), usual=(0.5, 0.5), observation_frames=1.0)
    >>> weigh_by_kind(np.array([[0.8, 0.2]] * 20 + [[0.5, 0.5]]), kinds)[[0, -1]].round(2).tolist()
    [[0.97, 0.03], [0.9, 0.1]]
    """
    if kinds is None:
        return probabilities
    shares, usual = np.array(kinds.shares), np.array(kinds.usual)
    ratios = shares / usual
    scores = np.zeros(len(shares))
    for start in range(0, len(probabilities), CHUNK_FRAMES):
        scores += np.log(probabilities[start : start + CHUNK_FRAMES] @ ratios.T).sum(axis=0)
    scores /= kinds.observation_frames
    weights = np.exp(scores - scores.max(initial=-np.inf))
    weighed = probabilities * (weights / weights.sum() @ ratios)
    return (weighed / weighed.sum(axis=1, keepdims=True)).astype(probabilities.dtype)
