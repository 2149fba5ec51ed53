"""A checkpoint as a pyfunc model of MLflow.

`mlflow.pyfunc.load_model(uri).predict(table)` labels videos or describes images.
"""

from pathlib import Path
from typing import NoReturn

import pandas as pd

from pipeline.captioning.describe import caption_images, load_caption_model, plan_search
from pipeline.checkpoints.storage import read_kind
from pipeline.errors import InputError
from pipeline.labelling.model import load_model
from pipeline.labelling.video import label_video

NO_FRAMES = pd.DataFrame(
    {
        "path": pd.Series(dtype="str"),
        "frame": pd.Series(dtype="int64"),
        "time_seconds": pd.Series(dtype="float64"),
        "label": pd.Series(dtype="str"),
        "probability": pd.Series(dtype="float64"),
    }
)
NO_CAPTIONS = pd.DataFrame(
    {
        "path": pd.Series(dtype="str"),
        "caption": pd.Series(dtype="str"),
        "probability": pd.Series(dtype="float64"),
    }
)


class LabellingModel:
    """A labeller for MLflow.

    Args:
        checkpoint: The folder of the checkpoint.
    """

    def __init__(self, checkpoint: Path) -> None:
        self._model = load_model(str(checkpoint), device="auto")

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """Label videos.

        Args:
            table: Its column `path` names videos, or .npy files for a model of ready features.

        Returns:
            One row per frame: path, frame, time_seconds (NaN for features), label, probability.

        Raises:
            InputError: A file cannot be labelled; the message names the first such file.
        """
        tables = [NO_FRAMES]
        for path in table["path"]:
            result = label_video(Path(path), self._model)
            columns = {
                "path": path,
                "frame": range(len(result.labels)),
                "time_seconds": result.pts_seconds,
                "label": self._model.spec.label_space.names(result.labels),
                "probability": result.probabilities.astype("float64"),
            }
            tables.append(pd.DataFrame(columns))
        return pd.concat(tables, ignore_index=True)


class CaptioningModel:
    """A captioner for MLflow.

    Args:
        checkpoint: The folder of the checkpoint.
    """

    def __init__(self, checkpoint: Path) -> None:
        self._model = load_caption_model(str(checkpoint), device="auto")

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """Describe images.

        Args:
            table: Its column `path` names images.

        Returns:
            One row per image: path, its best caption, the probability of the caption.

        Raises:
            InputError: A file cannot be read; the message names the first such file.
        """
        images = caption_images(map(Path, table["path"]), self._model, plan_search(self._model), on_failure=_raise)
        captions = [best for _, (best, *_) in images]
        columns = {
            "path": list(table["path"]),
            "caption": [caption.text for caption in captions],
            "probability": [caption.probability for caption in captions],
        }
        return pd.concat([NO_CAPTIONS, pd.DataFrame(columns)], ignore_index=True)


def _raise(message: str) -> NoReturn:
    raise InputError(message)


def _load_pyfunc(path: str) -> LabellingModel | CaptioningModel:
    """Load a model; MLflow calls this with the folder of the checkpoint."""
    folder = Path(path)
    return CaptioningModel(folder) if read_kind(folder) == "captioner" else LabellingModel(folder)
