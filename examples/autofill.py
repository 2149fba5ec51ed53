"""Complete a line as a shell does: a recurrent network learnt letter by letter how a text goes on (one-to-many).

    python examples/autofill.py                             # on a made text, in a minute
    python examples/autofill.py --data FOLDER --cells lstm --lines "ROMEO: I p" "the king of En"

The network reads a letter and gives each letter a probability of being the next. The text is cut into 32 streams of
equal length, which are read side by side in windows of 64 letters. The state after a window is where the next one
starts, so that the network remembers more than it is trained on at once (truncated backpropagation through time). The
score is the mean of -ln p of each next letter, in nats, over the last tenth of the text, which training does not see.
A line is completed to the end of its word: a beam search keeps the likeliest beginnings, letter by letter, and shows
the words with the product of their letters' probabilities. FOLDER has tinyshakespeare.txt, or the file that --corpus
names. --out gets a checkpoint for each cell, from which a stopped training goes on, and autofill.png: how much the
letters of some lines surprise the network, and how far back the gradient reaches.
"""

from collections.abc import Iterator
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout

from pipeline.rnn.pictures import draw_gradients, draw_weights
from pipeline.rnn.programs import arguments, compare, read_options, read_text, run
from pipeline.rnn.sequences import CELLS

STREAMS, WINDOW, LONGEST_WORD = 32, 64, 20
SHORTEST = 100 * STREAMS  # so that each stream of the validation text has ten letters
BEGINNINGS = ("the ", "I pray you, go")


def made_text() -> str:
    """Make lines of a play from a few words."""
    who, what, when = ("ROMEO", "JULIET", "NURSE"), ("the sun", "a lark", "the king", "my love"), ("today", "at night")
    order = torch.randint(0, 24, (600,)).tolist()
    return "".join(f"{who[i % 3]}:\nI pray you, go and see {what[i % 4]} {when[i // 12]}.\n" for i in order)


class Writer(nn.Module):
    """Letters int64 [B, T] -> the logits of each next letter [B, T, V], and the state after the last one."""

    def __init__(self, cell: str, letters: str, hidden_size: int) -> None:
        super().__init__()
        self.letters, self.embedding = letters, nn.Embedding(len(letters), 64)
        self.rnn, self.next = CELLS[cell](64, hidden_size), nn.Linear(hidden_size, len(letters))

    def forward(self, letters: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Read letters."""
        outputs, state = self.rnn(self.embedding(letters), state)
        return self.next(dropout(outputs, 0.4, self.training)), state

    def encode(self, text: str) -> Tensor:
        """Return the letters of a text as numbers, int64 [T]."""
        return torch.tensor([self.letters.index(letter) for letter in text])

    def read(self, text: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the logits [n, V] and the next letters [n] of all streams, window by window."""
        letters, state = self.encode(text), None
        streams = letters[: len(letters) // STREAMS * STREAMS].view(STREAMS, -1)
        for start in range(0, streams.shape[1] - 1, WINDOW):
            window = streams[:, start : start + WINDOW + 1]
            logits, state = self(window[:, :-1], state)
            state = torch.utils._pytree.tree_map(Tensor.detach, state)
            yield logits.flatten(0, 1), window[:, 1:].flatten()

    @torch.no_grad()
    def score(self, text: str) -> float:
        """Return the mean of -ln p over the letters of a text but the first of each stream."""
        sums = [(cross_entropy(*pair, reduction="sum").item(), len(pair[1])) for pair in self.read(text)]
        return sum(total for total, _ in sums) / sum(count for _, count in sums)

    @torch.no_grad()
    def after(self, text: str, state: Any = None) -> tuple[Tensor, Any]:
        """Return the probability of each letter after a text [V], and the state there."""
        logits, state = self(self.encode(text)[None], state)
        return torch.softmax(logits[0, -1], 0), state

    def complete(self, text: str, count: int = 4) -> list[tuple[float, str]]:
        """Return the likeliest ends of the word that a text ends in, with their probabilities, the likeliest first."""
        found, beams = [], [(1.0, "", *self.after(text))]
        for _ in range(LONGEST_WORD):
            num = min(count, len(self.letters))
            ways = [(p, end, state, zip(*following.topk(num), strict=True)) for p, end, following, state in beams]
            grown = [(p * q.item(), end + self.letters[i], state) for p, end, state, way in ways for q, i in way]
            best = sorted(grown, key=lambda beam: -beam[0])[:count]
            found += [(p, end) for p, end, _ in best if not end[-1].isalpha()]
            beams = [(p, end, *self.after(end[-1], state)) for p, end, state in best if end[-1].isalpha()]
        return sorted(found, reverse=True)[:count]

    def write(self, text: str, length: int) -> str:
        """Go on with a text, each letter drawn by its probability."""
        following, state = self.after(text)
        for _ in range(length):
            text += self.letters[torch.multinomial(following, 1)]
            following, state = self.after(text[-1], state)
        return text


def main() -> None:
    """Run the example."""
    parser = arguments(__doc__, num_epochs=8, out="autofill", corpus="tinyshakespeare.txt")
    parser.add_argument(
        "--lines", nargs="+", help=f"the lines that are completed; {' and '.join(BEGINNINGS)} by default"
    )
    parser.add_argument("--hidden", type=int, default=512, help="units of the network")
    options = read_options(parser)
    torch.manual_seed(0)
    text = read_text(options.path) if options.path else made_text()
    if len(text) < SHORTEST:
        raise ValueError(f"{options.path}: got {len(text)} letters, expected {SHORTEST} or more")
    training, validation, letters = text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :], "".join(sorted(set(text)))
    lines = options.lines or [line for line in BEGINNINGS if set(line) <= set(text)] or [validation[:9]]
    for line in lines:
        if (unknown := "".join(sorted(set(line) - set(text)))) or not line:
            raise ValueError(f"--lines {line!r}: got {unknown!r}, expected letters of the text, one or more of them")
    models = compare(
        options,
        lambda cell: Writer(cell, letters, options.hidden),
        lambda model: (cross_entropy(*pair) for pair in model.read(training)),
        lambda model: model.score(validation),
        paths=[options.path],
        learning_rate=0.003,
        measure="nats a letter in validation",
        hidden=options.hidden,
    )
    for cell, model in models.items():
        print(f"{cell}: {model.score(validation):.3f} nats a letter in validation")
    best = next(iter(models.values()))
    for line in lines:
        print(repr(line), *(f"{100 * p:5.1f}%  {line + end!r}" for p, end in best.complete(line)), sep="\n  ")
    print(best.write(lines[0], 400))
    shown, curves = (figure := Figure(figsize=(10, 6.5), dpi=120, layout="constrained")).subplots(2, 1)
    rows = validation.split("\n")
    rows = [line for line in rows if 20 < len(line) < 80] or [max(rows, key=len)[:79]]
    weights = []
    for line in filter(None, rows[:10]):
        logits, _ = best(best.encode(("\n" if "\n" in letters else line[0]) + line[:-1])[None])
        log_probs = logits[0].log_softmax(1).gather(1, best.encode(line)[:, None]).flatten().tolist()
        weights.append(list(zip(line, log_probs, strict=True)))
    draw_weights(shown, weights, title="the redder a letter, the less expected (validation)", full=8, columns=80)
    draw_gradients(curves, models, lambda model: cross_entropy(*next(model.read(validation))), steps="letters")
    figure.savefig(options.out / "autofill.png")


if __name__ == "__main__":
    run(main)
