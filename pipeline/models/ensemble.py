"""Several labellers that read the same features of one video.

t frames of a chunk, T frames, F features, K classes.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor

from pipeline.models.labeller import Labeller
from pipeline.rnn.chunked import ChunkFile


def predict_each(labellers: Sequence[Labeller], chunks: Iterable[Tensor]) -> list[np.ndarray]:
    """Compute the probabilities of one video by each labeller, as `Labeller.predict` does.

    The chunks are asked for once. For several labellers a temporary file holds them, as each reads all of them.

    Args:
        labellers: The labellers.
        chunks: [t, F], the features of the video, in order.

    Returns:
        float32 [T, K], from each labeller.

    Raises:
        OSError: A temporary file finds no space.
    """
    if len(labellers) == 1:
        return [labellers[0].predict(chunks)]
    with ChunkFile() as file:
        for chunk in chunks:
            file.append(chunk)
        return [labeller.predict(file.first_first()) for labeller in labellers]
