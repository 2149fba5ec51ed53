"""The registry of scores agrees with what is computed, monitored and shown."""

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.annotations.label_space import LabelSpace
from pipeline.config import load_params
from pipeline.metrics.captions import score_captions
from pipeline.metrics.report import evaluate, flatten, format_table
from pipeline.scores import CAPTION_SCORES, LABEL_SCORES, LOSS, Score, higher_is_better, monitored
from pipeline.training.tuning import watched_scores

TRUTH = {"a": np.array([0, 0, 1, 1, 2, 2]), "b": np.array([2, 2, 2, 0])}
PREDICTED = {"a": np.array([0, 0, 1, 2, 2, 2]), "b": np.array([2, 2, 2, 0])}
REPORT = evaluate(TRUTH, PREDICTED, LabelSpace(("x", "y", "z")))


def test_names_and_titles_are_unique():
    scores = (*LABEL_SCORES, *CAPTION_SCORES)
    for field in ("name", "title", "short_title"):
        values = [getattr(score, field) for score in scores]
        assert len(set(values)) == len(values), field


def test_a_report_has_exactly_the_registered_scores_in_their_order():
    names = [name for name in flatten(REPORT) if name.endswith("_pooled")]
    assert names == [f"{score.name}_pooled" for score in LABEL_SCORES]
    assert {score.key for score in LABEL_SCORES} <= flatten(REPORT).keys()


def test_a_table_has_a_row_for_each_registered_score():
    rows = [line.strip() for line in format_table(REPORT).splitlines()]
    for score in LABEL_SCORES:
        assert any(row.startswith(f"{score.title} ") for row in rows), score.title


def test_caption_scores_that_are_computed_are_registered():
    scores = score_captions({"1": "a red square"}, {"1": ["a red square", "a square"]}, with_meteor=False)
    registered = {score.name for score in CAPTION_SCORES}
    assert scores.keys() <= registered
    assert {score.name for score in monitored(CAPTION_SCORES)} <= scores.keys()


@pytest.mark.parametrize("background", [None, "x"])
def test_training_watches_the_monitored_scores(background):
    scores = watched_scores(TRUTH, PREDICTED, LabelSpace(("x", "y", "z"), background))
    assert list(scores) == [score.name for score in monitored(LABEL_SCORES)]


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
