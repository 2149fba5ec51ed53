"""Write headlines for news: from the words of an item to those of a title, which are fewer (many-to-many).

    python examples/headlines.py                            # on made news, in a minute
    python examples/headlines.py --data FOLDER --cells gru

A bidirectional network, the encoder, reads the text. Another network, the decoder, starts from its last states and
reads the title so far. At each word it attends to the text (Bahdanau et al. 2015, arXiv 1409.0473), and what it sees
decides the next word: a word of the vocabulary, or, by a gate, a word that the attention is on (a pointer, See et al.
2017, arXiv 1704.04368). So titles can have names that were never seen before: the first rare word of a text is called
<1> in the text and in the title, the second <2>. A beam search finds the likeliest title, as for captions of images.

FOLDER has news.csv, with the columns title and text; the last tenth is for validation. The score is ROUGE-L (Lin 2004),
the F1 of the longest common subsequence, beside that of the text's first nine words. --out gets a checkpoint for each
cell, from which a stopped training goes on, and headlines.png: where a title comes from, and how far back the encoder's
gradient reaches.
"""

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import dropout, nll_loss

from framescribe import Vocabulary, beam_search, detokenize, tokenize
from pipeline.rnn import frame_mask
from pipeline.rnn.sequences import CELLS, batches, draw_gradients, gradients, pad, remembered, train_each

PADDING, START, END, UNKNOWN = range(4)
RARE = 6  # a word that occurs less often gets a number
LONGEST_TEXT, LONGEST_TITLE = 50, 15


class Item(NamedTuple):
    """The words of a text and its title, and the rare words of the text, in order."""

    text: list[str]
    title: list[str]
    rare: list[str]

    def spell(self, words: list[str]) -> list[str]:
        """Put the rare words in the place of their numbers."""
        return [self.rare[int(word[1:-1]) - 1] if word.startswith("<") else word for word in words]


def made_news() -> list[tuple[str, str]]:
    """Make items whose titles are a part of the text, with names of which each occurs once."""
    news = []
    for i, j, k, n in torch.randint(0, 60, (400, 4)).tolist():
        who, does = f"{'brdlm'[i % 5]}a{'stkn'[j % 4]}o{n}{k}", ("wins", "loses", "visits")[i % 3]
        what = ("the cup", "the election", "a museum", "the race")[k % 4]
        news.append(
            (f"{who} {does} {what}", f"On {('Monday', 'Friday')[j % 2]}, officials say, {who} {does} {what} again.")
        )
    return news


def read_news(path: Path) -> list[tuple[str, str]]:
    """Read the titles and texts of a table, without the remains of HTML in them."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"title", "text"} <= rows[0].keys():
        got = f"the columns {list(rows[0])}" if rows else "no rows"
        raise ValueError(f"{path}: got {got}, expected rows with the columns title and text")
    return [tuple(row[name].replace(" #39;", "'").replace("\\", " ") for name in ("title", "text")) for row in rows]


def numbered(news: list[tuple[str, str]]) -> list[Item]:
    """Split news into words, and give the rare ones of each text their numbers."""
    words = [(tokenize(title)[:LONGEST_TITLE], tokenize(text)[:LONGEST_TEXT]) for title, text in news]
    count = Counter(word for title, text in words for word in title + text)
    items = []
    for title, text in words:
        rare = list(dict.fromkeys(word for word in text if count[word] < RARE))
        names = {word: f"<{number}>" for number, word in enumerate(rare, start=1)}
        items.append(Item([names.get(word, word) for word in text], [names.get(word, word) for word in title], rare))
    return [item for item in items if item.text and item.title]


class Editor(nn.Module):
    """N texts -> titles. S words of a text, T of a title, K titles (beams) of each, V of the vocabulary, H = 256."""

    def __init__(self, cell: str, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.vocabulary, self.embedding = vocabulary, nn.Embedding(len(vocabulary), 128, padding_idx=PADDING)
        self.rnn, self.decoder = CELLS[cell](128, 128, bidirectional=True), CELLS[cell](128, 256)
        self.query, self.mix, self.gate = nn.Linear(256, 256), nn.Linear(512, 128), nn.Linear(128, 1)

    def read(self, items: list[Item]) -> tuple[Any, list[Tensor]]:
        """Return what the attention needs (keys [N, S, H], mask, words), and the state before a title, [N, 1, H] each."""
        words, lengths = pad([torch.tensor(self.vocabulary.encode(item.text)) for item in items])
        keys, state = self.rnn(dropout(self.embedding(words), 0.3, self.training), lengths=lengths)
        state = state if isinstance(state, tuple) else (state,)
        states = [part.transpose(0, 1).flatten(1).unsqueeze(1) for part in state]
        return (keys, frame_mask(lengths, words.shape[1], words.device), words), states

    def decode(self, memory: Any, states: list[Tensor], words: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Read words [N, K, T] of titles.

        Returns:
            log-probabilities of each next word [N, K, T, V], the states, and the attention [N, K * T, S].
        """
        keys, mask, text = memory
        state = [part.flatten(0, 1).unsqueeze(0) for part in states]
        embedded = dropout(self.embedding(words.flatten(0, 1)), 0.3, self.training)
        outputs, after = self.decoder(embedded, tuple(state) if len(state) > 1 else state[0])
        outputs = outputs.reshape(len(text), -1, 256)
        matches = self.query(outputs) @ keys.transpose(1, 2) / 16
        attention = torch.softmax(matches.masked_fill(~mask.unsqueeze(1), -torch.inf), 2)
        seen = dropout(torch.tanh(self.mix(torch.cat([attention @ keys, outputs], 2))), 0.3, self.training)
        written = torch.softmax(seen @ self.embedding.weight.T, 2)
        copied = torch.zeros_like(written).scatter_add(2, text.unsqueeze(1).expand_as(attention), attention)
        probability = torch.lerp(written, copied, torch.sigmoid(self.gate(seen)))
        after = after if isinstance(after, tuple) else (after,)
        states = [part.view_as(before) for part, before in zip(after, states, strict=True)]
        return probability.clamp(min=1e-9).log().view(*words.shape, -1), states, attention

    def loss(self, items: list[Item]) -> Tensor:
        """Return -ln p of a word of the titles and of their ends, in the mean."""
        titles = [torch.tensor([START, *self.vocabulary.encode(item.title), END]) for item in items]
        words = pad(titles)[0]
        log_probs, _, _ = self.decode(*self.read(items), words[:, None, :-1])
        return nll_loss(log_probs.flatten(0, 2), words[:, 1:].flatten(), ignore_index=PADDING)

    @torch.no_grad()
    def write(self, items: list[Item]) -> list[list[str]]:
        """Find the likeliest title of each text, its rare words as their numbers."""

        def step(words: Tensor, state: Any) -> tuple[Tensor, Any]:
            log_probs, states, _ = self.decode(*state, words.unsqueeze(2))
            log_probs[..., [PADDING, START, UNKNOWN]] = -torch.inf
            return log_probs.squeeze(2), (state[0], states)

        def select(state: Any, kept: Tensor, beams: Tensor) -> Any:
            return tuple(part[kept] for part in state[0]), [part[kept.unsqueeze(1), beams] for part in state[1]]

        found = beam_search(
            *(step, select, self.read(items)),
            **{"num_images": len(items), "beam_size": 4, "max_words": LONGEST_TITLE, "length_penalty": 1.0},
            **{"prefix": torch.tensor([START]), "end": END, "padding": PADDING},
        )
        return [self.vocabulary.decode(words.tolist()) for words in found.words[:, 0]]
