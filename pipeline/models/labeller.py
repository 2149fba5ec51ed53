"""The labeller: features of frames, in order, -> logits of the classes. And an encoder and a labeller trained as one.

B videos, T frames, S steps of the recurrent network (T where it reads every frame), F features, H hidden, K classes.
Batch first; the state as `pipeline.rnn` has it.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.models.augmentation import Augmentation
from pipeline.models.encoders.encoder import Encoder
from pipeline.models.projection import project
from pipeline.models.temporal import pooled, standardized, standardized_chunks
from pipeline.rnn import GRU, LSTM, RNN, LSTMState, check_lengths, frame_mask
from pipeline.rnn.chunked import run_chunks
from pipeline.rnn.diagnostics import GradientFlow, observe
from pipeline.rnn.module import RecurrentInit

Cell = Literal["none", "tanh", "relu", "gru", "lstm"]
Head = Literal["many_to_many", "many_to_one"]
Inputs = Literal["features", "deltas", "both"]
Normalize = Literal["frame", "video"]
# What `predict` works on at once: the size of products of matrices decides how they are rounded.
CHUNK_FRAMES = 256


class LabellerState(NamedTuple):
    """What a causal labeller carries from one chunk of a video to the next.

    past  [B, k, H], the projections of the last k frames, from which deltas are taken; None without deltas.
    rnn   the recurrent network's state; None for cell "none".
    """

    past: Tensor | None
    rnn: Tensor | LSTMState | None

    def take(self, rows: Tensor) -> "LabellerState":
        """The state of these videos, int64 [B'], cut off from its past: no gradient goes back there."""
        rnn = self.rnn
        if isinstance(rnn, LSTMState):
            rnn = LSTMState(*(part.detach()[:, rows] for part in rnn))
        elif rnn is not None:
            rnn = rnn.detach()[:, rows]
        return LabellerState(None if self.past is None else self.past.detach()[rows], rnn)


class LabellerOutput(NamedTuple):
    """logits [B, T, K] (many_to_many; those of padding mean nothing) or [B, K] (many_to_one).

    state: after each video's last frame, to pass on with the next chunk.
    """

    logits: Tensor
    state: LabellerState


class Labeller(nn.Module):
    """Normalization -> Linear to H, ReLU -> dropout -> recurrent network -> dropout -> Linear to K.

    cell           "none" leaves the recurrent network out: each frame by itself, the baseline to compare with
    inputs         "features"; "deltas": their change over the last `delta_frames` frames, x_t - x_(t-k) (the delta
                   coefficients of Furui 1986; frames before the first count as the first), which keeps what moves and
                   drops what stands still; or "both". Cell "none" takes features, as deltas are memory.
    dropout        also between the layers of the recurrent network
    head           "many_to_many": logits for each frame; "many_to_one": for each video, from the mean over its valid
                   frames of what the last Linear reads. With a state carried in: over the frames of this chunk.
    normalize      "frame": LayerNorm over the features of each frame; "video": each feature minus its mean over the
                   video's frames, divided by its standard deviation there (instance normalization, Ulyanov et al.
                   2016, arXiv 1607.08022): what all frames of a video share, its place, person and camera, is taken
                   out. The video is the frames that are read at once.
    pool_frames    the recurrent network reads means of blocks of so many frames and names a block at a time: what was
                   seen long ago is fewer steps away
    recurrent_init  how W_hh starts, see the recurrent modules' `reset_parameters`
    feature_noise    in training: standard deviation of the noise added to each feature of each step
    feature_dropout  in training: probability that a feature is left out, in all of a video

    "video" and pool_frames above 1 know later frames: not for a causal recurrent network, nor with a state.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        *,
        cell: Cell,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        head: Head = "many_to_many",
        inputs: Inputs = "features",
        delta_frames: int = 4,
        normalize: Normalize = "frame",
        pool_frames: int = 1,
        recurrent_init: RecurrentInit = "uniform",
        feature_noise: float = 0.0,
        feature_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if head not in ("many_to_many", "many_to_one"):
            raise ValueError(f"head: got {head!r}, expected 'many_to_many' or 'many_to_one'")
        if inputs not in ("features", "deltas", "both") or (cell == "none" and inputs != "features"):
            expected = "'features', or with a cell 'deltas' or 'both'"
            raise ValueError(f"inputs: got {inputs!r} with cell {cell!r}, expected {expected}")
        if delta_frames < 1:
            raise ValueError(f"delta_frames: got {delta_frames}, expected 1 or more")
        if pool_frames < 1:
            raise ValueError(f"pool_frames: got {pool_frames}, expected 1 or more")
        self._looks_ahead = normalize == "video" or pool_frames > 1
        if self._looks_ahead and cell != "none" and not bidirectional:
            raise ValueError(
                f"normalize: got {normalize!r}, pool_frames: got {pool_frames}: a causal network knows no later frame,"
                " expected 'frame' and 1, or bidirectional"
            )
        self.num_features = num_features
        self.head = head
        self.delta_frames = delta_frames
        self.normalize = normalize
        self.pool_frames = pool_frames
        self.feature_noise = feature_noise
        self.feature_dropout = nn.Dropout(feature_dropout)
        self.norm = nn.LayerNorm(num_features) if normalize == "frame" else nn.Identity()
        self.projection = nn.Linear(num_features, hidden_size) if inputs != "deltas" else None
        self.delta_projection = nn.Linear(num_features, hidden_size, bias=False) if inputs != "features" else None
        self.dropout = nn.Dropout(dropout)
        self.rnn = _recurrent(
            cell,
            hidden_size,
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            recurrent_init=recurrent_init,
        )
        self.classifier = nn.Linear(hidden_size if self.rnn is None else self.rnn.output_size, num_classes)

    @property
    def causal(self) -> bool:
        """Whether the label of a frame depends on no later frame, so that a video may come in chunks."""
        return not self._looks_ahead and (self.rnn is None or not self.rnn.bidirectional)

    def forward(
        self, features: Tensor, *, lengths: Tensor | None = None, state: LabellerState | None = None
    ) -> LabellerOutput:
        """features [B, T, F]; lengths [B], valid frames of each video, None for T; state: of the chunk before, or None.

        What padding holds matters to nothing. ValueError on features, lengths or a state of a wrong shape.
        """
        if features.ndim != 3 or features.shape[2] != self.num_features:
            raise ValueError(
                f"features: got shape {list(features.shape)}, expected [videos, frames, {self.num_features}]"
            )
        if state is not None and self._looks_ahead:
            raise ValueError("state: got one, expected None: this labeller reads whole videos")
        mask = None if lengths is None else _valid_frames(lengths, features)
        if mask is not None:
            features = features.masked_fill(~mask, 0)
        num_frames = features.shape[1]
        if self.normalize == "video":
            features = standardized(features, mask)
        if self.pool_frames > 1:
            features = pooled(features, self.pool_frames, lengths=lengths)
            lengths = None if lengths is None else -(-lengths // self.pool_frames)
            mask = None if lengths is None else _valid_frames(lengths, features)
        x, past = self._embed(features, lengths=lengths, past=state.past if state else None)
        logits, rnn_state = self._name(x, lengths=lengths, mask=mask, state=state.rnn if state else None)
        if self.pool_frames > 1 and self.head == "many_to_many":
            logits = logits.repeat_interleave(self.pool_frames, dim=1)[:, :num_frames]
        return LabellerOutput(logits, LabellerState(past, rnn_state))

    def gradient_flow(
        self, features: Tensor, loss: Callable[[Tensor], Tensor], *, lengths: Tensor | None = None
    ) -> GradientFlow | None:
        """How the gradient of `loss`, of the logits, fares on its way back through time; None for cell "none".

        Call `eval()` before: then no random number is drawn. No parameter's gradient is touched.
        """
        if self.rnn is None:
            return None
        with torch.enable_grad(), observe(self.rnn) as observed:
            return observed.flow(loss(self(features, lengths=lengths).logits))

    @torch.inference_mode()
    def predict(self, chunks: Iterable[Tensor]) -> np.ndarray:
        """Probabilities float32 [T, K] of one video, its features in chunks [t, F], in order. Call `eval()` before.

        Those of `forward` for the whole video, bidirectional networks too, and the same to the last bit however the
        video is cut into chunks. Memory is that of a few chunks and of the result, see `rnn.whole`. Many-to-one: every
        frame gets the probabilities of the video. OSError where a temporary file finds no space.
        """
        lengths: list[int] = []
        equal = _of_equal_length(
            _measured(chunks, lengths), math.ceil(CHUNK_FRAMES / self.pool_frames) * self.pool_frames
        )
        found = bytearray()  # grows where it is: parts joined at the end would be there twice
        for probabilities in self._name_chunks(self._embed_chunks(equal)):
            found += probabilities.float().cpu().contiguous().numpy().data
        of_steps = np.frombuffer(found, np.float32).reshape(-1, self.classifier.out_features)
        if self.pool_frames == 1:
            return of_steps
        return of_steps.repeat(self.pool_frames, axis=0)[: sum(lengths)]

    def _embed_chunks(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """[t, F] -> [1, s, H]"""
        past = None
        for chunk in standardized_chunks(chunks) if self.normalize == "video" else chunks:
            features = chunk.to(self.classifier.weight.device)[None]
            if self.pool_frames > 1:
                features = pooled(features, self.pool_frames)
            x, past = self._embed(features, past=past)
            yield x

    def _name_chunks(self, embedded: Iterable[Tensor]) -> Iterator[Tensor]:
        """[1, s, H] -> probabilities [s, K]; many-to-one: from all chunks, the same ones for every step."""
        outputs = embedded if self.rnn is None else run_chunks(self.rnn, embedded)
        if self.head == "many_to_many":
            for output in outputs:
                yield self.classifier(output)[0].softmax(-1)
            return
        total, num_steps = self.classifier.weight.new_zeros(1, dtype=torch.float64), 0
        for output in outputs:
            total = total + output.sum(1, dtype=torch.float64)
            num_steps += output.shape[1]
        probabilities = self.classifier((total / num_steps).to(self.classifier.weight.dtype)).softmax(-1)
        yield from probabilities.expand(num_steps, -1).split(CHUNK_FRAMES)

    def _embed(
        self, features: Tensor, *, lengths: Tensor | None = None, past: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """[B, S, F] -> [B, S, H], each step by itself but for the deltas; and the `past` of the next chunk.

        The projection is linear, so the delta of the projections is the projection of the deltas.
        """
        linears = [linear for linear in (self.projection, self.delta_projection) if linear]
        parts = project(self._disturbed(features) if self.training else features, self.norm, linears)
        if self.delta_projection:
            parts[-1], past = _deltas(parts[-1], self.delta_frames, lengths=lengths, past=past)
        return self.dropout(torch.relu(torch.stack(parts).sum(0))), past

    def _disturbed(self, features: Tensor) -> Tensor:
        """With noise, and with some features left out of all of a video, as training sees them."""
        if self.feature_noise:
            features = features + self.feature_noise * torch.randn_like(features)
        if self.feature_dropout.p:
            features = features * self.feature_dropout(torch.ones_like(features[:, :1]))
        return features

    def _name(
        self,
        x: Tensor,
        *,
        lengths: Tensor | None = None,
        mask: Tensor | None = None,
        state: Tensor | LSTMState | None = None,
    ) -> tuple[Tensor, Tensor | LSTMState | None]:
        """Embedded steps [B, S, H] -> logits, and the recurrent network's state."""
        if self.rnn is not None:
            x, state = self.rnn(x, state, lengths)
        if self.head == "many_to_one":
            x = x.mean(1) if mask is None else x.masked_fill(~mask, 0).sum(1) / mask.sum(1)
        return self.classifier(self.dropout(x)), state


class EndToEnd(nn.Module):
    """Encoder and labeller as one module, trained together: the gradient of the labels reaches the encoder.

    augmentation: what happens to frames in training.
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
        """frames [B, T, 3, h, w], normalized for the encoder; the rest as in `Labeller`. Padding is not encoded."""
        if frames.ndim != 5:
            raise ValueError(f"frames: got shape {list(frames.shape)}, expected [videos, frames, 3, height, width]")
        if self.training and self.augmentation:
            frames = self.augmentation(frames)
        num_videos, num_frames = frames.shape[:2]
        if lengths is None:
            features = self.encoder(frames.flatten(0, 1)).unflatten(0, (num_videos, num_frames))
        else:
            mask = _valid_frames(lengths, frames).squeeze(2)
            encoded = self.encoder(frames[mask])
            features = encoded.new_zeros(num_videos, num_frames, encoded.shape[1]).index_put((mask,), encoded)
        return self.labeller(features, lengths=lengths, state=state)


def _recurrent(cell: Cell, size: int, **options: Any) -> RNN | GRU | LSTM | None:
    """`options` as the recurrent modules have them."""
    match cell:
        case "none":
            return None
        case "tanh" | "relu":
            return RNN(size, size, nonlinearity=cell, **options)
        case "gru":
            return GRU(size, size, **options)
        case "lstm":
            return LSTM(size, size, **options)
    raise ValueError(f"cell: got {cell!r}, expected 'none', 'tanh', 'relu', 'gru' or 'lstm'")


def _deltas(x: Tensor, num_frames: int, *, lengths: Tensor | None, past: Tensor | None) -> tuple[Tensor, Tensor]:
    """x [B, T, H] minus itself `num_frames` earlier, and the last `num_frames` valid frames, for the next chunk."""
    if past is None:
        past = x[:, :1].expand(-1, num_frames, -1)
    joined = torch.cat([past, x], dim=1)
    if lengths is None:
        return x - joined[:, : x.shape[1]], joined[:, -num_frames:]
    last = lengths.to(x.device)[:, None] + torch.arange(num_frames, device=x.device)
    return x - joined[:, : x.shape[1]], joined.gather(1, last[..., None].expand(-1, -1, x.shape[2]))


def _measured(chunks: Iterable[Tensor], lengths: list[int]) -> Iterator[Tensor]:
    """The same chunks, the length of each added to `lengths` on the way."""
    for chunk in chunks:
        lengths.append(len(chunk))
        yield chunk


def _of_equal_length(chunks: Iterable[Tensor], num_frames: int) -> Iterator[Tensor]:
    """The same frames in chunks [num_frames, F], the last one shorter."""
    waiting: list[Tensor] = []
    for part in (part for chunk in chunks for part in chunk.split(num_frames)):
        num_missing = num_frames - sum(map(len, waiting))
        waiting.append(part[:num_missing])
        if len(part) >= num_missing:
            yield torch.cat(waiting)
            waiting = [part[num_missing:]]
    if sum(map(len, waiting)):
        yield torch.cat(waiting)


def _valid_frames(lengths: Tensor, x: Tensor) -> Tensor:
    """[B, T, 1], True where a frame of x [B, T, ...] is valid. ValueError on lengths that do not fit x."""
    problems = check_lengths(lengths, *x.shape[:2])
    if problems:
        raise ValueError("; ".join(problems))
    return frame_mask(lengths, x.shape[1], x.device).unsqueeze(2)
