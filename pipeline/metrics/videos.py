"""The parts of a report that do not depend on whether classes exclude each other or overlap.

T frames, K classes. `exclusive` and `overlapping` compute the scores; `report` has the layout of a report.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.errors import InputError
from pipeline.scores import IOU_PERCENTS

Report = dict[str, Any]


class Values(NamedTuple):
    """One score in percent; None where it is not defined.

    Attributes:
        pooled: That of all videos counted as one.
        of_videos: That of each video.
    """

    pooled: float | None
    of_videos: list[float | None]


Scores = dict[str, Values]  # by the flat name, in the order of `pipeline.scores`


def labelled_stems(
    truth: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray], label_space: LabelSpace
) -> list[str]:
    """Check the labels of all videos, and select the videos that can be scored.

    Args:
        truth: The true labels of each video, by its stem: int64 [T], or int8 [T, K] where classes overlap.
        predicted: The predicted labels likewise.
        label_space: The classes of both.

    Returns:
        The sorted stems of the videos that have a label.

    Raises:
        InputError: Videos are only on one side, differ in length, have a labelled frame that is not predicted, or a
            label that is not valid (the message names all of them); or no frame is labelled at all.
    """
    problems = []
    for stems, side in ((set(truth) - set(predicted), "prediction"), (set(predicted) - set(truth), "truth")):
        if stems:
            problems.append(f"no {side} for {len(stems)} of the videos: {', '.join(sorted(stems))}")
    for stem in sorted(set(truth) & set(predicted)):
        problems += _problems_of_video(stem, truth[stem], predicted[stem], label_space)
    if problems:
        raise InputError("\n".join(problems))
    stems_with_labels = [stem for stem in sorted(truth) if label_space.is_labelled(truth[stem]).any()]
    if not stems_with_labels:
        raise InputError(f"not one frame of the {len(truth)} videos is labelled, so there is nothing to evaluate")
    return stems_with_labels


def _problems_of_video(stem: str, true: np.ndarray, claimed: np.ndarray, label_space: LabelSpace) -> list[str]:
    if len(true) != len(claimed):
        cause = "they are of different videos or frame rates"
        return [f"got {len(claimed)} predicted labels for {len(true)} true ones of {stem}: {cause}"]
    problems = []
    try:
        is_labelled = label_space.is_labelled(true)
        # A prediction counts only where there is truth, and is checked only there.
        counted = np.where(is_labelled, claimed, true)
        is_missing = is_labelled & ~label_space.is_labelled(counted)
        if is_missing.any():
            missing = f"{is_missing.sum()} of {is_labelled.sum()} labelled frames"
            cause = "give them a class, for example a background class"
            if not label_space.is_exclusive:
                missing = f"{is_missing.sum()} of {is_labelled.sum()} pairs of a frame and a class"
                cause = "say which classes are absent"
            problems.append(f"{missing} of {stem} have no prediction: {cause}")
        label_space.check(np.concatenate([true, counted]))
    except ValueError as error:
        problems.append(f"{stem}: {error}")
    return problems


def assemble(
    stems: Sequence[str],
    num_frames: Sequence[int],
    label_space: LabelSpace,
    *,
    scores: Scores,
    without_background: Scores | None,
    classes: dict[str, Report],
    never_predicted: list[str],
    counts: Report,
) -> Report:
    """Put a report together.

    Args:
        stems: The stems of the videos.
        num_frames: The number of labelled frames of each video.
        label_space: The classes.
        scores: The scores of all classes.
        without_background: Those of all classes but the background; None where there is no background class.
        classes: The scores of each class.
        never_predicted: The classes that have support and are predicted for no labelled frame.
        counts: The counts of classes that occur together, by their key.
    """
    return {
        "num_videos": len(stems),
        "num_frames": sum(num_frames),
        "background": label_space.background,
        **_summary(scores),
        "without_background": without_background and _summary(without_background),
        "classes": classes,
        "never_predicted": never_predicted,
        **counts,
        "videos": {
            stem: {
                "num_frames": num_frames[i],
                **_of_video(scores, i),
                "without_background": without_background and _of_video(without_background, i),
            }
            for i, stem in enumerate(stems)
        },
    }


def _summary(scores: Scores) -> Report:
    return _nested({name: {"pooled": s.pooled, "per_video": mean(s.of_videos)} for name, s in scores.items()})


def _of_video(scores: Scores, video_index: int) -> Report:
    return _nested({name: score.of_videos[video_index] for name, score in scores.items()})


def _nested(scores: Mapping[str, Any]) -> Report:
    """Sort scores by their flat names into "frames", "segments", and what is neither."""
    of_frames = {name.removeprefix("frame_"): score for name, score in scores.items() if name.startswith("frame_")}
    f1 = {str(percent): scores[f"f1_at_{percent}"] for percent in IOU_PERCENTS}
    others = {name: score for name, score in scores.items() if not name.startswith(("frame_", "edit", "f1_at_"))}
    return {"frames": of_frames, **others, "segments": {"edit": scores["edit"], "f1": f1}}


def mean(scores: Sequence[float | None]) -> float | None:
    """Compute the mean of the scores that are defined; None where none is."""
    defined = [score for score in scores if score is not None]
    return sum(defined) / len(defined) if defined else None
