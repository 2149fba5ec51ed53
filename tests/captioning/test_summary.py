"""The summary of a video is true, in order of time, and short for a video of any length."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.captioning.summary import MAX_SCENES, VideoCaption, summarise

GRASS, FIELD, MEN = "a dog runs through grass", "a dog runs through a field", "two men sit on a bench"
HURDLE, GIRL, SEA = "the brown horse jumps over hurdles", "girl paints her nails", "waves hit some dark rocks"


def captions_of(*texts: str, labels: tuple[str, ...] = (), seconds: float = 10) -> list[VideoCaption]:
    """Make consecutive captions that each last `seconds`."""
    return [
        VideoCaption(index * seconds, (index + 1) * seconds, labels[index] if labels else None, text, 0.1)
        for index, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("texts", "story"),
    [
        ((GRASS,), f"Throughout, {GRASS}."),
        ((GRASS, GRASS, GRASS), f"Throughout, {GRASS}."),
        ((GRASS, "", GRASS), f"Throughout, {GRASS}."),
        ((GRASS, MEN), f"At first {GRASS}; at the end, from 0:10, {MEN}."),
        ((GRASS, MEN, MEN, GRASS), f"At first {GRASS}; from 0:10 {MEN}; at the end, from 0:30, again {GRASS}."),
        (
            (GRASS, MEN) * 40,
            f"At first {GRASS}; at the end, from 13:10, {MEN}. In all, the caption changes 79 times, among 2 different"
            " ones.",
        ),
        (
            (GRASS, FIELD, MEN, GRASS, HURDLE),
            f"At first {GRASS}; from 0:20 {MEN}; at the end, from 0:40, {HURDLE}. In all, the caption changes 4"
            " times, among 4 different ones.",
        ),
    ],
)
def test_each_scene_is_mentioned_once_in_order_of_time(texts, story):
    assert summarise(captions_of(*texts)).split(" long. ", 1)[1] == story


def test_the_most_different_of_many_scenes_are_mentioned_and_the_others_counted():
    texts = [GRASS, FIELD, MEN, HURDLE, GIRL, SEA, f"{GIRL} red", "three cats sleep", f"{GRASS} fast"]
    summary = summarise(captions_of(*texts))
    assert len(re.findall(r"from \d:\d\d", summary)) == MAX_SCENES - 1
    assert FIELD not in summary  # too similar to the first
    assert summary.endswith("In all, the caption changes 8 times, among 9 different ones.")
    assert summary == summarise(captions_of(*texts))


def test_captions_without_words_give_no_story():
    assert summarise(captions_of("", "")) == "The video is 20 seconds long."


@pytest.mark.parametrize(
    ("seconds", "length"),
    [
        (0.04, "0.04 seconds"),
        (1.0, "1 second"),
        (9.94, "9.9 seconds"),
        (12.4, "12 seconds"),
        (59.7, "1 minute"),
        (70, "1 minute 10 seconds"),
        (121.2, "2 minutes 1 second"),
        (3599.9, "1 hour"),
        (7261, "2 hours 1 minute"),
        (36_000, "10 hours"),
    ],
)
def test_the_length_is_written_in_everyday_words(seconds, length):
    assert summarise(captions_of("", seconds=seconds)) == f"The video is {length} long."


def test_a_video_that_does_not_begin_at_0_has_the_length_of_its_spans():
    summary = summarise([VideoCaption(3, 3725, None, GRASS, 0.1), VideoCaption(3725, 3733, None, MEN, 0.1)])
    assert summary == f"The video is 1 hour 2 minutes long. At first {GRASS}; at the end, from 1:02:05, {MEN}."


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (("run",), "All of it is labelled run."),
        (("run", "rest", "run"), "It is labelled run (67 % of the time) and rest (33 %)."),
        (("a", "b", "c", "d"), "It is labelled a (25 % of the time), b (25 %), c (25 %) and d (25 %)."),
        (
            ("e", "d", "c", "b", "a", "a"),
            "It is labelled a (33 % of the time), e (17 %), d (17 %) and 2 other labels (33 %).",
        ),
        (("a",) * 200 + ("b",), "It is labelled a (over 99 % of the time) and b (under 1 %)."),
    ],
)
def test_labels_are_listed_with_their_shares_largest_first(labels, sentence):
    summary = summarise(captions_of(*([""] * len(labels)), labels=labels))
    assert summary.split(" long. ", 1)[1] == sentence


words = st.lists(st.sampled_from(["a", "dog", "man", "red", "runs", "sits"]), max_size=6).map(" ".join)


@given(st.lists(st.tuples(words, st.sampled_from("uvwxyz")), min_size=1, max_size=60))
def test_a_summary_is_short_and_states_only_what_the_captions_state(captions):
    texts, labels = zip(*captions, strict=True)
    summary = summarise(captions_of(*texts, labels=labels))
    assert summary.count(". ") <= 3
    assert len(summary) < 500
    printed = re.findall(r"(?:At first|Throughout,|from [\d:]+,?(?: again)?) ([a-z ]+)", summary)
    assert set(printed) <= set(texts)
    assert len(printed) <= MAX_SCENES
    assert bool(printed) == any(texts)
