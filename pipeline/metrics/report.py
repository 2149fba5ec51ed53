"""All scores of a set of videos as one plain dictionary, for JSON files, trackers and a terminal.

T frames, K classes. The scores and their conventions are those of `frames` and `segments`: percentages, 100 being
perfect, None where a score is not defined. A report holds only dict, list, str, int, float and None:

    num_videos, num_frames (labelled ones), background (its name or None)
    frames               {"accuracy": pair, "macro_f1": pair}
    segments             {"edit": pair, "f1": {"10": pair, "25": pair, "50": pair}}
    without_background   {"frames": ..., "segments": ...} as above, or None where there is no background class
    classes              {name: {"precision", "recall", "f1", "support" (frames), "segments"}}, pooled
    never_predicted      the classes that have support and are predicted for no labelled frame: swallowed by others
    confusion            [K][K] frames, row = truth, column = predicted, pooled
    videos               {stem: {"num_frames", "frames", "segments", "without_background"}}, a score for each pair

A pair is {"pooled": all videos counted as one, "per_video": the mean of the videos' scores}.
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.metrics import frames, segments
from pipeline.scores import IOU_PERCENTS, LABEL_SCORES
from pipeline.text import wording

Report = dict[str, Any]
MAX_NAMES = 8  # in the line about classes that are never predicted


def evaluate(
    truth: Mapping[str, np.ndarray],
    predicted: Mapping[str, np.ndarray],
    label_space: LabelSpace,
) -> Report:
    """Score predicted labels against true ones.

    Args:
        truth: int64 [T], the true labels of each video, by its stem.
        predicted: int64 [T], the predicted labels likewise.
        label_space: The classes of both.

    Returns:
        The report, whose layout is at the top of this file. Videos without a labelled frame are not in it.

    Raises:
        InputError: Videos are only on one side, differ in length, have a labelled frame that is not predicted, or an
            index that is not a class (the message names all of them); or no frame is labelled at all.
    """
    _check_videos(truth, predicted, label_space)
    stems = [stem for stem in sorted(truth) if label_space.is_labelled(truth[stem]).any()]
    if not stems:
        raise InputError(f"not one frame of the {len(truth)} videos is labelled, so there is nothing to evaluate")
    pairs = [(truth[stem], predicted[stem]) for stem in stems]
    counts = [frames.confusion_matrix(*pair, label_space) for pair in pairs]
    confusion = np.sum(counts, axis=0)
    with_background = _scores(pairs, counts, label_space, background=None)
    without_background = None
    if label_space.background is not None:
        without_background = _scores(pairs, counts, label_space, background=label_space.background_index)
    num_segments = Counter(s.class_index for pair in pairs for s in segments.scored_segments(*pair, label_space)[0])
    of_classes = {
        name: score._asdict() | {"segments": num_segments[index]}
        for index, (name, score) in enumerate(zip(label_space.classes, frames.class_scores(confusion), strict=True))
    }
    return {
        "num_videos": len(stems),
        "num_frames": int(confusion.sum()),
        "background": label_space.background,
        **_summary(with_background),
        "without_background": without_background and _summary(without_background),
        "classes": of_classes,
        "never_predicted": [
            name
            for name, column in zip(label_space.classes, confusion.T, strict=True)
            if of_classes[name]["support"] and not column.any()
        ],
        "confusion": confusion.tolist(),
        "videos": {
            stem: {
                "num_frames": int(counts[i].sum()),
                **_of_video(with_background, i),
                "without_background": without_background and _of_video(without_background, i),
            }
            for i, stem in enumerate(stems)
        },
    }


def flatten(report: Report) -> dict[str, float]:
    """Return the scalar scores of a report under flat names, for trackers; scores that are None are left out.

    The names are frame_accuracy_pooled, frame_accuracy_per_video, frame_macro_f1_..., edit_..., f1_at_10_...,
    f1_at_25_..., f1_at_50_..., the same with _without_background at the end, classes_never_predicted (their number),
    class_f1/<name> and, of classes that have support, class_recall/<name>.
    """
    flat: dict[str, float | None] = {}
    for part, ending in ((report, ""), (report["without_background"], "_without_background")):
        for name, pair in _named_pairs(part) if part else ():
            flat |= {f"{name}_{over}{ending}": score for over, score in pair.items()}
    flat["classes_never_predicted"] = float(len(report["never_predicted"]))
    flat |= {f"class_f1/{name}": scores["f1"] for name, scores in report["classes"].items()}
    flat |= {
        f"class_recall/{name}": scores["recall"] for name, scores in report["classes"].items() if scores["support"]
    }
    return {name: score for name, score in flat.items() if score is not None}


def format_table(report: Report) -> str:
    """Format a report as lines of text for a terminal."""
    titles = {score.name: score.title for score in LABEL_SCORES}
    parts, heads = [report], ["all classes"]
    if report["without_background"]:
        parts.append(report["without_background"])
        heads.append(f"without {report['background']}")
    width = max(18, *(len(head) for head in heads))
    num_videos, num_frames, num_classes = report["num_videos"], report["num_frames"], len(report["classes"])
    rows: list[list[str | None]] = [
        ["scores in percent", *(cell for head in heads for cell in (None, head))],
        ["", *["pooled", "per video"] * len(heads)],
    ]
    for scores in zip(*(_named_pairs(part) for part in parts), strict=True):
        cells = (_cell(pair[over]) for _, pair in scores for over in ("pooled", "per_video"))
        rows.append([titles[scores[0][0]], *cells])
    widths = [19, width - 12, 12, *[width - 9, 12] * (len(heads) - 1)]
    paragraphs = [
        f"videos {num_videos:,}   labelled frames {num_frames:,}   classes {num_classes}{_left_out(report)}",
        wording.format_table(rows, widths=widths, num_headers=2),
        _class_table(report),
    ]
    if report["never_predicted"]:
        paragraphs.append(never_predicted(report))
    return "\n\n".join(paragraphs)


def _left_out(report: Report) -> str:
    """Say how many labelled frames are not scored, as they could not be decoded; "" where there are none."""
    left_out = report.get("frames_without_prediction")
    if not left_out:
        return ""
    frames = wording.counted(sum(left_out.values()), "labelled frame", separator=",")
    return f"\nleft out of the scores: {frames} of {wording.counted(len(left_out), 'video')} without a prediction"


def _class_table(report: Report) -> str:
    width = max(16, *(len(name) for name in report["classes"]))
    rows = [["class", "precision", "recall", "F1", "frames", "segments"]]
    for name, scores in report["classes"].items():
        cells = [_cell(scores[key]) for key in ("precision", "recall", "f1")]
        rows.append([name, *cells, f"{scores['support']:,}", f"{scores['segments']:,}"])
    return wording.format_table(rows, widths=[width, 12, 10, 10, 11, 11])


def never_predicted(report: Report) -> str:
    """Name in one line the classes that are never predicted and yet have support, the most of it first."""
    support = {name: report["classes"][name]["support"] for name in report["never_predicted"]}
    names = sorted(support, key=lambda name: (-support[name], name))
    shown = [f"{name} ({wording.counted(support[name], 'frame', separator=',')})" for name in names[:MAX_NAMES]]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"never predicted, though in the truth: {', '.join(shown)}{more}"


def write_class_table(report: Report, path: Path) -> None:
    """Write the classes of a report as CSV, one row for each; a score that is not defined is an empty cell.

    Args:
        report: The report.
        path: The file.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "frames", "segments", "precision", "recall", "f1", "never_predicted"])
        for name, scores in report["classes"].items():
            cells = ["" if scores[key] is None else f"{scores[key]:.2f}" for key in ("precision", "recall", "f1")]
            is_never = "yes" if name in report["never_predicted"] else ""
            writer.writerow([name, scores["support"], scores["segments"], *cells, is_never])


def _check_videos(
    truth: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray], label_space: LabelSpace
) -> None:
    problems = []
    for stems, side in ((set(truth) - set(predicted), "prediction"), (set(predicted) - set(truth), "truth")):
        if stems:
            problems.append(f"no {side} for {len(stems)} of the videos: {', '.join(sorted(stems))}")
    for stem in sorted(set(truth) & set(predicted)):
        true, claimed = truth[stem], predicted[stem]
        if true.shape != claimed.shape:
            cause = "they are of different videos or frame rates"
            problems.append(f"got {len(claimed)} predicted labels for {len(true)} true ones of {stem}: {cause}")
            continue
        claimed = claimed[label_space.is_labelled(true)]
        is_missing = ~label_space.is_labelled(claimed)
        if is_missing.any():
            missing = f"{is_missing.sum()} of {len(claimed)} labelled frames"
            problems.append(
                f"{missing} of {stem} have no prediction: give them a class, for example a background class"
            )
        try:
            label_space.check(np.concatenate([true, claimed]))
        except ValueError as error:
            problems.append(f"{stem}: {error}")
    if problems:
        raise InputError("\n".join(problems))


def _scores(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    counts: Sequence[np.ndarray],
    label_space: LabelSpace,
    *,
    background: int | None,
) -> dict[str, tuple[float | None, list[float | None]]]:
    """Compute each score, by its flat name: of all videos pooled, and of each video."""
    confusion = np.sum(counts, axis=0)
    both = [segments.scored_segments(*pair, label_space, background=background) for pair in pairs]
    edits = [segments.count_edits(*video) for video in both]
    scores: dict[str, tuple[float | None, list[float | None]]] = {
        "frame_accuracy": (
            frames.accuracy(confusion, background=background),
            [frames.accuracy(count, background=background) for count in counts],
        ),
        "frame_macro_f1": (
            frames.macro_f1(confusion, background=background),
            [frames.macro_f1(count, background=background) for count in counts],
        ),
        "edit": (segments.edit_score(segments.total_edits(edits)), [segments.edit_score(count) for count in edits]),
    }
    for percent in IOU_PERCENTS:
        matches = [segments.count_matches(*video, min_iou=percent / 100) for video in both]
        pooled = segments.f1_score(segments.total_matches(matches))
        scores[f"f1_at_{percent}"] = (pooled, [segments.f1_score(count) for count in matches])
    return scores


def _nested(scores: Mapping[str, Any]) -> Report:
    return {
        "frames": {"accuracy": scores["frame_accuracy"], "macro_f1": scores["frame_macro_f1"]},
        "segments": {
            "edit": scores["edit"],
            "f1": {str(percent): scores[f"f1_at_{percent}"] for percent in IOU_PERCENTS},
        },
    }


def _summary(scores: Mapping[str, tuple[float | None, list[float | None]]]) -> Report:
    pairs = {}
    for name, (pooled, of_videos) in scores.items():
        defined = [score for score in of_videos if score is not None]
        pairs[name] = {"pooled": pooled, "per_video": sum(defined) / len(defined) if defined else None}
    return _nested(pairs)


def _of_video(scores: Mapping[str, tuple[float | None, list[float | None]]], video_index: int) -> Report:
    return _nested({name: of_videos[video_index] for name, (_, of_videos) in scores.items()})


def _named_pairs(part: Report) -> list[tuple[str, dict[str, float | None]]]:
    """Return (flat name, {"pooled", "per_video"}) of each score of a report, or of its `without_background`."""
    frame_pairs = [(f"frame_{name}", pair) for name, pair in part["frames"].items()]
    f1_pairs = [(f"f1_at_{percent}", pair) for percent, pair in part["segments"]["f1"].items()]
    return [*frame_pairs, ("edit", part["segments"]["edit"]), *f1_pairs]


def _cell(score: float | None) -> str:
    return "-" if score is None else f"{score:.1f}"
