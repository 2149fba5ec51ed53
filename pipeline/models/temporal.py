"""From a video's frames to the steps of a recurrent network.

Features are standardized over the video, and averaged in blocks of frames.

Shapes: B videos, T frames, t frames of a chunk, S steps, F features.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from pipeline.rnn import check_lengths, frame_mask
from pipeline.rnn.chunked import ChunkFile

VARIANCE_EPSILON = 1e-5  # with it, a feature that never changes becomes 0


def standardized(features: Tensor, mask: Tensor | None) -> Tensor:
    """Subtract each feature's mean over its video's valid frames, and divide it by its standard deviation there.

    Args:
        features: [B, T, F], zero at padding.
        mask: bool [B, T, 1], True at valid frames; None where all frames are valid.

    Returns:
        [B, T, F], zero at padding.
    """
    count = features.shape[1] if mask is None else mask.sum(1, keepdim=True)
    centred = features - features.sum(1, keepdim=True) / count
    if mask is not None:
        centred = centred.masked_fill(~mask, 0)
    variance = centred.square().sum(1, keepdim=True) / count
    return centred / (variance + VARIANCE_EPSILON).sqrt()


def standardized_chunks(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the chunks [t, F] of one video, standardized over the whole video.

    A temporary file holds the chunks, as none can be standardized before all were read.
    """
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


def ended(chunks: Iterable[Tensor], num_frames: int) -> Iterator[Tensor]:
    """Yield the chunks [t, F] of one video, and then its last frame `num_frames` times, as a look-ahead reads it.

    Args:
        chunks: [t, F], the features of the video, in order.
        num_frames: How often the last frame is repeated. A video without frames stays without.
    """
    last = None
    for chunk in chunks:
        yield chunk
        last = chunk[-1:] if len(chunk) else last
    if last is not None:
        yield last.expand(num_frames, -1)


def pooled(features: Tensor, num_frames: int, *, lengths: Tensor | None = None) -> Tensor:
    """Average blocks of frames; only valid frames count.

    Args:
        features: [B, T, F], zero at padding.
        num_frames: The number of frames in a block.
        lengths: int64 [B], the number of valid frames of each video; None where all are valid.

    Returns:
        [B, S, F], S = T / num_frames, rounded up.
    """
    num_steps = -(-features.shape[1] // num_frames)
    padded = pad(features, (0, 0, 0, num_steps * num_frames - features.shape[1]))
    if lengths is None:
        lengths = torch.tensor([features.shape[1]])
    lengths = lengths.to(features.device, non_blocking=True)
    left = lengths[:, None] - num_frames * torch.arange(num_steps, device=features.device)
    return padded.unflatten(1, (num_steps, num_frames)).sum(2) / left.clamp(1, num_frames)[..., None]


def deltas(
    parts: Sequence[Tensor], spans: Sequence[int], *, lengths: Tensor | None, past: Tensor | None
) -> tuple[list[Tensor], Tensor]:
    """Subtract from each part itself, as many frames earlier as its span says.

    Args:
        parts: [B, T, D_i] each.
        spans: The span of each, in frames.
        lengths: int64 [B], the number of valid frames of each video; None where all are valid.
        past: What the chunk before returned; None at the start of the videos, whose first frame then counts as the
            earlier ones.

    Returns:
        The deltas, and the last k valid frames of all parts together [B, k, D], for the next chunk: k is the longest
        span, and D the sum of D_i.
    """
    x, longest = torch.cat(list(parts), dim=-1), max(spans)
    if past is None:
        past = x[:, :1].expand(-1, longest, -1)
    joined, num_frames = torch.cat([past, x], dim=1), x.shape[1]
    earlier = joined.split([part.shape[-1] for part in parts], -1)
    changes = [
        part - whole[:, longest - span : longest - span + num_frames]
        for part, whole, span in zip(parts, earlier, spans, strict=True)
    ]
    if lengths is None:
        return changes, joined[:, -longest:]
    last = lengths.to(x.device, non_blocking=True)[:, None] + torch.arange(longest, device=x.device)
    return changes, joined.gather(1, last[..., None].expand(-1, -1, x.shape[2]))


def valid_frames(lengths: Tensor, x: Tensor) -> Tensor:
    """Return bool [B, T, 1], True where a frame of x [B, T, ...] is valid; ValueError if the lengths do not fit x."""
    return frame_mask(_fitting(lengths, x), x.shape[1], x.device).unsqueeze(2)


def valid_positions(lengths: Tensor, x: Tensor) -> Tensor:
    """Return the positions of the valid frames of x [B, T, ...] among all B * T, int64 [n]; errors as `valid_frames`.

    They are found on the CPU: a GPU would have to be waited for, as n decides the shapes of what follows.
    """
    mask = frame_mask(_fitting(lengths, x).cpu(), x.shape[1], torch.device("cpu"))
    return mask.flatten().nonzero().squeeze(1).to(x.device, non_blocking=True)


def _fitting(lengths: Tensor, x: Tensor) -> Tensor:
    problems = check_lengths(lengths, *x.shape[:2])
    if problems:
        raise ValueError("; ".join(problems))
    return lengths
