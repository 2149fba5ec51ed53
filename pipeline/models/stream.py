"""The labels of a video that comes in chunks, such as that of a camera.

t frames of a chunk, n frames of look-ahead, F features, K classes.
"""

import numpy as np
import torch
from torch import Tensor

from pipeline.models.labeller import Labeller, LabellerState


class LabelStream:
    """One video that a causal labeller reads as it comes.

    The chunks together give the probabilities of `Labeller.predict`, except for rounding. Those of a frame come when
    `look_ahead` more frames were added, or with `end`.

    Args:
        labeller: The labeller, in eval mode, of which `causal` is true.
    """

    def __init__(self, labeller: Labeller) -> None:
        self._labeller = labeller
        self._state: LabellerState | None = None
        self._last: Tensor | None = None
        self._num_ahead = labeller.look_ahead  # steps that come before the one of the first frame

    @torch.inference_mode()
    def add(self, features: Tensor) -> np.ndarray:
        """Read the next frames.

        Args:
            features: [t, F], at least one frame.

        Returns:
            float32 [t, K], the probabilities of the frames that are n frames earlier; the first n frames of a video
            give none.
        """
        features = features.to(self._labeller.classifier.weight.device)
        logits, self._state = self._labeller(features[None], state=self._state)
        self._last = features[-1:]
        num_skipped = min(self._num_ahead, len(features))
        self._num_ahead -= num_skipped
        return self._labeller.probabilities(logits[0, num_skipped:]).float().cpu().numpy()

    def end(self) -> np.ndarray:
        """Return the probabilities float32 [<= n, K] of the last frames, as none follow. Call it once."""
        if self._last is None or not self._labeller.look_ahead:
            return np.zeros((0, self._labeller.classifier.out_features), np.float32)
        return self.add(self._last.expand(self._labeller.look_ahead, -1))
