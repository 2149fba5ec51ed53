"""Scores of captions: BLEU, ROUGE-L, METEOR and CIDEr-D, and CIDEr-D as the reward of self-critical training.

Conventions, those of the COCO caption evaluation (Chen et al. 2015, arXiv 1504.00325), whose code this calls:

- Every score of `score_captions` is in percent. 100 is perfect, except for CIDEr-D, which goes up to 1000: it is what
  papers print as CIDEr.
- Both sides go through `text.vocabulary.tokenize`: lower case, no punctuation.
- BLEU-1 to BLEU-4 (Papineni et al. 2002) are pooled over images: n-gram counts and lengths are summed first, the length
  being that of the nearest reference. METEOR 1.5 (Denkowski and Lavie 2014) is pooled too, over each image's best
  reference. ROUGE-L (Lin 2004; beta 1.2, precision and recall each from its best reference) and CIDEr-D are averaged.
- CIDEr-D (Vedantam, Zitnick and Parikh 2015, arXiv 1411.5726): n-grams of 1 to 4 words as tf-idf vectors, their cosine
  with the generated counts clipped to those of the reference, times exp(-d^2 / 72) for d words of difference in length
  (sigma 6), averaged over n and references, times 10. An n-gram's document frequency is the number of images one of
  whose references has it; with a single image all weights, and so the score, are 0.
- A generated caption without a word scores 0 in ROUGE-L, METEOR and CIDEr-D, and adds to the reference length of BLEU
  only.
"""

import math
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor import meteor
from pycocoevalcap.rouge.rouge import Rouge

from pipeline.text.vocabulary import tokenize

MAX_WORDS = 4  # of an n-gram
SIGMA = 6.0
METEOR_TIMEOUT_SECONDS = 1800

Caption = Sequence[str]  # its words
Ngram = tuple[str, ...]


def score_captions(
    generated: Mapping[str, str], references: Mapping[str, Sequence[str]], *, with_meteor: bool = True
) -> dict[str, float]:
    """Score one caption of each image against those that people wrote, over all images.

    Args:
        generated: The caption of each image, by the image's key.
        references: The captions that people wrote, by the same keys.
        with_meteor: Whether to compute METEOR, which takes seconds. Without a `java` command it is left out.

    Returns:
        bleu_1, bleu_2, bleu_3, bleu_4, rouge_l, cider and perhaps meteor, in percent.

    Raises:
        ValueError: The keys differ, there is no image, or an image has no reference or one without a word.
        RuntimeError: METEOR fails.
        subprocess.TimeoutExpired: METEOR takes longer than METEOR_TIMEOUT_SECONDS.
    """
    _check_keys(generated, references)
    results = {image: [" ".join(tokenize(generated[image]))] for image in references}
    truths = {image: [" ".join(tokenize(text)) for text in texts] for image, texts in references.items()}
    wanting = [image for image, captions in truths.items() if not captions or not all(captions)]
    if wanting:
        raise ValueError(f"{len(wanting)} image(s) have no reference, or one without a word: {wanting[:5]}")
    bleu = Bleu(MAX_WORDS).compute_score(truths, results, verbose=0)[0]
    scores = {f"bleu_{n}": score for n, score in enumerate(bleu, 1)}
    scores["rouge_l"] = Rouge().compute_score(truths, results)[0]
    scores["cider"] = Cider(n=MAX_WORDS, sigma=SIGMA).compute_score(truths, results)[0]
    if with_meteor and shutil.which("java"):
        scores["meteor"] = _meteor([captions[0] for captions in results.values()], list(truths.values()))
    return {name: 100 * float(score) for name, score in scores.items()}


def _check_keys(generated: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
    if differing := sorted(generated.keys() ^ references.keys()):
        raise ValueError(f"{len(differing)} image(s) have no generated caption or no references: {differing[:5]}")
    if not references:
        raise ValueError("there is no image to score")


def _meteor(results: Sequence[str], truths: Sequence[Sequence[str]]) -> float:
    """Compute METEOR of the corpus in [0, 1], by the package's jar.

    The package's class is not used: it exchanges lines with java one by one, and waits for ever where java dies or a
    line is lost. The jar needs equally many references of each caption; as the best one counts, an image's first is
    repeated.
    """
    num_references = max(map(len, truths))
    padded = [line for captions in truths for line in [*captions, *[captions[0]] * (num_references - len(captions))]]
    jar = Path(meteor.__file__).parent / meteor.METEOR_JAR
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in (("generated", results), ("references", padded)):
            Path(folder, name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        command = ["java", "-Dfile.encoding=UTF-8", "-Xmx2G", "-jar", str(jar), "generated", "references"]
        options = ["-l", "en", "-norm", "-q", "-r", str(num_references)]
        result = subprocess.run(
            [*command, *options], cwd=folder, capture_output=True, text=True, timeout=METEOR_TIMEOUT_SECONDS
        )
    if result.returncode or not result.stdout.strip():
        raise RuntimeError(f"METEOR's java ended with {result.returncode} and said: {result.stderr.strip()[-1000:]}")
    return float(result.stdout)


class _Vector(NamedTuple):
    """A caption as the tf-idf weights of its n-grams, and their norm for each n."""

    weights: dict[Ngram, float]
    norms: list[float]


class CiderReward:
    """CIDEr-D with fixed document frequencies: the reward of self-critical training (Rennie et al. 2017, 1612.00563).

    The scale is that of the paper and the package, 0 to 10. Over the images that the document frequencies come from,
    the rewards average to the package's Cider.

    Args:
        references: The tokenized references of each training image, from which the document frequencies come.

    Raises:
        ValueError: There is no image.
    """

    def __init__(self, references: Iterable[Sequence[Caption]]) -> None:
        frequency: Counter[Ngram] = Counter()
        num_images = 0
        for captions in references:
            frequency.update({ngram for caption in captions for ngram in _ngrams(caption)})
            num_images += 1
        if not num_images:
            raise ValueError("document frequencies need at least one image")
        self._unseen = math.log(num_images)  # the weight of an n-gram that no image has
        self._weights = {ngram: self._unseen - math.log(n) for ngram, n in frequency.items()}

    def __call__(self, generated: Sequence[Caption], references: Sequence[Sequence[Caption]]) -> np.ndarray:
        """Compute the reward of each of N captions against the references of its image.

        Args:
            generated: N tokenized captions.
            references: The tokenized references of the image of each caption.

        Returns:
            float64 [N]; a caption without a word gets 0.

        Raises:
            ValueError: The lengths differ, or an image has no reference.
        """
        return np.array([self._score(*pair) for pair in zip(generated, references, strict=True)], dtype=np.float64)

    def _score(self, caption: Caption, references: Sequence[Caption]) -> float:
        if not references:
            raise ValueError(f"an image has no reference for the caption {' '.join(caption)!r}")
        vector = self._vector(caption)
        similarities = (
            _similarity(vector, self._vector(reference)) * _length_penalty(caption, reference)
            for reference in references
        )
        return 10 * sum(similarities) / len(references)

    def _vector(self, caption: Caption) -> _Vector:
        weights = {ngram: n * self._weights.get(ngram, self._unseen) for ngram, n in Counter(_ngrams(caption)).items()}
        squares = [0.0] * MAX_WORDS
        for ngram, weight in weights.items():
            squares[len(ngram) - 1] += weight * weight
        return _Vector(weights, [math.sqrt(square) for square in squares])


def _ngrams(caption: Caption) -> Iterator[Ngram]:
    for n in range(1, MAX_WORDS + 1):
        yield from zip(*(caption[start:] for start in range(n)), strict=False)


def _similarity(generated: _Vector, reference: _Vector) -> float:
    """Compute the clipped cosine of both, averaged over n."""
    products = [0.0] * MAX_WORDS
    for ngram in generated.weights.keys() & reference.weights.keys():
        weight = reference.weights[ngram]
        products[len(ngram) - 1] += min(generated.weights[ngram], weight) * weight
    norms = [a * b for a, b in zip(generated.norms, reference.norms, strict=True)]
    return sum(product / norm for product, norm in zip(products, norms, strict=True) if norm) / MAX_WORDS


def _length_penalty(generated: Caption, reference: Caption) -> float:
    """Compute the Gaussian of the difference in length, which the package takes as the number of pairs of words."""
    difference = max(len(generated), 1) - max(len(reference), 1)
    return math.exp(-(difference**2) / (2 * SIGMA**2))
