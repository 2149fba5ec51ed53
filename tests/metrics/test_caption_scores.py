"""Scores of captions against values computed by hand, the package itself, and properties of any corpus."""

import math
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.cider.cider import Cider

from pipeline.metrics import captions
from pipeline.metrics.captions import CiderReward, score_captions
from pipeline.text.vocabulary import tokenize

WORDS = st.sampled_from(["a", "dog", "cat", "runs", "red"])
CAPTION = st.lists(WORDS, min_size=1, max_size=9)
# Images, each with a generated caption, which may have no word, and one to three references.
CORPORA = st.lists(
    st.tuples(st.lists(WORDS, max_size=9), st.lists(CAPTION, min_size=1, max_size=3)), min_size=1, max_size=6
)
quick = settings(max_examples=50, deadline=None)


@pytest.fixture(autouse=True)
def no_java(request, monkeypatch):
    """METEOR takes seconds to start, and Java may be missing: only the tests of METEOR run it."""
    if "needs_java" not in request.fixturenames:
        monkeypatch.setattr(shutil, "which", lambda command: None)


@pytest.fixture
def needs_java():
    if not shutil.which("java"):
        pytest.skip("METEOR needs java")


def score(corpus) -> dict[str, float]:
    generated = {str(i): " ".join(words) for i, (words, _) in enumerate(corpus)}
    return score_captions(generated, {str(i): [" ".join(r) for r in refs] for i, (_, refs) in enumerate(corpus)})


def score_one(generated: str, *references: str) -> dict[str, float]:
    return score_captions({"x": generated}, {"x": references})


def test_bleu_equals_values_computed_by_hand():
    clipped = score_one("the the the the", "The cat sat down.")  # one "the" of four is in the reference
    assert clipped["bleu_1"] == pytest.approx(25.0)
    assert clipped["bleu_2"] == pytest.approx(0.0, abs=1e-3)
    short = score_one("a dog runs", "a dog runs fast on grass")  # all words are in it, and it is half as long
    assert [short["bleu_1"], short["bleu_3"]] == pytest.approx([100 * math.exp(1 - 6 / 3)] * 2)
    nearest = score_one("a dog runs", "a dog runs fast on grass", "a cat")  # the nearer reference is shorter
    assert nearest["bleu_2"] == pytest.approx(100.0)


def test_rouge_equals_values_computed_by_hand():
    precision, recall, beta = 2 / 3, 2 / 4, 1.2  # "a ... runs" is in both
    expected = 100 * (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    assert score_one("a cat runs", "a dog runs fast")["rouge_l"] == pytest.approx(expected)


def test_cider_equals_values_computed_by_hand():
    # Every n-gram is of one image of two, so all weigh ln 2. Of n = 1 to 4, "a b" has two and "c" has one in common.
    both = score_captions({"x": "a b", "y": "c"}, {"x": ["a b"], "y": ["c"]})
    assert both["cider"] == pytest.approx(100 * (10 * 2 / 4 + 10 * 1 / 4) / 2)
    reward = CiderReward([[["a", "b"]], [["c"]]])
    expected = 10 / 4 * math.sqrt(1 / 2) * math.exp(-1 / 72)  # the cosine of (1) and (1, 1), a word too few
    assert reward([["a"]], [[["a", "b"]]]).item() == pytest.approx(expected)


def test_words_are_compared_without_case_and_punctuation():
    scores = score_one('The dog\'s "T-shirt" , is red!', "the dog 's t-shirt is red")
    assert [scores[name] for name in ("bleu_1", "bleu_4", "rouge_l")] == pytest.approx([100.0] * 3)


@quick
@given(st.lists(st.lists(st.lists(WORDS, min_size=4, max_size=9), min_size=1, max_size=3), min_size=1, max_size=5))
def test_a_caption_equal_to_a_reference_has_perfect_scores(references):
    scores = score([(of_image[-1], of_image) for of_image in references])
    for name in ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l"):
        assert scores[name] == pytest.approx(100.0)


@quick
@given(CORPORA, st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_the_order_of_images_and_references(corpus, random):
    shuffled = [(words, random.sample(references, len(references))) for words, references in corpus]
    random.shuffle(shuffled)
    assert score(shuffled) == pytest.approx(score(corpus))


@quick
@given(CORPORA)
def test_without_java_all_scores_but_meteor_are_given_as_percentages(corpus):
    scores = score(corpus)
    assert set(scores) == {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider"}
    assert all(-1e-6 <= value <= (1000 if name == "cider" else 100) + 1e-6 for name, value in scores.items())


def test_captions_without_a_word_score_zero():
    scores = score_captions({"x": "", "y": "..."}, {"x": ["a dog runs"], "y": ["a cat sits"]})
    assert scores == pytest.approx(dict.fromkeys(scores, 0.0))


def test_scoring_prints_nothing(capfd):
    score_one("a dog", "a dog runs")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("generated", "references", "message"),
    [
        ({"x": "a", "y": "a"}, {"x": ["a"], "z": ["a"]}, r"2 image\(s\) .*\['y', 'z'\]"),
        ({"x": "a", "y": "a"}, {"x": ["a"], "y": []}, r"1 image\(s\) have no reference.*\['y'\]"),
        ({"x": "a"}, {"x": ["a", " . "]}, "without a word"),
        ({}, {}, "no image"),
    ],
)
def test_captions_that_cannot_be_scored_are_refused(generated, references, message):
    with pytest.raises(ValueError, match=message):
        score_captions(generated, references)


@quick
@given(CORPORA)
def test_rewards_equal_cider_of_the_package_with_the_same_document_frequencies(corpus):
    generated, references = zip(*corpus, strict=True)
    rewards = CiderReward(references)(generated, references)
    results = {i: [" ".join(words)] for i, words in enumerate(generated)}
    _, expected = Cider().compute_score({i: list(map(" ".join, refs)) for i, refs in enumerate(references)}, results)
    assert rewards.dtype == np.float64
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=1e-9)


@quick
@given(CORPORA, CORPORA)
def test_a_reward_does_not_depend_on_the_other_captions_of_a_batch(training, batch):
    reward = CiderReward([references for _, references in training])
    generated, references = zip(*batch, strict=True)
    alone = [reward([words], [truth]).item() for words, truth in batch]
    assert reward(generated, references).tolist() == alone


def test_rewards_prefer_rare_words_and_the_right_length():
    reward = CiderReward([[["a", "dog"]], [["a", "cat"]], [["a", "red", "dog"]]])
    rare, common, longer, nothing = reward(
        [["red"], ["dog"], ["red", "dog", "dog", "dog", "dog"], []], [[["a", "red", "dog"]]] * 4
    )
    whole = reward([["a", "red", "dog"]], [[["a", "red", "dog"]]]).item()
    assert whole > rare > common > nothing == 0
    assert whole > longer


def test_rewards_without_a_reference_are_refused():
    reward = CiderReward([[["a"]]])
    with pytest.raises(ValueError, match="no reference for the caption 'a dog'"):
        reward([["a", "dog"]], [[]])
    with pytest.raises(ValueError, match="shorter"):
        reward([["a"], ["a"]], [[["a"]]])
    with pytest.raises(ValueError, match="at least one image"):
        CiderReward([])
    assert reward([], []).shape == (0,)


def make_java(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Make a command `java` that is a shell script."""
    java = folder / "java"
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(shutil, "which", lambda command: str(java))


def test_meteor_is_the_number_that_java_prints(tmp_path, monkeypatch):
    make_java(tmp_path, monkeypatch, "cat generated references >&2; echo 0.25")
    assert score_one("a dog", "a cat")["meteor"] == 25.0


@pytest.mark.parametrize("script", ["echo out of memory >&2; exit 3", "echo out of memory >&2"])
def test_a_failing_java_is_reported(tmp_path, monkeypatch, script):
    make_java(tmp_path, monkeypatch, script)
    with pytest.raises(RuntimeError, match=r"METEOR's java ended with [03] and said: out of memory"):
        score_one("a dog", "a cat")


def test_a_hanging_java_is_killed(tmp_path, monkeypatch):
    make_java(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    monkeypatch.setattr(captions, "METEOR_TIMEOUT_SECONDS", 0.5)
    with pytest.raises(subprocess.TimeoutExpired):
        score_one("a dog", "a cat")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.slow
def test_meteor_equals_that_of_the_package(needs_java):
    from pycocoevalcap.meteor.meteor import Meteor

    generated = {"x": "a dog runs quickly", "y": "", "z": "un cafÉ noir ||| fin"}
    references = {"x": ["a dog is running", "dogs run fast"], "y": ["a cat"], "z": ["le café noir", "a", "b c"]}
    tokenized = {image: [" ".join(tokenize(text)) for text in texts] for image, texts in references.items()}
    results = {image: [" ".join(tokenize(text))] for image, text in generated.items()}
    package = Meteor()
    expected, _ = package.compute_score(tokenized, results)
    package.meteor_p.stderr.close()
    package.meteor_p.stdout.close()
    assert score_captions(generated, references)["meteor"] == pytest.approx(100 * expected)
