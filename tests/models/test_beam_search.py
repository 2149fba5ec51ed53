"""Beam search is compared with results by hand and with all possible sentences; the rules for sentences."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.models.beam_search import Sentences, beam_search

PADDING, START, END = 0, 1, 2
A, B = 3, 4


def search(chains: Tensor, **options) -> Sentences:
    """Search with chains [N, V, V]: per image, the probability of the next word (column) after the last word (row)."""
    log_chains = chains.log()
    num_images = len(chains)

    def step(words: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return log_chains[rows.unsqueeze(1), words], rows

    settings = {"beam_size": 2, "max_words": 4, "length_penalty": 0.0, "prefix": torch.tensor([START])}
    return beam_search(
        step,
        lambda rows, images, beams: rows[images],
        torch.arange(num_images),
        num_images=num_images,
        end=END,
        padding=PADDING,
        **{**settings, **options},
    )


def by_hand() -> Tensor:
    """Greedy search takes A (0.6), after which no word is likely. B (0.4) leads to the best sentence."""
    chain = torch.zeros(1, 5, 5)
    chain[0, START, [A, B]] = torch.tensor([0.6, 0.4])
    chain[0, A, [END, A, B]] = torch.tensor([0.3, 0.3, 0.4])
    chain[0, B, [END, A]] = torch.tensor([0.9, 0.1])
    return chain


def test_the_sentence_equals_one_found_by_hand():
    greedy = search(by_hand(), beam_size=1)
    assert greedy.words[0, 0].tolist() == [A, B, END, PADDING, PADDING]  # 0.6 * 0.4 * 0.9
    assert greedy.log_probs[0, 0].exp().item() == pytest.approx(0.216)
    found = search(by_hand(), beam_size=2)
    assert found.words[0].tolist() == [[B, END, PADDING, PADDING, PADDING], [A, B, END, PADDING, PADDING]]
    assert found.log_probs[0].exp().tolist() == pytest.approx([0.36, 0.216])


def test_a_penalty_of_length_1_compares_means():
    found = search(by_hand(), beam_size=2, length_penalty=1.0)
    assert found.scores[0].tolist() == pytest.approx([math.log(0.36) / 2, math.log(0.216) / 3])


def random_chains(num_images: int, num_words: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    chains = torch.rand(num_images, num_words, num_words, generator=generator, dtype=torch.float64) ** 3
    chains[:, :, [PADDING, START]] = 0
    return chains / chains.sum(2, keepdim=True)


def every_sentence(
    chain: Tensor, max_words: int, length_penalty: float, repetition_cost: float
) -> list[tuple[float, list[int]]]:
    sentences = []
    for length in range(max_words + 1):
        for words in itertools.product(range(3, len(chain)), repeat=length):
            path = [START, *words, END]
            trigrams = list(zip(path, path[1:], path[2:], strict=False))
            if len(set(trigrams)) == len(trigrams):
                log_prob = sum(chain[a, b].log().item() for a, b in itertools.pairwise(path))
                log_prob -= repetition_cost * (len(path) - len(set(path)))
                sentences.append((log_prob / (length + 1) ** length_penalty, path[1:]))
    return sorted(sentences, reverse=True)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(4, 6),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.7, 1.0]),
    st.sampled_from([0.0, 1.5]),
)
def test_a_beam_wide_enough_finds_the_best_of_all_sentences(seed, num_words, max_words, length_penalty, cost):
    chains = random_chains(2, num_words, seed)
    everything = [every_sentence(chain, max_words, length_penalty, cost) for chain in chains]
    options = {"max_words": max_words, "length_penalty": length_penalty, "repetition_cost": cost}
    found = search(chains, beam_size=len(everything[0]) + 1, **options)
    for image, sentences in enumerate(everything):
        scores, words = zip(*sentences, strict=True)
        assert found.scores[image, : len(scores)].tolist() == pytest.approx(list(scores))
        assert found.scores[image, len(scores) :].isinf().all()
        assert [word for word in found.words[image, 0].tolist() if word != PADDING] == words[0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 8), st.sampled_from([0.0, 0.7, 1.0]))
def test_several_images_get_the_sentences_of_each_alone(seed, beam_size, max_words, length_penalty):
    chains = random_chains(5, 7, seed)
    options = {"beam_size": beam_size, "max_words": max_words, "length_penalty": length_penalty}
    together = search(chains, **options)
    for image in range(5):
        alone = search(chains[image : image + 1], **options)
        for of_all, of_one in zip(together, alone, strict=True):
            assert torch.equal(of_all[image], of_one[0])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 9))
def test_sentences_end_in_time_repeat_no_trigram_and_have_their_probability(seed, beam_size, max_words):
    chains = random_chains(3, 5, seed)
    chains[:, :, END] *= 0.05
    prefix = [START, A, B]
    found = search(chains, beam_size=beam_size, max_words=max_words, prefix=torch.tensor(prefix))
    assert (found.scores[:, :-1] >= found.scores[:, 1:]).all()
    for chain, sentences, log_probs in zip(chains, found.words.tolist(), found.log_probs.tolist(), strict=True):
        for padded, log_prob in zip(sentences, log_probs, strict=True):
            words = [word for word in padded if word != PADDING]
            if not words:
                assert log_prob == -math.inf
                continue
            assert padded == words + [PADDING] * (len(padded) - len(words))
            assert words.index(END) == len(words) - 1 <= max_words
            path = prefix + words
            trigrams = list(zip(path, path[1:], path[2:], strict=False))
            assert len(set(trigrams)) == len(trigrams)
            steps = itertools.pairwise([prefix[-1], *words])
            assert log_prob == pytest.approx(sum(chain[a, b].log().item() for a, b in steps))


def test_one_beam_is_greedy_search():
    chains = random_chains(6, 9, 3)
    found = search(chains, beam_size=1, max_words=30).words[:, 0]
    for chain, sentence in zip(chains, found.tolist(), strict=True):
        words = [START]
        while words[-1] != END:
            allowed = chain[words[-1]].clone()
            for a, b, c in zip(words, words[1:], words[2:], strict=False):
                if [a, b] == words[-2:]:
                    allowed[c] = 0
            words.append(int(allowed.argmax()))
        assert [word for word in sentence if word != PADDING] == words[1:]
