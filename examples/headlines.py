"""Write headlines: from the words of a news item to those of a title, which are fewer (many-to-many).

    python examples/headlines.py                            # on made news, in a minute
    python examples/headlines.py --data FOLDER --cells gru

A bidirectional network, the encoder, reads the text. Another one, the decoder, starts from its last states and reads
the title so far. At each word it attends to the text (Bahdanau et al. 2015), and what it sees decides for a word of the
vocabulary or, by a gate, for words it attends to (a pointer, See et al. 2017). Rare words are called by numbers, <1>
for the first of a text, so that names can be copied. As there are few titles, the network also learns to repeat how
texts begin, after another first word. FOLDER has news.csv with columns title and text, its last tenth for validation.
"""

import re
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import dropout, nll_loss

from framescribe import Vocabulary, beam_search, detokenize, score_captions, tokenize
from pipeline.rnn import frame_mask
from pipeline.rnn.pictures import draw_attention, draw_gradients
from pipeline.rnn.programs import arguments, compare, read_options, read_table, run
from pipeline.rnn.sequences import CELLS, batches, pad

PADDING, START, END, UNKNOWN = range(4)
LONGEST_TEXT, LONGEST_TITLE, LEAST_COUNT = 50, 15, 10  # words; a word that occurs less often is rare
SEARCH: Any = {"beam_size": 4, "length_penalty": 1.0, "repetition_cost": 3.0, "end": END, "padding": PADDING}
JUNK = r"&?lt;.*?&?gt;|&?quot;|&?amp;|\\|\((AP|AFP|Reuters)\)$"
PLACE = r"^[\w.,/ ]{1,40}(\([\w.]+\) )?(--?|:) "
Item = tuple[list[str], list[str]]  # the words of a text, and those of its title


def made_news() -> list[Item]:
    """Make items whose title is in the text, with names that occur in no other item."""
    whats = [f"{deed} {thing}" for deed in ("wins", "loses", "visits") for thing in ("the cup", "a museum", "the race")]
    titles = [f"name{i} {whats[i % 9]}".split() for i in range(400)]
    return [(["officials", "say", "that", *title, "again"], title) for title in titles]


def read_news(path: Path) -> list[Item]:
    """Read texts and titles from a table, without tags, and without the place and agency before a text."""
    rows = [[cell.replace("#39;", "'") for cell in row] for row in read_table(path, ("title", "text"))]
    texts = [tokenize(re.sub(f"{JUNK}|{PLACE}", " ", text))[:LONGEST_TEXT] for _, text in rows]
    titles = [tokenize(re.sub(JUNK, " ", title))[:LONGEST_TITLE] for title, _ in rows]
    if len(items := [item for item in zip(texts, titles, strict=True) if all(item)]) < 10:
        raise ValueError(f"{path}: got {len(items)} items with words in title and text, expected 10 or more")
    return items


class Editor(nn.Module):
    """N texts of up to S words -> K titles each of up to T words, out of V words."""

    def __init__(self, cell: str, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.vocabulary, self.embedding = vocabulary, nn.Embedding(len(vocabulary), 128, padding_idx=PADDING)
        self.rnn, self.decoder = CELLS[cell](128, 128, bidirectional=True), CELLS[cell](128, 256)
        self.query, self.mix, self.gate = nn.Linear(256, 256), nn.Linear(512, 128), nn.Linear(128, 1)

    def numbers(self, text: list[str]) -> dict[str, str]:
        """Return the numbers of the rare words of a text."""
        return {w: f"<{n}>" for n, w in enumerate(dict.fromkeys(w for w in text if w not in self.vocabulary), start=1)}

    def encode(self, text: list[str], words: list[str]) -> list[int]:
        """Return the tokens of words of a text or its title."""
        numbers = self.numbers(text)
        return self.vocabulary.encode(numbers.get(word, word) for word in words)

    def read(self, items: list[Item]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return what is attended to, keys [N, S, 256], mask and words, and the states before a title, [N, 1, 256]."""
        words, lengths = pad([torch.tensor(self.encode(text, text)) for text, _ in items])
        keys, state = self.rnn(dropout(self.embedding(words), 0.5, self.training), lengths=lengths)
        states = state if isinstance(state, tuple) else (state,)  # of an LSTM h and c, each [2, N, 128]
        text = keys, frame_mask(lengths, words.shape[1], words.device), words
        return text, tuple(part.transpose(0, 1).flatten(1).unsqueeze(1) for part in states)

    def forward(self, words: Tensor, state: Any) -> tuple[Tensor, Any, Tensor]:
        """Read words of titles [N, K, T]: ln p of each next word [N, K, T, V], state, attention [N, K * T, S]."""
        (keys, mask, text), states = state
        embedded = dropout(self.embedding(words.flatten(0, 1)), 0.5, self.training)
        before = tuple(part.flatten(0, 1).unsqueeze(0) for part in states)
        outputs, after = self.decoder(embedded, before if len(before) > 1 else before[0])
        outputs = outputs.reshape(len(text), -1, 256)
        attention = torch.softmax((self.query(outputs) @ keys.mT / 16).masked_fill(~mask[:, None], -torch.inf), 2)
        seen = dropout(torch.tanh(self.mix(torch.cat([attention @ keys, outputs], 2))), 0.5, self.training)
        written = torch.softmax(seen @ self.embedding.weight.T, 2)
        copied = torch.zeros_like(written).scatter_add(2, text.unsqueeze(1).expand_as(attention), attention)
        log_probs = torch.lerp(written, copied, torch.sigmoid(self.gate(seen))).clamp(min=1e-9).log()
        states = tuple(part.view_as(states[0]) for part in (after if isinstance(after, tuple) else (after,)))
        return log_probs.view(*words.shape, -1), (state[0], states), attention

    def loss(self, items: list[Item]) -> Tensor:
        """Return the mean of -ln p of the words of the titles and their ends; in training also of the beginnings."""
        more = [(text, text[: len(title)]) for text, title in items] if self.training else []
        firsts, items = [START] * len(items) + [UNKNOWN] * len(more), items + more
        words, _ = pad([torch.tensor([k, *self.encode(*item), END]) for k, item in zip(firsts, items, strict=True)])
        log_probs, _, _ = self(words[:, None, :-1], self.read(items))
        return nll_loss(log_probs.flatten(0, 2), words[:, 1:].flatten(), ignore_index=PADDING)

    @torch.no_grad()
    def write(self, items: list[Item]) -> list[str]:
        """Return the likeliest title of each text."""
        costs = torch.tensor([torch.inf, torch.inf, 2.0, torch.inf, *[0.0] * (len(self.vocabulary) - 4)])  # nats
        given: Any = {"state": self.read(items), "num_images": len(items), "prefix": torch.tensor([START])}
        found = beam_search(
            lambda words, state: ((told := self(words[:, :, None], state))[0].squeeze(2) - costs, told[1]),
            lambda state, n, k: (tuple(part[n] for part in state[0]), tuple(part[n[:, None], k] for part in state[1])),
            **(SEARCH | given | {"max_words": LONGEST_TITLE}),
        )
        titles = [self.vocabulary.decode(words) for words in found.words[:, 0].tolist()]
        rare = [{number: word for word, number in self.numbers(text).items()} for text, _ in items]
        return [detokenize([names.get(w, w) for w in title]) for names, title in zip(rare, titles, strict=True)]


def main() -> None:
    """Run the example."""
    options = read_options(arguments(__doc__, num_epochs=14, out="headlines", corpus="news.csv"))
    news = read_news(options.path) if options.path else made_news()
    training, validation = news[: len(news) * 9 // 10], news[len(news) * 9 // 10 :]
    parts = [validation[i : i + 32] for i in range(0, len(validation), 32)]
    words = [part for item in training for part in item] + LEAST_COUNT * [[f"<{i + 1}>" for i in range(LONGEST_TEXT)]]
    vocabulary = Vocabulary.from_captions(words, min_count=LEAST_COUNT)
    models = compare(
        options,
        lambda cell: Editor(cell, vocabulary),
        lambda model: map(model.loss, batches(training, 32, length=lambda item: len(item[0]))),
        lambda model: sum(model.loss(part).item() for part in parts) / len(parts),
        paths=[options.path],
        learning_rate=0.003,
        measure="-ln p of a word in validation",
    )
    writers = {cell: [title for part in parts for title in model.write(part)] for cell, model in models.items()}
    truths = {str(i): [detokenize(title)] for i, (_, title) in enumerate(validation)}
    for name, titles in [("first nine words", [detokenize(text[:9]) for text, _ in validation]), *writers.items()]:
        score = score_captions(dict(zip(truths, titles, strict=True)), truths, with_meteor=False)["rouge_l"]
        print(f"{name}: ROUGE-L {score:.1f} in validation")
    for (text, title), written in list(zip(validation, writers[best := next(iter(models))], strict=True))[:20]:
        print(f"\n{detokenize(text)}\n  true:    {detokenize(title)}\n  written: {written}")
    shown, curves = (figure := Figure(figsize=(10, 8), dpi=120, layout="constrained")).subplots(2, 1)
    (text, _), title = validation[0], tokenize(writers[best][0])
    tokens = torch.tensor([[[START, *models[best].encode(text, title)]]])
    draw_attention(shown, models[best](tokens, models[best].read(validation[:1]))[2][0], text, [*title, "(end)"])
    draw_gradients(curves, models, lambda model: model.loss(parts[0]), steps="words")
    figure.savefig(options.out / "headlines.png")


if __name__ == "__main__":
    run(main)
