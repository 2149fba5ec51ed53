"""A summary of a video in a few sentences, from the captions and labels of its spans.

The summary adds nothing to the captions and labels. It gives the length of the video, its labels with their shares of
the time, and those of its captions that differ most, in the order of time.
"""

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from pipeline.text.vocabulary import tokenize
from pipeline.text.wording import clock, counted

MAX_LABELS = 3
MAX_SCENES = 5
MIN_DISTANCE = 0.5  # captions that share more than half of their words have much the same meaning


class VideoCaption(NamedTuple):
    """The caption of a span of a video.

    Attributes:
        start_seconds: The start of the span.
        stop_seconds: The end of the span, excluded.
        label: The label of the span; None where it is not labelled.
        text: The sentence.
        probability: Of the sentence, given the image.
    """

    start_seconds: float
    stop_seconds: float
    label: str | None
    text: str
    probability: float


class _Scene(NamedTuple):
    """Successive spans with the same caption."""

    start_seconds: float
    stop_seconds: float
    text: str


def summarise(captions: Sequence[VideoCaption]) -> str:
    """Summarise a video in at most four sentences.

    Args:
        captions: The captions of all spans of the video, one or more, in the order of their starts.

    >>> summarise([VideoCaption(0, 9, None, "a dog runs", 0.1), VideoCaption(9, 15, None, "two men sit", 0.1)])
    'The video is 15 seconds long. At first a dog runs; at the end, from 0:09, two men sit.'
    """
    sentences = [f"The video is {_length(_total_seconds(captions))} long."]
    sentences += _on_labels(captions)
    sentences += _on_scenes(captions)
    return " ".join(sentences)


def _on_labels(captions: Sequence[VideoCaption]) -> list[str]:
    """Return a sentence on the labels and their shares, the largest first; none without labels.

    The shares are of the labelled time; but of all time where labels overlap, or leave gaps.
    """
    seconds: dict[str, float] = {}
    for start, stop, label, *_ in captions:
        if label is not None:
            seconds[label] = seconds.get(label, 0) + stop - start
    is_partition = all(caption.label is not None for caption in captions) and all(
        before.stop_seconds <= after.start_seconds for before, after in pairwise(captions)
    )
    if len(seconds) < 2 and (is_partition or not seconds):
        return [f"All of it is labelled {label}." for label in seconds]
    ranked = sorted(seconds, key=lambda label: -seconds[label])
    if len(ranked) > MAX_LABELS + 1:
        rest = ranked[MAX_LABELS:]
        ranked = [*ranked[:MAX_LABELS], f"{len(rest)} other labels"]
        seconds[ranked[-1]] = sum(seconds[label] for label in rest)
    total = sum(seconds[label] for label in ranked) if is_partition else _total_seconds(captions)
    first, *others = (f"{label} ({_percent(seconds[label] / total)}" for label in ranked)
    parts = [f"{first} of the time)", *(f"{other})" for other in others)]
    return [f"It is labelled {_listed(parts)}."]


def _total_seconds(captions: Sequence[VideoCaption]) -> float:
    return max(caption.stop_seconds for caption in captions) - captions[0].start_seconds


def _on_scenes(captions: Sequence[VideoCaption]) -> list[str]:
    """Return a sentence that lists scenes, and one on their number if not all are listed; none without any words."""
    runs = (list(run) for _, run in groupby((c for c in captions if c.text), key=lambda caption: caption.text))
    scenes = [_Scene(run[0].start_seconds, run[-1].stop_seconds, run[0].text) for run in runs]
    if not scenes:
        return []
    first, *later = _choose_distinct(scenes)
    if not later:
        return [f"Throughout, {first.text}."]
    *middle, last = later
    again = "again " if last.text == first.text else ""
    parts = [f"At first {first.text}", *(f"from {clock(int(scene.start_seconds))} {scene.text}" for scene in middle)]
    parts.append(f"at the end, from {clock(int(last.start_seconds))}, {again}{last.text}")
    story = [f"{'; '.join(parts)}."]
    if len(scenes) > 1 + len(later):
        num_captions = len({scene.text for scene in scenes})
        story.append(f"In all, the caption changes {len(scenes) - 1} times, among {num_captions} different ones.")
    return story


def _choose_distinct(scenes: Sequence[_Scene]) -> list[_Scene]:
    """Select the first and last scene, and those that differ most from all selected ones, in order of time."""
    chosen = list(dict.fromkeys((scenes[0], scenes[-1])))
    distances = {scene: min(_distance(scene, other) for other in chosen) for scene in scenes[1:-1]}
    while len(chosen) < MAX_SCENES and distances:
        scene = max(distances, key=lambda s: (distances[s], s.stop_seconds - s.start_seconds, -s.start_seconds))
        if distances[scene] < MIN_DISTANCE:
            break
        chosen.append(scene)
        distances = {s: min(distance, _distance(s, scene)) for s, distance in distances.items() if s != scene}
    return sorted(chosen)


def _distance(one: _Scene, other: _Scene) -> float:
    """Return the Jaccard distance of the sets of words: 0 for the same words, 1 for none in common."""
    words, other_words = set(tokenize(one.text)), set(tokenize(other.text))
    return 1 - len(words & other_words) / max(1, len(words | other_words))


def _listed(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def _percent(share: float) -> str:
    if share < 0.01:
        return "under 1 %"
    return "over 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _length(seconds: float) -> str:
    """Return a duration in words, with the precision that is usual in speech."""
    if seconds < 10:
        count = f"{seconds:.2g}"
        return "1 second" if count == "1" else f"{count} seconds"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f"{counted(hours, 'hour')} {counted(minutes, 'minute')}".removesuffix(" 0 minutes")
    minutes, whole_seconds = divmod(round(seconds), 60)
    if minutes:
        return f"{counted(minutes, 'minute')} {counted(whole_seconds, 'second')}".removesuffix(" 0 seconds")
    return f"{whole_seconds} seconds"
