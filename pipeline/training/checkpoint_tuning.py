"""What is tuned on the validation split, written into the checkpoint and into the run."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segment_model import SegmentModel, fit_segment_model
from pipeline.checkpoints.labeller import Decision, set_decisions, set_tuned
from pipeline.config.params import Params
from pipeline.config.section import SegmentDecoding
from pipeline.tracking import store
from pipeline.training.class_tuning import MIN_BOUTS, ClassSplit, shortest_bouts
from pipeline.training.tuning import Split, watched_scores


def tune_checkpoint(
    out: Path,
    split: Split,
    params: Params,
    *,
    training_labels: Mapping[str, np.ndarray],
    shortest: bool,
    run_id: str,
) -> None:
    """Tune the steps from probabilities to labels, and write what is found into the checkpoint and the open run.

    Args:
        out: The checkpoint.
        split: The validation split, with the probabilities of that checkpoint.
        params: The settings, whose labeller.min_segment_frames is a number.
        training_labels: The labels of the training videos by their stems.
        shortest: Whether to tune the shortest segment too.
        run_id: The run.
    """
    set_length = params.labeller.min_segment_frames
    assert set_length != "auto"
    if split.label_space.is_exclusive:
        decoding = "merge" if params.labeller.head == "many_to_one" else params.labeller.decoding
        found = _tune_exclusive(out, split, decoding, training_labels, set_length=set_length, shortest=shortest)
    else:
        num_classes = split.label_space.num_classes
        lengths = (
            shortest_bouts(training_labels.values(), split.label_space) if shortest else [set_length] * num_classes
        )
        found = _tune_classes(out, ClassSplit(*split), params, min_segment_frames=lengths, shortest=shortest)
    store.log_scores_once(run_id, {f"tuning/{name}": value for name, value in found.items()})


def set_shortest_bouts(out: Path, training_labels: Mapping[str, np.ndarray], label_space: LabelSpace) -> None:
    """Write the shortest bout of each class into the checkpoint where there is no validation split to tune it on.

    Exclusive classes keep the one of the settings, which all of them share.

    Args:
        out: The checkpoint.
        training_labels: The labels of the training videos by their stems.
        label_space: The classes.
    """
    if not label_space.is_exclusive:
        lengths = shortest_bouts(training_labels.values(), label_space)
        named = zip(label_space.classes, lengths, strict=True)
        set_decisions(out, {name: Decision(min_segment_frames=frames) for name, frames in named})


def _tune_exclusive(
    out: Path,
    split: Split,
    decoding: SegmentDecoding,
    training_labels: Mapping[str, np.ndarray],
    *,
    set_length: int,
    shortest: bool,
) -> dict[str, float]:
    """Fit temperature, shortest segment, decoding and confidence; return them, with the scores before and after."""
    temperature, frames, segments = split.temperature(), None, None
    found: dict[str, float] = {"temperature": temperature}
    after = split.scores(set_length)
    if shortest:
        frames, after = split.best_min_segment_frames()
        found["min_segment_frames"] = frames
    if decoding != "merge":
        decoded, scores = _best_segments(split, decoding, training_labels, temperature)
        if decoding != "auto" or scores["f1_at_50"] > after["f1_at_50"]:
            segments, after = decoded, scores
            found |= {"segment_weight": segments.weight, "by_kind": float(segments.kinds is not None)}
    if shortest or decoding != "merge":
        found |= _before_and_after(split.scores(1), after)
    labels = split.smoothed(frames or set_length) if segments is None else split.decoded(segments, temperature)
    confidence, errors = split.confidence(labels, temperature, segments.kinds if segments else None)
    set_tuned(out, temperature=temperature, min_segment_frames=frames, segments=segments, confidence=confidence)
    return found | errors


def _best_segments(
    split: Split, decoding: SegmentDecoding, training_labels: Mapping[str, np.ndarray], temperature: float
) -> tuple[SegmentModel, dict[str, float]]:
    """Return the segments that decode best, and the scores with them; auto tries both."""
    by_kind = {"viterbi": (False,), "viterbi_by_kind": (True,)}.get(decoding, (False, True))
    models = [fit_segment_model(training_labels.values(), split.label_space, by_kind=kinds) for kinds in by_kind]
    tuned = [split.best_segments(model, temperature) for model in models]
    return max(tuned, key=lambda each: each[1]["f1_at_50"])


def _tune_classes(
    out: Path, split: ClassSplit, params: Params, *, min_segment_frames: Sequence[int], shortest: bool
) -> dict[str, float]:
    """Fit the values of each class; return them, with the scores before (at 0.5, nothing merged) and after."""
    score = params.training.threshold_score
    tuned = split.tune(min_segment_frames=min_segment_frames, shortest=shortest, threshold_score=score)
    names = split.label_space.classes
    decisions = {
        name: Decision(threshold=threshold, min_segment_frames=frames, temperature=temperature)
        for name, threshold, frames, temperature in zip(names, *tuned, strict=True)
    }
    set_decisions(out, decisions)
    if untuned := split.untuned():
        print(
            f"warning: fewer than {MIN_BOUTS} bouts in the validation split, so that threshold and shortest bout"
            f" keep their defaults: {', '.join(_describe(name, decisions[name]) for name in untuned)}",
            file=sys.stderr,
        )
        store.log_found({"tuning.untuned": ", ".join(untuned)})
    found: dict[str, float] = {
        f"{what}/{name}": value for name in names for what, value in decisions[name].model_dump().items()
    }
    before, after = (_class_scores(split, predicted) for predicted in (split.plain(), split.decide(tuned)))
    return found | _before_and_after(before, after)


def _describe(name: str, decision: Decision) -> str:
    frames = decision.min_segment_frames
    plural = "" if frames == 1 else "s"
    return f"{name} (threshold {decision.threshold:g}, shortest bout {frames} frame{plural})"


def _class_scores(split: ClassSplit, predicted: Mapping[str, np.ndarray]) -> dict[str, float]:
    return watched_scores(split.truth, predicted, split.label_space) | split.class_scores(predicted)


def _before_and_after(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Name scores <name>_before and <name>_after; of a class, <name>_before/<class>."""
    found = {}
    for when, scores in (("before", before), ("after", after)):
        for key, score in scores.items():
            name, *of_class = key.split("/", 1)
            found["/".join([f"{name}_{when}", *of_class])] = score
    return found
