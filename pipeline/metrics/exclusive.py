"""The scores of videos in which every labelled frame has exactly one class: see `frames` and `segments`.

T frames, K classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.metrics import frames, segments
from pipeline.metrics.videos import Report, Scores, Values, assemble, labelled_stems
from pipeline.scores import IOU_PERCENTS


def evaluate(truth: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray], label_space: LabelSpace) -> Report:
    """Score predicted labels of exclusive classes against true ones.

    Args:
        truth: int64 [T], the true labels of each video, by its stem.
        predicted: int64 [T], the predicted labels likewise.
        label_space: The classes of both.

    Returns:
        The report, whose layout is at the top of `metrics.report`. Videos without a labelled frame are not in it.

    Raises:
        InputError: See `labelled_stems`.
    """
    stems = labelled_stems(truth, predicted, label_space)
    pairs = [(truth[stem], predicted[stem]) for stem in stems]
    counts = [frames.confusion_matrix(*pair, label_space) for pair in pairs]
    confusion = np.sum(counts, axis=0)
    without_background = None
    if label_space.background is not None:
        without_background = _scores(pairs, counts, label_space, background=label_space.background_index)
    num_segments = Counter(s.class_index for pair in pairs for s in segments.scored_segments(*pair, label_space)[0])
    of_classes = {
        name: score._asdict() | {"segments": num_segments[index]}
        for index, (name, score) in enumerate(zip(label_space.classes, frames.class_scores(confusion), strict=True))
    }
    return assemble(
        stems,
        [int(count.sum()) for count in counts],
        label_space,
        scores=_scores(pairs, counts, label_space, background=None),
        without_background=without_background,
        classes=of_classes,
        never_predicted=[
            name
            for name, column in zip(label_space.classes, confusion.T, strict=True)
            if of_classes[name]["support"] and not column.any()
        ],
        counts={"confusion": confusion.tolist()},
    )


def _scores(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    counts: Sequence[np.ndarray],
    label_space: LabelSpace,
    *,
    background: int | None,
) -> Scores:
    """Compute each score, by its flat name: of all videos pooled, and of each video."""
    confusion = np.sum(counts, axis=0)
    both = [segments.scored_segments(*pair, label_space, background=background) for pair in pairs]
    edits = [segments.count_edits(*video) for video in both]
    scores = {
        "frame_accuracy": Values(
            frames.accuracy(confusion, background=background),
            [frames.accuracy(count, background=background) for count in counts],
        ),
        "frame_macro_f1": Values(
            frames.macro_f1(confusion, background=background),
            [frames.macro_f1(count, background=background) for count in counts],
        ),
        "edit": Values(
            segments.edit_score(segments.total_edits(edits)), [segments.edit_score(count) for count in edits]
        ),
    }
    for percent in IOU_PERCENTS:
        matches = [segments.count_matches(*video, min_iou=percent / 100) for video in both]
        pooled = segments.f1_score(segments.total_matches(matches))
        scores[f"f1_at_{percent}"] = Values(pooled, [segments.f1_score(count) for count in matches])
    return scores
