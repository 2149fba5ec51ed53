"""The registry of scores agrees with what is computed, monitored and shown."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.annotations.label_space import LabelSpace
from pipeline.config.params import load_params
from pipeline.errors import InputError
from pipeline.metrics.captions import score_captions
from pipeline.metrics.report import evaluate, flatten, format_table
from pipeline.scores import CAPTION_SCORES, LABEL_SCORES, LOSS, Score, higher_is_better, monitored
from pipeline.training.tuning import check_monitor, watched_scores

TRUTH = {"a": np.array([0, 0, 1, 1, 2, 2]), "b": np.array([2, 2, 2, 0])}
PREDICTED = {"a": np.array([0, 0, 1, 2, 2, 2]), "b": np.array([2, 2, 2, 0])}
SPACES = {"exclusive": LabelSpace(("x", "y", "z")), "overlapping": LabelSpace.independent(("x", "y", "z"))}


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(3, dtype=np.int8)[labels]


def labels_of(kind: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The true and the predicted labels in the form of the kind."""
    if kind == "exclusive":
        return TRUTH, PREDICTED
    return {s: one_hot(v) for s, v in TRUTH.items()}, {s: one_hot(v) for s, v in PREDICTED.items()}


def report_of(kind: str) -> dict:
    truth, predicted = labels_of(kind)
    return evaluate(truth, predicted, SPACES[kind], predicted)


KINDS = pytest.mark.parametrize("kind", SPACES)


def test_names_and_titles_are_unique():
    scores = (*LABEL_SCORES, *CAPTION_SCORES)
    for field in ("name", "title", "short_title"):
        values = [getattr(score, field) for score in scores]
        assert len(set(values)) == len(values), field


@KINDS
def test_a_report_has_exactly_the_registered_scores_in_their_order(kind):
    scores = [score for score in LABEL_SCORES if kind in score.kinds]
    flat = flatten(report_of(kind))
    assert [name for name in flat if name.endswith("_pooled")] == [f"{score.name}_pooled" for score in scores]
    assert {score.key for score in scores} <= flat.keys()


@KINDS
def test_a_table_has_a_row_for_each_registered_score(kind):
    rows = [line.strip() for line in format_table(report_of(kind)).splitlines()]
    for score in LABEL_SCORES:
        assert any(row.startswith(f"{score.title} ") for row in rows) == (kind in score.kinds), score.title


def test_scores_are_monitored_only_where_they_are_computed():
    for score in (*LABEL_SCORES, *CAPTION_SCORES):
        assert set(score.monitored_of) <= set(score.kinds)
    assert [score.name for score in monitored(LABEL_SCORES, "exclusive")] == ["frame_accuracy", "edit", "f1_at_50"]


def test_caption_scores_that_are_computed_are_registered():
    scores = score_captions({"1": "a red square"}, {"1": ["a red square", "a square"]}, with_meteor=False)
    registered = {score.name for score in CAPTION_SCORES}
    assert scores.keys() <= registered
    assert {score.name for score in monitored(CAPTION_SCORES)} <= scores.keys()


@pytest.mark.parametrize("background", [None, "x"])
@KINDS
def test_training_watches_the_monitored_scores(kind, background):
    truth, predicted = labels_of(kind)
    space = replace(SPACES[kind], background=background)
    scores = watched_scores(truth, predicted, space, predicted)
    assert list(scores) == [score.name for score in monitored(LABEL_SCORES, kind)]
    names = [name for name in scores if name != "mean_average_precision"]
    assert list(watched_scores(truth, predicted, space)) == names


@KINDS
def test_a_score_that_training_does_not_compute_cannot_choose_the_best_epoch(kind):
    computed = {LOSS, *(score.name for score in monitored(LABEL_SCORES, kind))}
    for name in (LOSS, *(score.name for score in monitored(LABEL_SCORES))):
        if name in computed:
            check_monitor(name, SPACES[kind])
        else:
            with pytest.raises(InputError, match=f"the setting monitor is {name}, .* expected one of loss, "):
                check_monitor(name, SPACES[kind])


@pytest.mark.parametrize("section", ["training", "captioner.training"])
def test_the_setting_monitor_is_the_loss_or_a_monitored_score(section):
    settings = load_params().training if section == "training" else load_params().captioner.training
    scores: tuple[Score, ...] = LABEL_SCORES if section == "training" else CAPTION_SCORES
    values = settings.model_dump()
    for name in (LOSS, *(score.name for score in monitored(scores))):
        assert type(settings).model_validate(values | {"monitor": name}).monitor == name
    for score in set(scores) - set(monitored(scores)):
        with pytest.raises(ValidationError, match="monitor"):
            type(settings).model_validate(values | {"monitor": score.name})


def test_a_loss_is_better_when_it_is_lower():
    assert not higher_is_better(LOSS)
    assert higher_is_better("f1_at_50")
    with pytest.raises(KeyError):
        higher_is_better("speed")
