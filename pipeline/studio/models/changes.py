"""What a new model says otherwise than the one before it, video by video.

T frames, K classes.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.errors import InputError
from pipeline.studio.models.prediction_files import names_of
from pipeline.studio.models.predictions import Predictions
from pipeline.studio.models.queue import GivenLabels
from pipeline.studio.places import Video


def compare(predictions: Predictions, labels: GivenLabels, videos: Iterable[Video]) -> dict[str, Any]:
    """Compare the newest two models on the videos that both have labelled.

    Args:
        predictions: What the models say.
        labels: The given labels.
        videos: The videos.

    Returns:
        The names of both models, and for each video: its id and stem, the share of its frames whose labels differ, the
        first of them, and how often each model is right where there is a given label; None where there is none. It is
        awaited while the model that labels has labelled nothing yet: the newest two are older ones then.
    """
    models = predictions.models()[:2]
    is_awaited = bool(models and predictions.stamp() and predictions.current() is None)
    if len(models) < 2 or is_awaited:
        return {"new": None, "old": None, "videos": [], "is_awaited": is_awaited}
    space, names = labels.label_space, names_of(models)
    found = []
    for video in videos:
        try:
            new, old = (predictions.read(video, model) for model in models)
            given = labels.labels(video) if new and old else None
        except InputError:
            continue  # the list of videos says why
        if new is None or old is None or given is None or not len(new.labels) == len(old.labels) == len(given):
            continue
        differs = _any_class(new.labels != old.labels)
        found.append(
            {
                "id": video.id,
                "stem": video.stem,
                "differs": float(differs.mean()),
                "first": int(differs.argmax()) if differs.any() else None,
                "new_accuracy": accuracy(new.labels, given, space),
                "old_accuracy": accuracy(old.labels, given, space),
            }
        )
    return {"new": names[models[0].key], "old": names[models[1].key], "videos": found, "is_awaited": False}


def accuracy(labels: np.ndarray, given: np.ndarray, space: LabelSpace) -> float | None:
    """Return the share of the frames with a given label on which a model is right; None where there are none.

    Args:
        labels: int64 [T], or int8 [T, K] where classes overlap: a frame is right where each known class is.
        given: As `labels`.
        space: The classes.
    """
    is_known = space.is_labelled(given)
    frames = _any_class(is_known)
    if not frames.any():
        return None
    is_wrong = _any_class(is_known & (labels != given))
    return float(1 - is_wrong[frames].mean())


def _any_class(values: np.ndarray) -> np.ndarray:
    """Return bool [T]: whether a frame has a value, or any of its classes."""
    return values if values.ndim == 1 else np.any(values, axis=1)
