"""The captioner: features of an image's regions -> a recurrent network that attends to them -> a caption's words.

N images, R regions, C channels, K captions (or beams) of an image, T words, E embedding, H hidden, A heads, V words of
the vocabulary, G gates of the cell.

The recurrent network reads the words so far. Then its hidden state attends to the regions, and the result decides the
next word. This is the adaptive attention of Lu et al. 2017 (arXiv 1612.01887), which comes from "Show, Attend and Tell"
(Xu et al. 2015, arXiv 1502.03044): attention comes after the recurrence, so that all words of a known caption go
through the recurrent network in one call. docs/explained/captions.md explains it, and says where it differs from the
papers.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pipeline.config.captioner import CaptionerSettings
from pipeline.models.beam_search import Sentences, beam_search
from pipeline.rnn import GRU, LSTM, LSTMState, frame_mask
from pipeline.rnn.cells import STEPS
from pipeline.text.vocabulary import END, PADDING, START, UNKNOWN

NEVER_SAID = [PADDING, START, UNKNOWN]


class View(NamedTuple):
    """N images in the form in which the captioner looks at them.

    Attributes:
        values: [N, A, R, H/A], the content of each region.
        keys: [N, A, R, H/A], by which each region is found.
        whole: [N, E], the image at a glance.
        projected: [N, G*H], what the glance adds to the G gates at each word: its part of W_ih, and b_ih.
    """

    values: Tensor
    keys: Tensor
    whole: Tensor
    projected: Tensor


class CaptionState(NamedTuple):
    """The state between two words of K captions of N images.

    Attributes:
        view: The images, [N, ...].
        h: [N, K, H], the hidden state.
        c: [N, K, H], the cell state; None with a GRU.
    """

    view: View
    h: Tensor
    c: Tensor | None

    def select(self, images: Tensor, beams: Tensor) -> "CaptionState":
        """Return the state of some captions of some images.

        Args:
            images: int64 [N'], the images, in order, each once.
            beams: int64 [N', K'], the captions of each of them.
        """
        all_of_them = len(images) == len(self.h)
        view = self.view if all_of_them else View(*(part[images] for part in self.view))
        h, c = (None if part is None else part[images.unsqueeze(1), beams] for part in (self.h, self.c))
        assert h is not None
        return CaptionState(view, h, c)

    def flat(self) -> tuple[Tensor, Tensor | None]:
        """Return h and c in the shape that the recurrent network takes, [N * K, H]."""
        return self.h.flatten(0, 1), None if self.c is None else self.c.flatten(0, 1)

    def after(self, state: Tensor | LSTMState) -> "CaptionState":
        """Return the same captions after a step.

        Args:
            state: The new state of the recurrent network, of N * K rows.
        """
        h, c = state if isinstance(state, LSTMState) else (state, None)
        return CaptionState(self.view, h.view_as(self.h), None if c is None else c.view_as(self.h))


class LockedDropout(nn.Module):
    """Dropout that drops the same features at each of the T steps (Gal, Ghahramani 2016, arXiv 1512.05287).

    Args:
        probability: The probability that a feature is dropped.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Drop features of x [B, T, F] in training, and scale the others up; return x as it is otherwise."""
        if not self.training or self.probability == 0:
            return x
        kept = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= self.probability
        return x * (kept / (1 - self.probability)).to(x.dtype)


class Captioner(nn.Module):
    """Regions [N, R, C] -> captions. Words are embedded and named by the same matrix (Press, Wolf 2017, 1608.05859).

    v_r = relu(W_v norm(region_r) + b_v + p_r)                       value of a region, p_r learnt of its place
    g = [max_r v_r, mean_r v_r]                                      a glance at all of the image
    h_0 = tanh(W_0 g + b_0)                                          likewise c_0
    h_t = GRU or LSTM([embedding of word t, relu(W_g g + b_g)], h_(t-1))
    s_t = sigmoid(W_x embedding_t + b_x + W_h h_(t-1)) * h_t         sentinel: what can be said without looking
    q_t = W_q norm(h_t) + b_q
    a_t = softmax over regions and s_t of q_t . (W_k v_r, W_s s_t) / sqrt(H/A)         attention [R + 1]
    z_t = tanh(W_z norm(sum_r a_tr v_r + a_ts s_t + h_t) + b_z)
    log-probabilities of word t + 1 = log softmax(embedding matrix z_t + b)
    norm(x)                                                          LayerNorm, each with its own scale and shift

    With A heads there are A attentions: head i has the i-th part, H/A wide, of q_t, keys, values and sentinel (Vaswani
    et al. 2017, arXiv 1706.03762), so that a word such as "above" can depend on two places.

    Args:
        settings: The network, see `CaptionerSettings`.
        num_channels: C, the channels of a region.
        num_words: The size of the vocabulary.
        num_regions: R, the regions of an image.

    Raises:
        ValueError: The number of heads does not divide the hidden size.
    """

    def __init__(self, settings: CaptionerSettings, *, num_channels: int, num_words: int, num_regions: int) -> None:
        super().__init__()
        embedding_size, hidden_size = settings.embedding_size, settings.hidden_size
        if hidden_size % settings.num_heads:
            raise ValueError(f"num_heads: got {settings.num_heads}, expected a divisor of hidden_size {hidden_size}")
        self.num_heads = settings.num_heads
        self.num_regions = num_regions
        self.num_channels = num_channels
        self.region_norm = nn.LayerNorm(num_channels)
        self.value = nn.Linear(num_channels, hidden_size)
        self.place = nn.Parameter(0.5 * torch.randn(num_regions, hidden_size))
        self.key = nn.Linear(hidden_size, hidden_size, bias=False)
        self.start = nn.Linear(2 * hidden_size, hidden_size * (2 if settings.cell == "lstm" else 1))
        self.whole = nn.Linear(2 * hidden_size, embedding_size)
        self.embedding = nn.Embedding(num_words, embedding_size, padding_idx=PADDING)
        nn.init.normal_(self.embedding.weight, std=embedding_size**-0.5)
        self.rnn = (LSTM if settings.cell == "lstm" else GRU)(2 * embedding_size, hidden_size)
        self.query_norm = nn.LayerNorm(hidden_size)
        self.query = nn.Linear(hidden_size, hidden_size)
        self.sentinel_of_word = nn.Linear(embedding_size, hidden_size)
        self.sentinel_of_state = nn.Linear(hidden_size, hidden_size, bias=False)
        self.sentinel_key = nn.Linear(hidden_size, hidden_size, bias=False)
        self.seen_norm = nn.LayerNorm(hidden_size)
        self.mix = nn.Linear(hidden_size, embedding_size)
        self.word_bias = nn.Parameter(torch.zeros(num_words))
        self.locked_dropout = LockedDropout(settings.dropout)
        self.dropout = nn.Dropout(settings.output_dropout)

    def forward(self, regions: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        """Predict each word of known captions from the words before it (teacher forcing).

        Args:
            regions: [N, R, C].
            words: int64 [N, K, T], START first, then the words, then PADDING.
            lengths: int64 [N, K], the number of words that are not padding.

        Returns:
            The logits [M, V] of the word after each of the M words that are not padding, in the order of `words`.
        """
        mixed, _, _ = self._read(words, self.begin(regions, words.shape[1]), lengths)
        mask = frame_mask(lengths.flatten(), words.shape[2], words.device).view(words.shape)
        return self._logits(mixed[mask])

    def attention(self, regions: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        """Compute where the captioner looks to choose the word after each of `words`.

        Args:
            regions: As in `forward`.
            words: As in `forward`.
            lengths: As in `forward`.

        Returns:
            [N, K, T, R + 1], the mean of the heads; the last is that of the sentinel. Each sums to 1; those of padding
            have no meaning.
        """
        return self._read(words, self.begin(regions, words.shape[1]), lengths)[1]

    def begin(self, regions: Tensor, num_captions: int) -> CaptionState:
        """Return the state before the first word.

        Args:
            regions: [N, R, C].
            num_captions: K.

        Raises:
            ValueError: The regions have a wrong shape.
        """
        expected = [self.num_regions, self.num_channels]
        if regions.ndim != 3 or list(regions.shape[1:]) != expected:
            raise ValueError(f"regions: got shape {list(regions.shape)}, expected [images, {str(expected)[1:]}")
        values = torch.relu(self.value(self.region_norm(regions)) + self.place)
        glance = torch.cat([values.amax(1), values.mean(1)], dim=1)
        state = torch.tanh(self.start(glance)).unsqueeze(1).expand(-1, num_captions, -1)
        h, *c = state.split(self.rnn.hidden_size, dim=2)
        # split into heads once, and not at every step: a product of matrices would copy them each time
        values, keys = (self._of_heads(part).contiguous() for part in (values, self.key(values)))
        whole = torch.relu(self.whole(glance))
        weights = self.rnn.weights(0)[0]
        projected = linear(whole, weights.ih[:, self.embedding.embedding_dim :], weights.bias_ih)
        return CaptionState(View(values, keys, whole, projected), h, c[0] if c else None)

    def step(self, words: Tensor, state: CaptionState) -> tuple[Tensor, CaptionState]:
        """Predict the next word of captions.

        It is one step of the recurrent network by its equations: so the glance is projected once per image, not at each
        word.

        Args:
            words: int64 [N, K], the last words.
            state: The state before them.

        Returns:
            The log-probabilities of the next words [N, K, V], and the state after `words`.
        """
        embedded = self.locked_dropout(self.embedding(words.flatten()).unsqueeze(1))
        weights = self.rnn.weights(0)[0]
        of_words = linear(embedded.squeeze(1), weights.ih[:, : self.embedding.embedding_dim])
        projected = of_words + state.view.projected.repeat_interleave(words.shape[1], dim=0)
        h, c = state.flat()
        before = h if c is None else LSTMState(h, c)
        after = STEPS[self.rnn.cell](projected, before, weights.hh, weights.bias_hh)
        state = state.after(after)
        mixed, _ = self._mix(state.view, embedded, h.unsqueeze(1), state.flat()[0].unsqueeze(1))
        return self.log_probs(self._logits(mixed.view(*words.shape, -1))), state

    def log_probs(self, logits: Tensor) -> Tensor:
        """Return the log-probabilities of the next word.

        PADDING, START and UNKNOWN are never said: theirs are -inf.

        Args:
            logits: [..., V].
        """
        never = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
        never[NEVER_SAID] = True
        return torch.log_softmax(logits.masked_fill(never, -torch.inf), dim=-1)

    @torch.inference_mode()
    def generate(
        self, regions: Tensor, *, prefix: Tensor, beam_size: int, max_words: int, length_penalty: float
    ) -> Sentences:
        """Search for the best captions of each image with `beam_search`; call `eval()` before.

        Args:
            regions: [N, R, C].
            prefix: int64 [P], START and the words that every caption begins with.
            beam_size: The number of captions of each image.
            max_words: As in `beam_search`.
            length_penalty: As in `beam_search`.

        Raises:
            ValueError: The regions have a wrong shape.
        """
        state = self.begin(regions, 1)
        if len(prefix) > 1:
            _, _, state = self._read(prefix[:-1].expand(len(regions), 1, -1), state)
        return beam_search(
            self.step,
            CaptionState.select,
            state,
            num_images=len(regions),
            beam_size=beam_size,
            max_words=max_words,
            length_penalty=length_penalty,
            prefix=prefix,
            end=END,
            padding=PADDING,
        )

    @torch.no_grad()
    def sample(self, regions: Tensor, *, num_captions: int, max_words: int) -> Tensor:
        """Draw captions at random, each word by its probability. Dropout is as the mode says.

        Args:
            regions: [N, R, C].
            num_captions: K.
            max_words: The maximum number of words of a caption, at which END may be missing.

        Returns:
            int64 [N, K, L], END and PADDING after the last word.
        """
        state = self.begin(regions, num_captions)
        words = torch.full((*state.h.shape[:2], 1), START, device=regions.device)
        ended = torch.zeros(state.h.shape[:2], dtype=torch.bool, device=regions.device)
        while words.shape[2] <= max_words and not ended.all():
            log_probs, state = self.step(words[:, :, -1], state)
            drawn = torch.multinomial(log_probs.exp().flatten(0, 1), 1).view(ended.shape)
            drawn = drawn.masked_fill(ended, PADDING)
            words = torch.cat([words, drawn.unsqueeze(2)], dim=2)
            ended |= drawn == END
        return words[:, :, 1:]

    def _read(
        self, words: Tensor, state: CaptionState, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor, CaptionState]:
        """Read words int64 [N, K, T] with lengths [N, K], or None for T.

        Returns z [N, K, T, E], the attention [N, K, T, R + 1] and the state after the words.
        """
        embedded = self.locked_dropout(self.embedding(words.flatten(0, 1)))
        h, c = state.flat()
        whole = state.view.whole.repeat_interleave(words.shape[1], dim=0).unsqueeze(1).expand_as(embedded)
        outputs, after = self.rnn(
            torch.cat([embedded, whole], dim=2),
            h.unsqueeze(0) if c is None else LSTMState(h.unsqueeze(0), c.unsqueeze(0)),
            lengths=None if lengths is None else lengths.flatten(),
        )
        before = torch.cat([h.unsqueeze(1), outputs[:, :-1]], dim=1)
        mixed, attention = self._mix(state.view, embedded, before, outputs)
        return mixed.view(*words.shape, -1), attention.view(*words.shape, -1), state.after(after)

    def _mix(self, view: View, embedded: Tensor, before: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and attention, [N, K * T, ...], of words [N * K, T, E] and h before and after each [N * K, T, H]."""
        gate = torch.sigmoid(self.sentinel_of_word(embedded) + self.sentinel_of_state(before))
        seen, attention = self._look(view, outputs.reshape(len(view.whole), -1, outputs.shape[2]), gate)
        return torch.tanh(self.mix(self.dropout(seen))), attention

    def _look(self, view: View, outputs: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        """Attend to the regions with the outputs h and the gate [N * K, T, H].

        Returns what is seen, with h, [N, K * T, H], and the attention [N, K * T, R + 1].
        """
        h = self.locked_dropout(outputs)
        sentinel = gate.view_as(h) * h
        query = self._of_heads(self.query(self.query_norm(h))) / math.sqrt(h.shape[2] / self.num_heads)
        sentinel_key, sentinel = self._of_heads(self.sentinel_key(sentinel)), self._of_heads(sentinel)
        matches = [query @ view.keys.transpose(2, 3), (query * sentinel_key).sum(3, keepdim=True)]
        attention = torch.softmax(torch.cat(matches, dim=3), dim=3)
        seen = attention[..., :-1] @ view.values + attention[..., -1:] * sentinel
        return self.seen_norm(seen.transpose(1, 2).flatten(2) + h), attention.mean(1)

    def _of_heads(self, x: Tensor) -> Tensor:
        """[N, n, H] -> [N, A, n, H/A]."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def _logits(self, mixed: Tensor) -> Tensor:
        return linear(self.dropout(mixed), self.embedding.weight, self.word_bias)


def least_num_weights(settings: CaptionerSettings, *, num_channels: int, num_words: int, num_regions: int) -> int:
    """How many weights such a captioner has at least, without building it: those of its large matrices."""
    hidden, embedding = settings.hidden_size, settings.embedding_size
    inside = hidden * (num_channels + num_regions + 6 * hidden + 3 * embedding)
    return inside + num_words * embedding
