"""All scores of a set of videos as one plain dictionary, for JSON files, trackers and a terminal.

T frames, K classes. The scores and their conventions are those of `frames` and `segments`, and of `overlapping` where
classes overlap: percentages, 100 being perfect, None where a score is not defined. A report holds only dict, list, str,
int, float and None:

    num_videos, num_frames (labelled ones), background (its name or None)
    frames               {"accuracy": pair, "macro_f1": pair}
    segments             {"edit": pair, "f1": {"10": pair, "25": pair, "50": pair}}
    without_background   {"frames": ..., "segments": ...} as above, or None where there is no background class
    classes              {name: {"precision", "recall", "f1", "support" (frames), "segments"}}, pooled
    never_predicted      the classes that have support and are predicted for no labelled frame: swallowed by others
    confusion            [K][K] frames, row = truth, column = predicted, pooled
    videos               {stem: {"num_frames", "frames", "segments", "without_background"}}, a score for each pair

A pair is {"pooled": all videos counted as one, "per_video": the mean of the videos' scores}.

Where classes overlap, a report also has, in the same places,

    frames               "macro_precision", "macro_recall", "micro_f1", "micro_precision", "micro_recall"
    mean_average_precision  pair; beside "frames" and "segments"
    classes              "scored_frames" (those in which it is known), "average_precision", "edit", "f1_at_10",
                         "f1_at_25", "f1_at_50", "calibration_error" (in percent, 0 is perfect)
    co_occurrence        instead of confusion: {"truth": [K][K], "predicted": [K][K]} frames that have both classes
"""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.files import replacing
from pipeline.metrics import exclusive, overlapping
from pipeline.metrics.videos import Report
from pipeline.scores import LABEL_SCORES
from pipeline.text import wording

MAX_NAMES = 8  # of classes or videos in one line
# The scores of a class that are shown: their keys, and how they are called in tables.
TABLE_COLUMNS = {"precision": "precision", "recall": "recall", "f1": "F1"}
OVERLAPPING_TABLE_COLUMNS = {"average_precision": "AP", "edit": "edit", "f1_at_50": "F1@50"}
OVERLAPPING_FILE_COLUMNS = ("average_precision", "edit", "f1_at_10", "f1_at_25", "f1_at_50", "calibration_error")


def evaluate(
    truth: Mapping[str, np.ndarray],
    predicted: Mapping[str, np.ndarray],
    label_space: LabelSpace,
    probabilities: Mapping[str, np.ndarray] | None = None,
) -> Report:
    """Score predicted labels against true ones.

    Args:
        truth: The true labels of each video, by its stem: int64 [T], or int8 [T, K] where classes overlap.
        predicted: The predicted labels likewise.
        label_space: The classes of both.
        probabilities: float [T, K], the predicted probability of each class likewise. They are used where classes
            overlap. None leaves the scores that need them undefined.

    Returns:
        The report, whose layout is at the top of this file. Videos without a labelled frame are not in it.

    Raises:
        InputError: Videos are only on one side, differ in length, have a labelled frame that is not predicted, or a
            label that is not valid (the message names all of them); or no frame is labelled at all.
    """
    if label_space.is_exclusive:
        return exclusive.evaluate(truth, predicted, label_space)
    return overlapping.evaluate(truth, predicted, label_space, probabilities)


def flatten(report: Report) -> dict[str, float]:
    """Return the scalar scores of a report under flat names, for trackers; scores that are None are left out.

    The names are frame_accuracy_pooled, frame_accuracy_per_video, frame_macro_f1_..., edit_..., f1_at_10_...,
    f1_at_25_..., f1_at_50_..., the same with _without_background at the end, classes_never_predicted (their number),
    class_f1/<name> and, of classes that have support, class_recall/<name>. Where classes overlap, they are also
    frame_macro_precision_..., frame_macro_recall_..., frame_micro_f1_..., frame_micro_precision_...,
    frame_micro_recall_..., mean_average_precision_... and class_average_precision/<name>.
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
    flat |= {
        f"class_average_precision/{name}": scores.get("average_precision") for name, scores in report["classes"].items()
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
    if report.get("without_probabilities"):
        paragraphs.append(_without_probabilities(report))
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


def _without_probabilities(report: Report) -> str:
    """Say why there is no average precision."""
    stems = report["without_probabilities"]
    videos = f"{len(stems)} of {wording.counted(report['num_videos'], 'video')}"
    verb = "has" if len(stems) == 1 else "have"
    cause = f"{videos} {verb} no probabilities, as the .frames.csv of `framescribe label` has them"
    return f"no average precision (AP): {cause}: {wording.listed(stems, MAX_NAMES)}"


def _class_table(report: Report) -> str:
    width = max(16, *(len(name) for name in report["classes"]))
    columns = TABLE_COLUMNS | (OVERLAPPING_TABLE_COLUMNS if _is_of_overlapping(report) else {})
    rows = [["class", *columns.values(), "frames", "segments"]]
    for name, scores in report["classes"].items():
        cells = [_cell(scores[key]) for key in columns]
        rows.append([name, *cells, f"{scores['support']:,}", f"{scores['segments']:,}"])
    return wording.format_table(rows, widths=[width, 12, *[10] * (len(columns) - 1), 11, 11])


def _is_of_overlapping(report: Report) -> bool:
    return "co_occurrence" in report


def never_predicted(report: Report) -> str:
    """Name in one line the classes that are never predicted and yet have support, the most of it first."""
    support = {name: report["classes"][name]["support"] for name in report["never_predicted"]}
    names = sorted(support, key=lambda name: (-support[name], name))
    shown = [f"{name} ({wording.counted(support[name], 'frame', separator=',')})" for name in names]
    return f"never predicted, though in the truth: {wording.listed(shown, MAX_NAMES)}"


def write_class_table(report: Report, path: Path) -> None:
    """Write the classes of a report as CSV, one row for each; a score that is not defined is an empty cell.

    Args:
        report: The report.
        path: The file.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        columns = [*TABLE_COLUMNS, *(OVERLAPPING_FILE_COLUMNS if _is_of_overlapping(report) else ())]
        counts = ["scored_frames"] if _is_of_overlapping(report) else []
        writer.writerow(["class", "frames", "segments", *counts, *columns, "never_predicted"])
        for name, scores in report["classes"].items():
            cells = ["" if scores[key] is None else f"{scores[key]:.2f}" for key in columns]
            is_never = "yes" if name in report["never_predicted"] else ""
            of_frames = [scores[key] for key in ("support", "segments", *counts)]
            writer.writerow([name, *of_frames, *cells, is_never])


def _named_pairs(part: Report) -> list[tuple[str, dict[str, float | None]]]:
    """Return (flat name, {"pooled", "per_video"}) of each score of a report, or of its `without_background`."""
    frame_pairs = [(f"frame_{name}", pair) for name, pair in part["frames"].items()]
    f1_pairs = [(f"f1_at_{percent}", pair) for percent, pair in part["segments"]["f1"].items()]
    others = [(name, part[name]) for name in ("mean_average_precision",) if name in part]
    return [*frame_pairs, *others, ("edit", part["segments"]["edit"]), *f1_pairs]


def _cell(score: float | None) -> str:
    return "-" if score is None else f"{score:.1f}"
