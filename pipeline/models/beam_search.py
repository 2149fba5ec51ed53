"""Beam search finds the likeliest sentences under a network that predicts the next word, step by step.

Shapes: N images, K beams of each, V words of the vocabulary, P words of the prefix, L words of the longest sentence,
its end included.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

# (words int64 [N, K], the last of each beam; state) -> (log-probabilities of the next word [N, K, V], state after it)
StepFunction = Callable[[Tensor, Any], tuple[Tensor, Any]]
# (state, images int64 [N'], beams int64 [N', K]) -> the state of these images' beams, in this order
Select = Callable[[Any, Tensor, Tensor], Any]


class Sentences(NamedTuple):
    """The K best sentences of each image, the best first.

    Attributes:
        words: int64 [N, K, L], without the prefix; each sentence ends with `end`, then padding. A row is all padding
            where there are fewer than K sentences.
        log_probs: [N, K], of all words of the sentence and its end, given the prefix; -inf where there is no sentence.
        scores: [N, K], which determine the order: log_probs / (number of words, end included) ** length_penalty.
    """

    words: Tensor
    log_probs: Tensor
    scores: Tensor


def beam_search(
    step: StepFunction,
    select: Select,
    state: Any,
    *,
    num_images: int,
    beam_size: int,
    max_words: int,
    length_penalty: float,
    prefix: Tensor,
    end: int,
    padding: int,
    repetition_cost: float = 0.0,
) -> Sentences:
    """Search for the best sentences that begin with a prefix.

    No sentence has the same three words in a row twice, those of the prefix included (Paulus et al. 2017, arXiv
    1705.04304). An image is done as soon as `beam_size` sentences have ended that were among its `beam_size` best when
    they did; with one beam this is greedy decoding. The score is normalised by length as in Wu et al. 2016, arXiv
    1609.08144, with 0 instead of their 5.

    Args:
        step: Predicts the next word of each beam.
        select: Selects the state of some images' beams.
        state: The state of the network with one beam of each image, after all words of the prefix but the last.
        num_images: N.
        beam_size: K.
        max_words: The maximum number of words of a sentence, after the prefix and without its end.
        length_penalty: 0 compares sums of log-probabilities, which favours short sentences; 1 compares means.
        prefix: int64 [P], P >= 1.
        end: The word that ends a sentence.
        padding: The word that fills up `Sentences.words`.
        repetition_cost: It is subtracted from the log-probability of a word that its sentence, prefix included, has
            already.
    """
    found = _nothing_found(num_images, beam_size, max_words + 1, padding, prefix.device)
    images = torch.arange(num_images, device=prefix.device)  # those that are not done
    num_ended = torch.zeros_like(images)
    words = prefix.expand(num_images, 1, -1)  # all beams would still be the same, so that one is enough
    log_probs = torch.zeros(num_images, 1, device=prefix.device)
    for num_words in range(1, max_words + 2):  # the length of a sentence that ends here, end included
        next_log_probs, state = step(words[:, :, -1], state)
        next_log_probs = _without_repeated_trigrams(next_log_probs.float(), words)
        if repetition_cost:
            known = next_log_probs.gather(2, words)
            next_log_probs = next_log_probs.scatter(2, words, known - repetition_cost)
        if num_words > max_words:
            next_log_probs = _only(end, next_log_probs)
        total = (log_probs.unsqueeze(2) + next_log_probs).flatten(1)
        too_few = max(0, 2 * beam_size - total.shape[1])
        # at most beam_size of these end, so that at least as many are left to continue
        best, position = pad(total, (0, too_few), value=-torch.inf).topk(2 * beam_size)
        position = position.where(best.isfinite(), 0)
        beams, chosen = position // next_log_probs.shape[2], position % next_log_probs.shape[2]
        candidates = torch.cat([_of_beams(words, beams), chosen.unsqueeze(2)], dim=2)
        ends = chosen == end

        ended = best[:, :beam_size].masked_fill(~ends[:, :beam_size], -torch.inf)
        num_ended = num_ended + ended.isfinite().sum(1)
        sentences = pad(candidates[:, :beam_size, len(prefix) :], (0, max_words + 1 - num_words), value=padding)
        sentences = sentences.masked_fill(~ended.isfinite().unsqueeze(2), padding)
        _keep_best(found, images, Sentences(sentences, ended, ended / num_words**length_penalty))

        log_probs, order = best.masked_fill(ends, -torch.inf).topk(beam_size)
        going_on = (num_ended < beam_size).nonzero().squeeze(1)
        if len(going_on) == 0:
            break
        words = _of_beams(candidates, order)[going_on]
        state = select(state, going_on, beams.gather(1, order)[going_on])
        images, num_ended, log_probs = images[going_on], num_ended[going_on], log_probs[going_on]
    return found


def _nothing_found(num_images: int, beam_size: int, longest: int, padding: int, device: torch.device) -> Sentences:
    nothing = torch.full((num_images, beam_size), -torch.inf, device=device)
    return Sentences(torch.full((num_images, beam_size, longest), padding, device=device), nothing, nothing.clone())


def _keep_best(found: Sentences, images: Tensor, new: Sentences) -> None:
    """Put the new sentences of `images` into `found`, where they are better than those that it holds."""
    rows = new.log_probs.isfinite().any(1)
    if not rows.any():
        return
    images = images[rows]
    words, log_probs, scores = (
        torch.cat([had[images], came[rows]], dim=1) for had, came in zip(found, new, strict=True)
    )
    found.scores[images], order = scores.topk(found.scores.shape[1])
    found.log_probs[images] = log_probs.gather(1, order)
    found.words[images] = _of_beams(words, order)


def _of_beams(words: Tensor, beams: Tensor) -> Tensor:
    """Select the words [N, K, l] of the beams [N, J]: [N, J, l]."""
    return words.gather(1, beams.unsqueeze(2).expand(-1, -1, words.shape[2]))


def _only(word: int, log_probs: Tensor) -> Tensor:
    allowed = torch.full_like(log_probs, -torch.inf)
    allowed[:, :, word] = log_probs[:, :, word]
    return allowed


def _without_repeated_trigrams(log_probs: Tensor, words: Tensor) -> Tensor:
    """Set log_probs [N, K, V] to -inf for the words that would end a trigram which words [N, K, l] hold already."""
    if words.shape[2] < 3:
        return log_probs
    here_before = (words[:, :, :-2] == words[:, :, -2:-1]) & (words[:, :, 1:-1] == words[:, :, -1:])
    image, beam, start = here_before.nonzero(as_tuple=True)
    log_probs = log_probs.clone()
    log_probs[image, beam, words[image, beam, start + 2]] = -torch.inf
    return log_probs
