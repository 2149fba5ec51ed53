"""Splitting text into words like the Penn Treebank, joining words to text, and the vocabulary."""

import csv
import doctest
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.text import vocabulary
from pipeline.text.vocabulary import END, PADDING, SPECIAL_WORDS, START, UNKNOWN, Vocabulary, detokenize, tokenize

PIECES = [
    "dog",
    "n't",
    "'s",
    "'d",
    "'ll",
    "can",
    "n",
    "s",
    "'",
    "\N{RIGHT SINGLE QUOTATION MARK}",
    "-",
    ".",
    ",",
    "1",
    "23",
    "_",
    " ",
    "É",
    "|||",
]
TEXTS = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
CAPTIONS = st.lists(st.lists(st.sampled_from(["a", "the", "dog", "cat", "runs"]), max_size=8), max_size=12)
quick = settings(max_examples=150, deadline=None)


def test_docstring_examples():
    assert doctest.testmod(vocabulary).failed == 0


# The results of the Stanford tokenizer without punctuation.
@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A dog , wet , runs .", "a dog wet runs"),
        ("The dog's ball and the dogs' ball", "the dog 's ball and the dogs ball"),
        ("We can't, won't; I'd they've we're it'll I'm", "we ca n't wo n't i 'd they 've we 're it 'll i 'm"),
        ("The man 's hat", "the man 's hat"),
        ("merry-go-round T-shirt 4-wheeler 7-up", "merry-go-round t-shirt 4-wheeler 7-up"),
        ("a - b dog--cat well- known -ish", "a b dog cat well known ish"),
        ("1,000 men 2.5 m a man,woman", "1,000 men 2.5 m a man woman"),
        ("o'clock ma'am d'Artagnan's 80's", "o'clock ma'am d'artagnan 's 80 's"),
        ("Café naïve — “quoted” dog\N{RIGHT SINGLE QUOTATION MARK}s", "café naïve quoted dog 's"),
        ('"He\'s!"\tsnow...\nfall', "he 's snow fall"),
        ("statefarm.com on a shirt.", "statefarm.com on a shirt"),
        ("", ""),
        ("...!?", ""),
    ],
)
def test_a_caption_is_split_into_words(caption, words):
    assert tokenize(caption) == words.split()


def test_composed_and_decomposed_accents_give_the_same_word():
    assert (
        tokenize("cafe\N{COMBINING ACUTE ACCENT}") == tokenize("CAF\N{LATIN CAPITAL LETTER E WITH ACUTE}") == ["café"]
    )


@quick
@given(TEXTS)
def test_text_made_of_words_gives_the_same_words(text):
    words = tokenize(text)
    assert tokenize(detokenize(words)) == words
    assert tokenize(" ".join(words)) == words
    assert tokenize(text.lower()) == words


@quick
@given(TEXTS)
def test_words_keep_all_letters_and_have_no_punctuation_at_their_edges(text):
    words = tokenize(text)
    letters = [c for c in unicodedata.normalize("NFC", text.lower()) if c.isalnum()]
    assert [c for c in "".join(words) if c.isalnum()] == letters
    assert all(word[0] in [*letters, "'"] and word[-1] in letters for word in words)


@pytest.mark.parametrize("word", ["don't", "dog's", "we're", "shan't"])
def test_detokenize_joins_endings_to_their_words(word):
    assert detokenize(tokenize(f"x {word} y")) == f"x {word} y"


@quick
@given(CAPTIONS, st.integers(1, 4))
def test_a_vocabulary_holds_the_frequent_words_once(captions, min_count):
    known = Vocabulary.from_captions(captions, min_count=min_count)
    words = [word for caption in captions for word in caption]
    assert known.words[:4] == SPECIAL_WORDS
    assert {word for word in words if word in known} == {word for word in words if words.count(word) >= min_count}
    assert list(known.words[4:]) == sorted(known.words[4:], key=lambda word: (-words.count(word), word))
    assert len(known) == 4 + len({word for word in words if words.count(word) >= min_count})
    assert Vocabulary.from_captions(reversed(captions), min_count=min_count) == known


@quick
@given(CAPTIONS)
def test_decoding_gives_back_encoded_captions_of_known_words(captions):
    known = Vocabulary.from_captions(captions, min_count=1)
    for caption in captions:
        tokens = known.encode(caption)
        assert known.decode([START, *tokens, END, PADDING, 4]) == caption
        assert min(tokens, default=4) >= 4


def test_unknown_words_are_encoded_as_unknown():
    known = Vocabulary((*SPECIAL_WORDS, "dog", "runs"))
    assert known.encode(["dog", "sits", "<end>"]) == [4, UNKNOWN, UNKNOWN]
    assert known.decode([PADDING, START, 4, UNKNOWN, PADDING, 5]) == ["dog", "<unknown>", "runs"]
    assert "dog" in known
    assert "sits" not in known
    assert "<start>" not in known


def test_every_fault_of_a_vocabulary_is_reported():
    with pytest.raises(InputError) as caught:
        Vocabulary(("dog", "cat", "dog", "cat", "a"))
    assert str(caught.value).splitlines() == [
        "a vocabulary begins with ('<padding>', '<start>', '<end>', '<unknown>'), got ('dog', 'cat', 'dog', 'cat')",
        "a vocabulary has 'dog' 2 times",
        "a vocabulary has 'cat' 2 times",
    ]


@pytest.mark.slow
def test_real_captions_are_split_as_by_the_stanford_tokenizer(real_data, tmp_path):
    ptbtokenizer = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
    if not shutil.which("java"):
        pytest.skip("the Stanford tokenizer needs java")
    with (real_data / "flickr8k" / "captions.csv").open(newline="") as file:
        captions = [row["caption"] for row in csv.DictReader(file)]
    (tmp_path / "captions.txt").write_text("\n".join(captions))
    jar = Path(ptbtokenizer.__file__).parent / ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR
    command = ["java", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    result = subprocess.run([*command, "captions.txt"], cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = [
        [word for word in line.split(" ") if word and word not in ptbtokenizer.PUNCTUATIONS]
        for line in result.stdout.splitlines()
    ]
    num_equal = sum(tokenize(caption) == words for caption, words in zip(captions, expected, strict=True))
    assert num_equal / len(captions) > 0.9985
