"""The labeller: features of frames, in order, -> logits of the classes. And an encoder and a labeller trained as one.

B videos, T frames, S steps of the recurrent network (T where it reads every frame), F features, H hidden, K classes.
Batch first; the state as `pipeline.rnn` has it.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.config.labeller import LabellerSettings
from pipeline.models.class_probabilities import Groups, class_probabilities
from pipeline.models.map_reader import KERNEL_SIZE, MapReader
from pipeline.models.projection import project
from pipeline.models.temporal import deltas, ended, pooled, standardized, standardized_chunks, valid_frames
from pipeline.rnn import GRU, LSTM, RNN, LSTMState
from pipeline.rnn.chunked import run_chunks
from pipeline.rnn.diagnostics import GradientFlow, observe

# The chunks that `predict` computes: the size of products of matrices decides how they are rounded.
CHUNK_FRAMES = 256


class LabellerState(NamedTuple):
    """The state that a causal labeller carries from one chunk of a video to the next.

    Attributes:
        past: [B, k, D], what the last k frames were projected or filtered to, from which deltas are taken, k the
            longest span and D the width of all deltas together; None without deltas.
        rnn: The recurrent network's state; None for cell "none".
    """

    past: Tensor | None
    rnn: Tensor | LSTMState | None

    def take(self, rows: Tensor) -> "LabellerState":
        """Return the state of some videos, detached: no gradient flows back into it.

        Args:
            rows: int64 [B'], the videos.
        """
        rnn = self.rnn
        if isinstance(rnn, LSTMState):
            rnn = LSTMState(*(part.detach()[:, rows] for part in rnn))
        elif rnn is not None:
            rnn = rnn.detach()[:, rows]
        return LabellerState(None if self.past is None else self.past.detach()[rows], rnn)


class LabellerOutput(NamedTuple):
    """The output of a labeller.

    Attributes:
        logits: [B, T, K] for many_to_many, where those of padding have no meaning; [B, K] for many_to_one. With a
            look-ahead of n frames, those of step t are of the label of frame t - n.
        state: The state after each video's last frame, for the next chunk.
    """

    logits: Tensor
    state: LabellerState


class Labeller(nn.Module):
    """Normalization -> Linear to H, ReLU -> dropout -> recurrent network -> dropout -> Linear to K.

    - Deltas (`inputs`) are the change of the features over the last `delta_frames` frames, x_t - x_(t-k) (the delta
      coefficients of Furui 1986). Frames before the first one count as the first one. They keep what moves and drop
      what stands still. Deltas over several spans have weights of their own, and are added up.
    - With `map_filters`, the features are a map of the encoder, which filters read (`models.map_reader`) instead of
      the Linear.
    - With `head` "many_to_one" there are logits for each video: the last Linear reads the mean over the video's valid
      frames. With a state carried in, that is the mean over the frames of this chunk.
    - With `normalize` "video", each feature has its mean over the video's frames subtracted and is divided by its
      standard deviation there (instance normalization, Ulyanov et al. 2016, arXiv 1607.08022). That takes out what all
      frames of a video share: its place, person and camera. The video is the frames that are read in one call.
    - With `pool_frames` above 1, the recurrent network reads means of blocks of frames and names one block at a time:
      what was seen long ago is fewer steps away.
    - With a `look_ahead` of n, the label of frame t comes at step t + n, when the network has read n more frames (the
      delayed targets of Graves and Schmidhuber 2005, doi 10.1016/j.neunet.2005.06.042). After a video's
      last frame the network reads this frame n times more: so do training, `predict` and `models.stream`.
    - The cell "none" leaves the recurrent network out: each frame by itself, the baseline to compare with.

    Normalization over the video and blocks know later frames. The settings allow them neither for a causal recurrent
    network nor with a state.

    Args:
        settings: The network, see `LabellerSettings`; its `pool_frames` is a number.
        num_features: F, the features of a frame.
        num_classes: K.
        grid: The cells along each side of the encoder's map, which the features are.
        groups: The indices of the classes of each group, where classes overlap; None where they are exclusive.
        feature_noise: In training, the standard deviation of the noise that is added to each feature of each step.
        feature_dropout: In training, the probability that a feature is left out, in all of a video.

    Raises:
        ValueError: `pool_frames` is "auto", of which training has to make a number first.
    """

    def __init__(
        self,
        settings: LabellerSettings,
        *,
        num_features: int,
        num_classes: int,
        grid: int = 1,
        groups: Groups | None = None,
        feature_noise: float = 0.0,
        feature_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if settings.pool_frames == "auto":
            raise ValueError("pool_frames: got 'auto', expected a number of frames, which training makes of it")
        self._looks_ahead = settings.normalize == "video" or settings.pool_frames > 1
        self.num_features = num_features
        self.groups = groups
        self.head = settings.head
        self.hidden_size = settings.hidden_size
        self.delta_spans = settings.delta_spans
        self.look_ahead = settings.look_ahead
        self.normalize = settings.normalize
        self.pool_frames = settings.pool_frames
        self.feature_noise = feature_noise
        self.feature_dropout = nn.Dropout(feature_dropout)
        # Weights of a norm before filters need the gradient of the maps, which takes as long as that of the filters.
        norm_has_weights = settings.map_filters is None
        normalizes = settings.normalize == "frame"
        self.norm = nn.LayerNorm(num_features, elementwise_affine=norm_has_weights) if normalizes else nn.Identity()
        self.reads_features = settings.inputs != "deltas"
        self.map_reader = _map_reader(settings, num_features, grid) if settings.map_filters else None
        self.projection = self.delta_projection = None
        if self.map_reader is None and self.reads_features:
            self.projection = nn.Linear(num_features, settings.hidden_size)
        if self.map_reader is None and self.delta_spans:
            width = settings.hidden_size * len(self.delta_spans)
            self.delta_projection = nn.Linear(num_features, width, bias=False)
        self.dropout = nn.Dropout(settings.dropout)
        self.rnn = _recurrent(settings)
        width = settings.hidden_size if self.rnn is None else self.rnn.output_size
        self.classifier = nn.Linear(width, num_classes)

    @property
    def causal(self) -> bool:
        """Whether a step depends on no later frame, so that a video may come in chunks."""
        return not self._looks_ahead and (self.rnn is None or not self.rnn.bidirectional)

    def forward(
        self, features: Tensor, *, lengths: Tensor | None = None, state: LabellerState | None = None
    ) -> LabellerOutput:
        """Compute the logits of steps or videos. The content of padding has no influence.

        Args:
            features: [B, T, F].
            lengths: [B], the number of valid frames of each video; None where all T are valid.
            state: The state after the previous chunk; None at the beginning of the videos.

        Raises:
            ValueError: The features, the lengths or the state have a wrong shape; or there is a state, and this
                labeller reads whole videos.
        """
        if features.ndim != 3 or features.shape[2] != self.num_features:
            raise ValueError(
                f"features: got shape {list(features.shape)}, expected [videos, frames, {self.num_features}]"
            )
        if state is not None and self._looks_ahead:
            raise ValueError("state: got one, expected None: this labeller reads whole videos")
        mask = None if lengths is None else valid_frames(lengths, features)
        if mask is not None:
            features = features.masked_fill(~mask, 0)
        num_frames = features.shape[1]
        if self.normalize == "video":
            features = standardized(features, mask)
        if self.pool_frames > 1:
            features = pooled(features, self.pool_frames, lengths=lengths)
            lengths = None if lengths is None else -(-lengths // self.pool_frames)
            mask = None if lengths is None else valid_frames(lengths, features)
        x, past = self._embed(features, lengths=lengths, past=state.past if state else None)
        logits, rnn_state = self._name(x, lengths=lengths, mask=mask, state=state.rnn if state else None)
        if self.pool_frames > 1 and self.head == "many_to_many":
            logits = logits.repeat_interleave(self.pool_frames, dim=1)[:, :num_frames]
        return LabellerOutput(logits, LabellerState(past, rnn_state))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Compute the probabilities of the classes from logits [..., K]: see `class_probabilities`."""
        return class_probabilities(logits, self.groups)

    def gradient_flow(
        self, features: Tensor, loss: Callable[[Tensor], Tensor], *, lengths: Tensor | None = None
    ) -> GradientFlow | None:
        """Measure how the gradient of a loss changes on its way back through time.

        Call `eval()` before: then no random number is drawn. No parameter's gradient is changed.

        Args:
            features: [B, T, F].
            loss: Returns the loss of the logits.
            lengths: As in `forward`.

        Returns:
            The measurement; None for cell "none".
        """
        if self.rnn is None:
            return None
        with torch.enable_grad(), observe(self.rnn) as observed:
            return observed.flow(loss(self(features, lengths=lengths).logits))

    @torch.inference_mode()
    def predict(self, chunks: Iterable[Tensor]) -> np.ndarray:
        """Compute the probabilities of one video. Call `eval()` before.

        They are those of `forward` for the whole video, for bidirectional networks too, and the same to the last bit
        however the video is cut into chunks. Memory is that of a few chunks and of the result, see `rnn.chunked`.

        Args:
            chunks: [t, F], the features of the video, in order.

        Returns:
            float32 [T, K]. Many-to-one: every frame gets the probabilities of the video.

        Raises:
            OSError: A temporary file finds no space.
        """
        lengths: list[int] = []
        equal = of_equal_length(
            ended(_measured(chunks, lengths), self.look_ahead),
            math.ceil(CHUNK_FRAMES / self.pool_frames) * self.pool_frames,
        )
        found = bytearray()  # it grows in place: parts joined at the end would need the memory twice
        for probabilities in self._name_chunks(self._embed_chunks(equal)):
            found += probabilities.float().cpu().contiguous().numpy().data
        of_steps = np.frombuffer(found, np.float32).reshape(-1, self.classifier.out_features)
        if self.pool_frames == 1:
            return of_steps[self.look_ahead :]
        return of_steps.repeat(self.pool_frames, axis=0)[: sum(lengths)]

    def _embed_chunks(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Embed chunks [t, F]: [1, s, H] of each."""
        past = None
        for chunk in standardized_chunks(chunks) if self.normalize == "video" else chunks:
            features = chunk.to(self.classifier.weight.device)[None]
            if self.pool_frames > 1:
                features = pooled(features, self.pool_frames)
            x, past = self._embed(features, past=past)
            yield x

    def _name_chunks(self, embedded: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield probabilities [s, K] of embedded chunks [1, s, H].

        Many-to-one: they come from all chunks, and are the same for every step.
        """
        outputs = embedded if self.rnn is None else run_chunks(self.rnn, embedded)
        if self.head == "many_to_many":
            for output in outputs:
                yield self.probabilities(self.classifier(output)[0])
            return
        total, num_steps = self.classifier.weight.new_zeros(1, dtype=torch.float64), 0
        for output in outputs:
            total = total + output.sum(1, dtype=torch.float64)
            num_steps += output.shape[1]
        logits = self.classifier((total / num_steps).to(self.classifier.weight.dtype))
        probabilities = self.probabilities(logits)
        yield from probabilities.expand(num_steps, -1).split(CHUNK_FRAMES)

    def _embed(
        self, features: Tensor, *, lengths: Tensor | None = None, past: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Embed steps [B, S, F], each by itself but for the deltas: [B, S, H], and the `past` of the next chunk.

        Projections and filters are linear, so the delta of what they give is what they give of the deltas.
        """
        features = self._disturbed(features) if self.training else features
        if self.map_reader:
            parts = self.map_reader.filtered(self.norm(features))
        else:
            linears = [linear for linear in (self.projection, self.delta_projection) if linear]
            projected = project(features, self.norm, linears)
            parts = [part for wide in projected for part in wide.split(self.hidden_size, -1)]
        if self.delta_spans:
            first = len(parts) - len(self.delta_spans)
            changes, past = deltas(parts[first:], self.delta_spans, lengths=lengths, past=past)
            parts = parts[:first] + changes
        total = torch.stack(parts).sum(0)
        return self.dropout(torch.relu(self.map_reader(total) if self.map_reader else total)), past

    def _disturbed(self, features: Tensor) -> Tensor:
        """Add noise, and leave some features out of all of a video, as in training."""
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
        """Compute logits of embedded steps [B, S, H], and the recurrent network's state."""
        if self.rnn is not None:
            x, state = self.rnn(x, state, lengths)
        if self.head == "many_to_one":
            x = x.mean(1) if mask is None else x.masked_fill(~mask, 0).sum(1) / mask.sum(1)
        return self.classifier(self.dropout(x)), state


def least_num_weights(settings: LabellerSettings, *, num_features: int, num_classes: int, grid: int = 1) -> int:
    """How many weights such a labeller has at least, without building it: those of its large matrices."""
    hidden = settings.hidden_size
    recurrent = 0 if settings.cell == "none" else settings.num_layers * hidden**2 * (2 if settings.bidirectional else 1)
    if settings.map_filters:
        weights_of_filter = KERNEL_SIZE**2 * settings.num_parts * (num_features // grid**2)
        projections = settings.map_filters * (weights_of_filter + hidden * grid**2)
    else:
        projections = settings.num_parts * num_features * hidden
    return projections + recurrent + hidden * num_classes


def _recurrent(settings: LabellerSettings) -> RNN | GRU | LSTM | None:
    """Build the recurrent network between two linear layers of H units, with freshly drawn weights."""
    size = settings.hidden_size
    options: dict[str, Any] = {
        "num_layers": settings.num_layers,
        "bidirectional": settings.bidirectional,
        "dropout": settings.dropout,
        "recurrent_init": settings.recurrent_init,
    }
    match settings.cell:
        case "none":
            return None
        case "tanh" | "relu":
            return RNN(size, size, nonlinearity=settings.cell, **options)
        case "gru":
            return GRU(size, size, **options)
        case "lstm":
            return LSTM(size, size, **options)


def _map_reader(settings: LabellerSettings, num_features: int, grid: int) -> MapReader:
    """Build the filters; each of the features and the spans of deltas has filters of its own."""
    assert settings.map_filters
    return MapReader(
        num_features // grid**2,
        grid,
        num_filters=settings.map_filters,
        num_parts=settings.num_parts,
        hidden_size=settings.hidden_size,
    )


def _measured(chunks: Iterable[Tensor], lengths: list[int]) -> Iterator[Tensor]:
    """Yield the same chunks, and add the length of each to `lengths`."""
    for chunk in chunks:
        lengths.append(len(chunk))
        yield chunk


def of_equal_length(chunks: Iterable[Tensor], num_frames: int) -> Iterator[Tensor]:
    """Yield the same frames [t, F] in chunks [num_frames, F], the last one shorter."""
    waiting: list[Tensor] = []
    for part in (part for chunk in chunks for part in chunk.split(num_frames)):
        num_missing = num_frames - sum(map(len, waiting))
        waiting.append(part[:num_missing])
        if len(part) >= num_missing:
            yield torch.cat(waiting)
            waiting = [part[num_missing:]]
    if sum(map(len, waiting)):
        yield torch.cat(waiting)
