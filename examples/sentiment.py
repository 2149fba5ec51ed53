"""Say whether a sentence is positive or negative, and which words made it so (many-to-one, bidirectional).

    python examples/sentiment.py                                # on made sentences, in seconds
    python examples/sentiment.py --data FOLDER --corpus MR --fold 3 --cells gru

Two recurrent networks read the words of a sentence, one from the first on, one from the last on. Of each unit the
largest output is kept (max-pooling), and from these comes one number, the logit of positive. The first of the 128
numbers of a word starts as its log-count ratio (Wang and Manning 2012), the others at random; the ratio of the word and
the one before it is the 129th. Training replaces words by <unknown> at random (word dropout). A word weighs as much as
the logit falls when <unknown> is in its place. FOLDER has stsa.binary.train, .dev and .test (SST-2, Socher et al. 2013)
or rt-polarity.all (MR, Pang and Lee 2005): 0 or 1, a space and a sentence in each line. MR is divided into ten parts,
of which --fold N tests on part N, and validates on the next. --out gets checkpoints, and sentiment.png.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, dropout

from framescribe import Vocabulary
from pipeline.rnn import frame_mask
from pipeline.rnn.pictures import draw_gradients, draw_weights
from pipeline.rnn.programs import arguments, compare, read_options, read_text, run
from pipeline.rnn.sequences import CELLS, batches, pad

UNKNOWN, FOLDS = 3, 10
Sentence = tuple[list[str], float]  # its words, and 1 where it is positive, 0 where it is negative


def made_sentences() -> list[Sentence]:
    """Make sentences, in which "not" and "never" turn a good word into a bad one."""
    things = "film", "plot", "cast", "music", "end", "hero", "script", "rest"
    verbs = "is", "was", "seems", "looks", "sounds", "feels", "stays"
    adverbs = "not", "not so", "not very", "not really", "never", "so", "very", "really", "quite", "rather"
    words = "warm", "clever", "fresh", "funny", "deep", "odd", "dull", "silly", "cold", "bland", "slow", "weak"
    made = product(things, verbs, enumerate(adverbs), enumerate(words))  # five adverbs negate, and six words are good
    return [(f"the {a} {v} {b} {c}".split(), float((i < 5) != (j < 6))) for a, v, (i, b), (j, c) in made]


def read_sentences(path: Path, encoding: str = "utf-8-sig") -> list[Sentence]:
    """Read a label, 0 or 1, and a sentence from each line of a file."""
    sentences = []
    for number, line in enumerate(read_text(path, encoding).rstrip("\n").split("\n"), start=1):
        label, _, words = line.partition(" ")
        if label not in ("0", "1") or not words.strip():
            raise ValueError(f"{path}, line {number}: got {line[:40]!r}, expected 0 or 1, a space and a sentence")
        sentences.append((words.split(), float(label)))
    return sentences


def read_parts(options: Any) -> tuple[list[Path], list[list[Sentence]]]:
    """Return the files, and their sentences for training, validation and test."""
    if options.data and options.corpus == "SST-2":
        paths = [options.data / f"stsa.binary.{part}" for part in ("train", "dev", "test")]
        return paths, [read_sentences(path) for path in paths]
    paths = [options.data / "rt-polarity.all"] if options.data else []
    sentences = read_sentences(paths[0], "latin-1") if paths else made_sentences()
    order = torch.randperm(len(sentences), generator=torch.Generator().manual_seed(0)).tolist()
    parts = [[sentences[i] for i in order[(options.fold + n) % FOLDS :: FOLDS]] for n in range(FOLDS)]
    return paths, [[sentence for part in parts[2:] for sentence in part], parts[1], parts[0]]


def log_count_ratios(sentences: list[tuple[Iterable[Any], float]], *, least: int) -> dict[Any, float]:
    """Return ln of how much more often something is in positive sentences, where it is in `least` sentences or more."""
    negative, positive = counts = Counter[Any](), Counter[Any]()
    for things, label in sentences:
        counts[int(label)].update(set(things))
    often = [each for each, count in (negative + positive).items() if count >= least]
    return {each: math.log((positive[each] + 1) / (negative[each] + 1)) for each in often}


class Classifier(nn.Module):
    """The words of N sentences -> the logits of positive [N]; the counts are of `training`."""

    def __init__(self, cell: str, vocabulary: Vocabulary, training: list[Sentence]) -> None:
        super().__init__()
        self.vocabulary, self.embedding = vocabulary, nn.Embedding(len(vocabulary), 128)
        nn.init.normal_(self.embedding.weight, std=0.1)
        ratios = log_count_ratios([(vocabulary.encode(words), label) for words, label in training], least=1)
        self.embedding.weight.data[list(ratios), 0] = torch.tensor(list(ratios.values()))
        self.pairs = log_count_ratios([(pairwise(words), label) for words, label in training], least=3)
        self.rnn, self.logit = CELLS[cell](129, 64, bidirectional=True), nn.Linear(128, 1)

    def forward(self, sentences: list[list[str]]) -> Tensor:
        """Read sentences of up to T words. Padding counts as -1, the least that an output can be."""
        words, lengths = pad([torch.tensor(self.vocabulary.encode(sentence)) for sentence in sentences])  # [N, T], [N]
        words = words.masked_fill(torch.rand(words.shape) < (0.2 if self.training else 0), UNKNOWN)
        ratios, _ = pad([torch.tensor([0.0, *(self.pairs.get(p, 0.0) for p in pairwise(each))]) for each in sentences])
        read = torch.cat([self.embedding(words), ratios.masked_fill(words == UNKNOWN, 0).unsqueeze(2)], 2)
        outputs, _ = self.rnn(dropout(read, 0.5, self.training), lengths=lengths)  # [N, T, 128]
        largest = outputs.where(frame_mask(lengths, words.shape[1], words.device).unsqueeze(2), -1).amax(1)
        return self.logit(dropout(largest, 0.5, self.training)).squeeze(1)

    def read(self, sentences: list[Sentence]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the logits and the labels of each batch of sentences."""
        for part in batches(sentences, 32, length=lambda sentence: len(sentence[0])):
            yield self([words for words, _ in part]), torch.tensor([label for _, label in part])

    @torch.no_grad()
    def error(self, sentences: list[Sentence]) -> float:
        """Return the percentage of the sentences that are named wrongly."""
        wrong = [(logits > 0) != (labels > 0) for logits, labels in self.read(sentences)]
        return 100 * torch.cat(wrong).float().mean().item()

    @torch.no_grad()
    def weigh(self, words: list[str]) -> list[float]:
        """Return by how much the logit falls when <unknown> is in the place of each of the words."""
        logits = self([words, *([*words[:i], "", *words[i + 1 :]] for i in range(len(words)))])
        return (logits[0] - logits[1:]).tolist()


def main() -> None:
    """Run the example."""
    parser = arguments(__doc__, num_epochs=3, out="sentiment", corpus="SST-2", corpora=("SST-2", "MR"))
    parser.add_argument("--fold", type=int, choices=range(FOLDS), default=0, help="the part of MR that is the test")
    paths, (training, validation, test) = read_parts(options := read_options(parser))
    if not (len({label for _, label in training}) == 2 and validation and test):
        raise ValueError(f"{options.data}: got {len(training)} sentences for training, expected more, of both labels")
    vocabulary = Vocabulary.from_captions([words for words, _ in training], min_count=2)
    models = compare(
        options,
        lambda cell: Classifier(cell, vocabulary, training),
        lambda model: (binary_cross_entropy_with_logits(*pair) for pair in model.read(training)),
        lambda model: model.error(validation),
        paths=paths,
        learning_rate=0.002,
        measure="% wrong in validation:",
        fold=options.fold,
    )
    for cell, model in models.items():
        right = [100 - model.error(part) for part in (validation, test)]
        print(f"{cell}: {right[0]:.1f}% right in validation, {right[1]:.1f}% in test")
    best = next(iter(models.values()))
    shown, curves = (figure := Figure(figsize=(10, 6.5), dpi=120, layout="constrained")).subplots(2, 1)
    short = [sentence for sentence in test if len(" ".join(sentence[0])) < 100][:12]
    rows = [[("-+"[int(sign)], 0.0), *zip(words, best.weigh(words), strict=True)] for words, sign in short]
    draw_weights(shown, rows, title="true label; what words weigh: blue +, red -", full=2, columns=140, gap=2)
    draw_gradients(curves, models, lambda model: next(model.read(test))[0].square().sum(), steps="words")
    figure.savefig(options.out / "sentiment.png")


if __name__ == "__main__":
    run(main)
