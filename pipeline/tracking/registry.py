"""MLflow's registry of models: versions of a name, of which the alias `champion` names the best one so far."""

import math
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.scores import higher_is_better
from pipeline.tracking.models import own_model

CHAMPION = "champion"


class _Score(NamedTuple):
    """The score of a version: its value, None where it has none, and the fingerprint of the data that it is of."""

    value: float | None
    data: str | None


def register(run_id: str, model: str, registered: str, monitor: str) -> None:
    """Register the model of a run, and make it the champion where its score is better than that of the champion.

    A model that is registered stays the version that it is, and the decision is made again.

    Args:
        run_id: The run that trained the model.
        model: The name of the model in the run.
        registered: The name in the registry.
        monitor: The score on the validation split by which the best epoch was chosen, and by which models compete.
    """
    client = MlflowClient()
    version = _version_of(client, run_id, model, registered)
    print(f"{registered}: {_crown(client, version, monitor)}")


def _version_of(client: MlflowClient, run_id: str, model: str, registered: str) -> ModelVersion:
    """Return the version that a model is, made where it is none."""
    model_id = own_model(client, run_id, model).model_id
    try:
        client.create_registered_model(registered)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    if known := client.search_model_versions(f"name = '{registered}' and run_id = '{run_id}'"):
        return known[0]
    return client.create_model_version(registered, f"models:/{model_id}", run_id, model_id=model_id)


def _crown(client: MlflowClient, version: ModelVersion, monitor: str) -> str:
    """Make a version the champion if it is the best; return in words what was decided, and why."""
    name, number = version.name, version.version
    champion = _champion(client, name)
    score, title = _score_of(client, version, monitor), f"{monitor} on the validation split"
    if champion is not None and champion.version == number:
        return f"version {number} is the {CHAMPION} already"
    if score.value is None:
        return f"registered as version {number}; it has no {title}, so {_stays(champion)}"
    if champion is not None:
        best = _score_of(client, champion, monitor)
        if best.value is None:
            return f"registered as version {number}; {_stays(champion)}, which has no {title} to compare with"
        other = "" if best.data == score.data else ", on other data"
        compared = f"{title}: {score.value:.4g}, against {best.value:.4g} of version {champion.version}{other}"
        if not (score.value > best.value if higher_is_better(monitor) else score.value < best.value):
            return f"registered as version {number}; {_stays(champion)} ({compared})"
    else:
        compared = f"{title}: {score.value:.4g}; there was no {CHAMPION}"
    client.set_registered_model_alias(name, CHAMPION, number)
    return f"registered as version {number}, which is now the {CHAMPION} ({compared})"


def _stays(champion: ModelVersion | None) -> str:
    return f"there is still no {CHAMPION}" if champion is None else f"version {champion.version} stays the {CHAMPION}"


def _champion(client: MlflowClient, name: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def _score_of(client: MlflowClient, version: ModelVersion, monitor: str) -> _Score:
    """Return the score by which a version competes."""
    if not version.run_id:  # it was registered by hand, and no training is known
        return _Score(None, None)
    try:
        run = client.get_run(version.run_id).data
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return _Score(None, None)  # somebody has deleted its run for good
    value = run.metrics.get(best_score(monitor))
    return _Score(None if value is None or math.isnan(value) else value, run.tags.get("data_fingerprint"))


def best_score(name: str) -> str:
    """Return the name of the metric that has a score of the best epoch on the validation split.

    Args:
        name: The name of the score, without "val_".
    """
    return f"best/val_{name}"
