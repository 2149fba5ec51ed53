"""The agreement of two annotators: Cohen's kappa, F1, and the share of frames on which they agree.

T frames, K classes. Neither side is the truth: every score stays the same when the sides are exchanged. Conventions:

- Agreement and F1 are in percent, 100 being perfect. Kappa is a number up to 1, as the literature prints it.
- Frames without a label on either side are left out; where classes overlap, class by class.
- Agreement of a class: the share of the frames on which both say that it is there, or both that it is not. Agreement of
  all classes: the share of the frames on which both say the same of every class that is labelled on both sides.
- Cohen's kappa (1960) = (p_o - p_e) / (1 - p_e), with p_o the agreement as a share, and p_e that of two annotators who
  give the same classes equally often, but at random. That of a class is of the two answers "there" and "not there".
  That of all classes exists where they are exclusive. It is None where p_e is 1: both gave one answer throughout.
- F1 of a class: 2 B / (F + S) for B frames in which both see it, and F and S in which the first and the second do; None
  where neither does.
- *Pooled* over videos: frames are counted first. *Averaged over videos*: the mean of the videos' scores.
"""

from collections.abc import Mapping

import numpy as np

from pipeline.annotations.label_space import PRESENT, LabelSpace
from pipeline.errors import InputError
from pipeline.metrics.frames import scores_of_counts
from pipeline.metrics.videos import Report, mean
from pipeline.text import wording

OVERALL = {
    "agreement": "agreement (%)",
    "kappa": "Cohen's kappa",
    "mean_kappa": "mean kappa",
    "macro_f1": "macro F1 (%)",
}

NO_KAPPA = (
    "no Cohen's kappa of all classes: without a class list, the columns for each class say that any may overlap; if"
    " they exclude each other, write classes.txt beside the labels, with a class a line"
)


def compare_annotators(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], label_space: LabelSpace
) -> Report:
    """Compare the labels of two annotators.

    Args:
        first: The labels of the first annotator by the stem of the video: int64 [T], or int8 [T, K] where classes
            overlap.
        second: Those of the second one, of the same videos and lengths.
        label_space: The classes of both.

    Returns:
        A report of dict, list, str, int, float and None:

            num_videos, num_frames (labelled on both sides)
            is_exclusive (see `LabelSpace`)
            overall   {"agreement", "kappa" (None where classes overlap), "mean_kappa" and "macro_f1" (the means over
                      the classes that have one)}, each {"pooled", "per_video"}
            classes   {name: {"agreement", "kappa", "f1", "num_frames", "first", "second" (frames in which each
                      annotator sees the class), "both"}}, pooled
            videos    {stem: {"num_frames", "agreement", "kappa", "mean_kappa", "macro_f1", "classes" (as above)}}

    Raises:
        InputError: Not one frame is labelled on both sides.
        ValueError: The stems or the lengths differ.
    """
    if first.keys() != second.keys() or any(len(first[stem]) != len(second[stem]) for stem in first):
        raise ValueError("got labels of other videos or lengths on the second side")
    pairs = [(stem, *_labelled_on_both(first[stem], second[stem], label_space)) for stem in sorted(first)]
    scored = {stem: _describe(one, two, label_space) for stem, one, two in pairs if label_space.is_labelled(one).any()}
    if not scored:
        raise InputError(f"not one frame of the {len(first)} videos is labelled on both sides: nothing can be compared")
    sides = [np.concatenate([pair[side] for pair in pairs]) for side in (1, 2)]
    pooled = _describe(sides[0], sides[1], label_space)
    return {
        "num_videos": len(scored),
        "num_frames": pooled["num_frames"],
        "is_exclusive": label_space.is_exclusive,
        "overall": {
            name: {"pooled": pooled[name], "per_video": mean([video[name] for video in scored.values()])}
            for name in OVERALL
        },
        "classes": pooled["classes"],
        "videos": scored,
    }


def kappa(counts: np.ndarray) -> float | None:
    """Compute Cohen's kappa.

    Args:
        counts: int [A, A], the number of frames by the answers of both annotators.

    Returns:
        The kappa; None where both gave the same one answer throughout, or there is no frame.

    >>> round(kappa(np.array([[20, 5], [10, 15]])), 6)  # p_o is 0.7, p_e 0.5
    0.4
    """
    num_frames = int(counts.sum())
    by_chance = int((counts.sum(axis=0) * counts.sum(axis=1)).sum())  # p_e N^2; whole, so that p_e = 1 is found exactly
    if by_chance == num_frames**2:
        return None
    return (int(counts.trace()) * num_frames - by_chance) / (num_frames**2 - by_chance)


def _labelled_on_both(one: np.ndarray, two: np.ndarray, label_space: LabelSpace) -> tuple[np.ndarray, np.ndarray]:
    """Take the labels away that are not on both sides."""
    nothing = label_space.unlabelled(len(one))
    is_labelled = label_space.is_labelled(one) & label_space.is_labelled(two)
    return np.where(is_labelled, one, nothing), np.where(is_labelled, two, nothing)


def _describe(one: np.ndarray, two: np.ndarray, label_space: LabelSpace) -> Report:
    """Compare two labels of a video, or of several, that have the same unlabelled frames."""
    is_scored = label_space.labelled_frames(one)
    one, two = one[is_scored], two[is_scored]
    overall = None
    if label_space.is_exclusive:
        agree = one == two
        overall = kappa(_counts(one, two, label_space.num_classes))
        one, two = (np.eye(label_space.num_classes, dtype=np.int8)[side] for side in (one, two))
    else:
        agree = (one == two).all(axis=1)
    classes = [_describe_class(one[:, i], two[:, i], label_space) for i in range(label_space.num_classes)]
    return {
        "num_frames": len(agree),
        "agreement": 100.0 * float(agree.mean()) if len(agree) else None,
        "kappa": overall,
        "mean_kappa": mean([scores["kappa"] for scores in classes]),
        "macro_f1": mean([scores["f1"] for scores in classes]),
        "classes": dict(zip(label_space.classes, classes, strict=True)),
    }


def _describe_class(one: np.ndarray, two: np.ndarray, label_space: LabelSpace) -> Report:
    """Compare whether two annotators see one class, of labels int8 [T]."""
    is_known = label_space.is_labelled(one)
    counts = _counts(one[is_known] == PRESENT, two[is_known] == PRESENT, 2)
    num_frames, both = int(counts.sum()), int(counts[1, 1])
    num_first, num_second = int(counts[1].sum()), int(counts[:, 1].sum())
    return {
        "agreement": 100.0 * int(counts.trace()) / num_frames if num_frames else None,
        "kappa": kappa(counts),
        "f1": scores_of_counts(both, num_first, num_second).f1,
        "num_frames": num_frames,
        "first": num_first,
        "second": num_second,
        "both": both,
    }


def _counts(one: np.ndarray, two: np.ndarray, num_answers: int) -> np.ndarray:
    """Count the frames by the answers of both, int64 [A, A]."""
    cells = np.bincount(one.astype(np.int64) * num_answers + two, minlength=num_answers**2)
    return cells.reshape(num_answers, num_answers)


def format_agreement(report: Report) -> str:
    """Format a report of `compare_annotators` as lines of text for a terminal."""
    titles = {name: title for name, title in OVERALL.items() if report["is_exclusive"] or name != "kappa"}
    overall = [["", "pooled", "per video"]]
    for name, title in titles.items():
        overall.append([title, *(_cell(name, score) for score in report["overall"][name].values())])
    classes = [["class", "kappa", "F1 (%)", "agreement (%)", "first", "second", "both"]]
    for name, scores in report["classes"].items():
        cells = [_cell(key, scores[key]) for key in ("kappa", "f1", "agreement")]
        classes.append([name, *cells, *(f"{scores[key]:,}" for key in ("first", "second", "both"))])
    videos = [["video", "frames", *titles.values()]]
    for stem, scores in report["videos"].items():
        videos.append([stem, f"{scores['num_frames']:,}", *(_cell(name, scores[name]) for name in titles)])
    head = f"videos {report['num_videos']:,}   frames labelled on both sides {report['num_frames']:,}"
    parts = [head, *(wording.format_table(rows, gap="   ") for rows in (overall, classes, videos))]
    if report.get("has_class_list") is False:
        parts.append(NO_KAPPA)
    return "\n\n".join(parts)


def _cell(name: str, score: float | None) -> str:
    if score is None:
        return "-"
    return f"{score:.3f}" if name.endswith("kappa") else f"{score:.1f}"
