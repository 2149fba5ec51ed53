"""From a video's frames to the steps of a recurrent network: standardized over the video, pooled in blocks.

B videos, T frames, t frames of a chunk, S steps, F features.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from pipeline.rnn.chunked import ChunkFile

VARIANCE_EPSILON = 1e-5  # a feature that stands still becomes 0


def standardized(features: Tensor, mask: Tensor | None) -> Tensor:
    """features [B, T, F], zero at padding -> each minus its mean over the video's valid frames, divided by its standard
    deviation there; zero at padding.
    """
    count = features.shape[1] if mask is None else mask.sum(1, keepdim=True)
    centred = features - features.sum(1, keepdim=True) / count
    if mask is not None:
        centred = centred.masked_fill(~mask, 0)
    variance = centred.square().sum(1, keepdim=True) / count
    return centred / (variance + VARIANCE_EPSILON).sqrt()


def standardized_chunks(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """The chunks [t, F] of one video, standardized as a whole; until all were read, they lie in a temporary file."""
    with ChunkFile() as file:
        total, num_frames = torch.zeros(1, dtype=torch.float64), 0
        for chunk in chunks:
            total = total + chunk.sum(0, dtype=torch.float64).cpu()
            num_frames += len(chunk)
            file.append(chunk)
        mean = total / max(1, num_frames)
        squares = torch.zeros_like(total)
        for chunk in file.first_first():
            squares += (chunk.cpu().double() - mean).square().sum(0)
        std = (squares / max(1, num_frames) + VARIANCE_EPSILON).sqrt()
        for chunk in file.first_first():
            yield ((chunk.double() - mean.to(chunk.device)) / std.to(chunk.device)).to(chunk.dtype)


def pooled(features: Tensor, num_frames: int, *, lengths: Tensor | None = None) -> Tensor:
    """features [B, T, F], zero at padding -> means of blocks of `num_frames`, [B, S, F]. Only valid frames count."""
    num_steps = -(-features.shape[1] // num_frames)
    padded = pad(features, (0, 0, 0, num_steps * num_frames - features.shape[1]))
    if lengths is None:
        lengths = torch.tensor([features.shape[1]])
    left = lengths.to(features.device)[:, None] - num_frames * torch.arange(num_steps, device=features.device)
    return padded.unflatten(1, (num_steps, num_frames)).sum(2) / left.clamp(1, num_frames)[..., None]
