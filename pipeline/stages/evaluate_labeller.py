"""Stage evaluate_labeller: scores and pictures of the labeller and the baseline on each held-out split.

Where no video is held out, as with one or two videos, they are of the training videos, and a warning says so.
"""

import csv
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.annotations.label_space import PRESENT, LabelSpace
from pipeline.checkpoints.labeller import load_checkpoint
from pipeline.config.params import load_params
from pipeline.datasets.encoded_frames import read_choices
from pipeline.datasets.features import SUFFIX, read_features, read_pts
from pipeline.datasets.manifest import Source, read_manifest
from pipeline.drawing.matrices import plot_co_occurrence, plot_confusion
from pipeline.drawing.plots import plot_timeline
from pipeline.drawing.reliability import plot_reliability
from pipeline.encoding.device import choose_device
from pipeline.encoding.runtime import exports_beside
from pipeline.files import replacing
from pipeline.labelling.model import Model
from pipeline.labelling.video import VideoLabels, label_video, postprocess
from pipeline.metrics.calibration import calibration_error, reliability
from pipeline.metrics.report import evaluate, flatten, never_predicted, write_class_table
from pipeline.metrics.videos import Report
from pipeline.stages import run_stage
from pipeline.stages.paths import BASELINE, FEATURES, LABELLER, PREPARED, RESULTS
from pipeline.tracking import store
from pipeline.tracking.searches import runs_of_model
from pipeline.video.frame_choice import FrameChoice

HELD_OUT, TRAINED_ON = ("val", "test"), "train"
NOTHING_HELD_OUT = (
    "no video is held out to evaluate on, so the scores are of the videos that the model was trained on: they say"
    " nothing of other videos. Set dataset.test_fraction, or write splits/test.txt"
)
WITHOUT_RNN = "without_rnn"
PICTURES = "pictures"  # only pictures, as DVC takes every file in a folder that it draws for the data of a plot
Predictions = dict[str, VideoLabels]


def main() -> None:
    """Write results/evaluation and results/metrics.json, and log them into the MLflow runs of both models."""
    params = load_params()
    manifest, labels = read_manifest(PREPARED)
    label_space = manifest.label_space
    device = choose_device(params.training.device)
    labeller, baseline = (
        Model(
            load_checkpoint(folder, device=device, label_space=label_space),
            exports=exports_beside(folder),
            reader=manifest.reader,
        )
        for folder in (LABELLER, BASELINE)
    )
    splits = [split for split in HELD_OUT if manifest.of_split(split)]
    if not splits:
        print(f"warning: {NOTHING_HELD_OUT}", file=sys.stderr)
        splits = [TRAINED_ON]
    out = RESULTS / "evaluation"
    shutil.rmtree(out, ignore_errors=True)
    metrics: dict[str, dict[str, float]] = {}
    choices = read_choices(PREPARED)
    for split in splits:
        sources = manifest.of_split(split)
        truth = {source.stem: labels[source.stem] for source in sources}
        predicted = predict_sources(labeller, sources, choices, description=f"labelling {split}")
        alone = predict_sources(baseline, sources, choices, description=f"{split} without RNN")
        report = _evaluate(truth, predicted, label_space)
        metrics[split] = flatten(report) | calibration_of(truth, predicted, label_space)
        alone_report = _evaluate(truth, alone, label_space)
        metrics[f"{split}_{WITHOUT_RNN}"] = flatten(alone_report) | calibration_of(truth, alone, label_space)
        write_report(out / split, report, truth, predicted, label_space)
        write_pictures(
            out / PICTURES / split,
            report,
            label_space,
            truth=truth,
            predicted=predicted,
            alone=alone,
            num_timelines=params.num_samples,
        )
    with replacing(RESULTS / "metrics.json") as path:
        path.write_text(json.dumps(metrics, indent=1) + "\n")
    _track(metrics, labeller, baseline, out, search=params.search)


def predict_sources(
    model: Model, sources: list[Source], choices: Mapping[str, FrameChoice], *, description: str
) -> Predictions:
    """Label sources, from the cached features where the model reads those, otherwise from the file itself.

    Args:
        model: The labeller.
        sources: The sources.
        choices: Which of their frames are encoded, by stem; a source that is not among them: every frame.
        description: The text of the progress bar.

    Returns:
        The labels of each source, by its stem.
    """
    return {s.stem: _predict(model, s, choices.get(s.stem)) for s in tqdm(sources, desc=description, unit="video")}


def _predict(model: Model, source: Source, choice: FrameChoice | None) -> VideoLabels:
    cached = FEATURES / f"{source.stem}{SUFFIX}"
    if not cached.exists():  # trained end to end: its features are those of its own encoder
        return label_video(Path(source.path), model)
    features = read_features(cached)
    probabilities = model.checkpoint.labeller.predict([features])
    pts_seconds = read_pts(cached)
    times = pts_seconds if choice is None else pts_seconds[choice.positions]
    found = postprocess(probabilities, model, pts_seconds=times, frame_seconds=float("nan"))
    return found if choice is None else found.spread(choice.nearest, pts_seconds)


def _evaluate(truth: dict[str, np.ndarray], predicted: Predictions, label_space: LabelSpace) -> Report:
    labels = {stem: result.labels for stem, result in predicted.items()}
    probabilities = {stem: result.class_probabilities for stem, result in predicted.items()}
    return evaluate(truth, labels, label_space, probabilities)


def calibration_of(truth: dict[str, np.ndarray], predicted: Predictions, label_space: LabelSpace) -> dict[str, float]:
    """Compute how far the probabilities of all labelled frames are from the frequency of right labels.

    Where classes overlap, it is how far the probabilities of all classes are from the frequency of these classes, over
    all labelled pairs of a frame and a class.

    Args:
        truth: int64 [T] by stem, or int8 [T, K] where classes overlap.
        predicted: The predicted labels by stem.
        label_space: The classes.

    Returns:
        "calibration_error"; empty where it is not defined.
    """
    error = calibration_error(*_outcomes(truth, predicted, label_space))
    return {} if error is None else {"calibration_error": error}


def _outcomes(
    truth: dict[str, np.ndarray], predicted: Predictions, label_space: LabelSpace
) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities [N] and whether that happened which they are of, bool [N], as `calibration_of` says."""
    actual = np.concatenate([truth[stem] for stem in truth])
    labels = np.concatenate([predicted[stem].labels for stem in truth])
    probabilities = np.concatenate([predicted[stem].probabilities for stem in truth])
    labelled = label_space.is_labelled(actual)
    happens = labels == actual if label_space.is_exclusive else actual == PRESENT
    return probabilities[labelled], happens[labelled]


def write_report(
    out: Path, report: Report, truth: dict[str, np.ndarray], predicted: Predictions, label_space: LabelSpace
) -> None:
    """Write report.json, classes.csv, and confusion.csv for DVC's plot.

    confusion.csv has a row for each labelled frame, and is that of the last split. Where classes overlap, it has a row
    for each labelled pair of a frame and a class: whether the class is there.

    Args:
        out: The folder of the split.
        report: The scores of the videos.
        truth: The true labels by stem.
        predicted: The predicted labels by stem.
        label_space: The classes.
    """
    with replacing(out / "report.json") as path:
        path.write_text(json.dumps(report, indent=1) + "\n")
    write_class_table(report, out / "classes.csv")
    if report["never_predicted"]:
        print(f"warning: {out.name}: {never_predicted(report)}", file=sys.stderr)
    with replacing(RESULTS / "confusion.csv") as path, path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["actual", "predicted"])
        for stem, labels in truth.items():
            sides = (_answers(side, labels, label_space) for side in (labels, predicted[stem].labels))
            writer.writerows(zip(*sides, strict=True))


def _answers(labels: np.ndarray, truth: np.ndarray, label_space: LabelSpace) -> list[str | None]:
    """Name labels where the truth is known: the class of each frame; or of each class whether it is there or not."""
    labelled = label_space.is_labelled(truth)
    if label_space.is_exclusive:
        return label_space.names(labels[labelled])
    frames, classes = np.nonzero(labelled)
    names = [(f"not {name}", name) for name in label_space.classes]
    return [names[index][int(labels[frame, index] == PRESENT)] for frame, index in zip(frames, classes, strict=True)]


def write_pictures(
    out: Path,
    report: Report,
    label_space: LabelSpace,
    *,
    truth: dict[str, np.ndarray],
    predicted: Predictions,
    alone: Predictions,
    num_timelines: int,
) -> None:
    """Write confusion.png or co_occurrence.png, reliability.png, and timelines/<stem>.png of the first videos.

    Args:
        out: The folder, which does not exist yet.
        report: The scores of the videos.
        label_space: The classes.
        truth: The true labels by stem.
        predicted: The predicted labels by stem.
        alone: Those of the model without a recurrent network.
        num_timelines: The number of timelines.
    """
    (out / "timelines").mkdir(parents=True)
    if label_space.is_exclusive:
        plot_confusion(np.array(report["confusion"]), label_space).savefig(out / "confusion.png", dpi=120)
    else:
        true, claimed = (np.array(report["co_occurrence"][side]) for side in ("truth", "predicted"))
        plot_co_occurrence(true, claimed, label_space).savefig(out / "co_occurrence.png", dpi=120)
    outcomes = {
        "labeller": _outcomes(truth, predicted, label_space),
        "without RNN": _outcomes(truth, alone, label_space),
    }
    if all(len(probabilities) for probabilities, _ in outcomes.values()):
        bins = {name: reliability(*pair) for name, pair in outcomes.items()}
        plot_reliability(bins, of_labels=label_space.is_exclusive).savefig(out / "reliability.png", dpi=120)
    for stem in list(truth)[:num_timelines]:
        result = predicted[stem]
        figure = plot_timeline(
            truth[stem],
            result.labels,
            result.probabilities,
            label_space,
            times=None if np.isnan(result.pts_seconds).any() else result.pts_seconds,
            title=stem,
            more_rows={"without RNN": alone[stem].labels},
        )
        figure.savefig(out / "timelines" / f"{stem}.png", dpi=120)


def _track(
    metrics: dict[str, dict[str, float]], labeller: Model, baseline: Model, out: Path, *, search: str | None
) -> None:
    """Log the scores of metrics.json and the pictures, each into the run that trained its model and into `search`."""
    ours = {split: scores for split, scores in metrics.items() if not split.endswith(WITHOUT_RNN)}
    alone = {split: metrics[f"{split}_{WITHOUT_RNN}"] for split in ours}
    for model, of_splits, folder in ((labeller, ours, out), (baseline, alone, None)):
        scores = {f"{split}/{name}": s for split, scores in of_splits.items() for name, s in scores.items()}
        for run_id in runs_of_model(model.spec.lineage.run_id, search, results=RESULTS):
            with store.open_run(run_id):
                store.log_scores(scores)
                if folder:
                    store.log_folder(folder, "evaluation")


if __name__ == "__main__":
    run_stage(main)
