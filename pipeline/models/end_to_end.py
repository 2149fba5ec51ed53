"""Encoder and labeller as one network, for training from pixels."""

from torch import Tensor, nn

from pipeline.models.augmentation import Augmentation
from pipeline.models.encoders.encoder import Encoder
from pipeline.models.labeller import Labeller, LabellerOutput, LabellerState
from pipeline.models.temporal import valid_positions


class EndToEnd(nn.Module):
    """Encoder and labeller as one module, trained together: the gradient of the labels reaches the encoder.

    Args:
        encoder: The encoder.
        labeller: The labeller.
        augmentation: The random changes of the frames in training; None for no changes.

    Raises:
        ValueError: The labeller expects another number of features than the encoder computes.
    """

    def __init__(self, encoder: Encoder, labeller: Labeller, *, augmentation: Augmentation | None = None) -> None:
        super().__init__()
        self.augmentation = augmentation
        if encoder.num_features != labeller.num_features:
            raise ValueError(
                f"the encoder gives {encoder.num_features} features, the labeller expects {labeller.num_features}"
            )
        self.encoder = encoder
        self.labeller = labeller

    def forward(
        self, frames: Tensor, *, lengths: Tensor | None = None, state: LabellerState | None = None
    ) -> LabellerOutput:
        """Compute the logits from frames. Padding is not encoded.

        Args:
            frames: [B, T, 3, h, w], normalized for the encoder.
            lengths: As in `Labeller.forward`.
            state: As in `Labeller.forward`.

        Raises:
            ValueError: The frames have a wrong shape; or as in `Labeller.forward`.
        """
        if frames.ndim != 5:
            raise ValueError(f"frames: got shape {list(frames.shape)}, expected [videos, frames, 3, height, width]")
        if self.training and self.augmentation:
            frames = self.augmentation(frames)
        num_videos, num_frames = frames.shape[:2]
        if lengths is None:
            features = self.encoder(frames.flatten(0, 1)).unflatten(0, (num_videos, num_frames))
        else:
            positions = valid_positions(lengths, frames)
            encoded = self.encoder(frames.flatten(0, 1)[positions])
            padded = encoded.new_zeros(num_videos * num_frames, encoded.shape[1]).index_copy(0, positions, encoded)
            features = padded.unflatten(0, (num_videos, num_frames))
        return self.labeller(features, lengths=lengths, state=state)
