"""A checkpoint as MLflow's pyfunc: `mlflow.pyfunc.load_model(uri).predict(table)` labels the videos of a table."""

from pathlib import Path

import pandas as pd

from pipeline.predict import label_video, load_model

NO_FRAMES = pd.DataFrame(
    {
        "path": pd.Series(dtype="str"),
        "frame": pd.Series(dtype="int64"),
        "time_seconds": pd.Series(dtype="float64"),
        "label": pd.Series(dtype="str"),
        "probability": pd.Series(dtype="float64"),
    }
)


class LabellingModel:
    """A model that takes a table with a column `path` (videos, or .npy for a model of ready features)."""

    def __init__(self, checkpoint: Path) -> None:
        self._model = load_model(str(checkpoint), device="auto")

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """One row a frame: path, frame, time_seconds (NaN for features), label, probability.

        Raises InputError, naming the file, at the first one that it cannot label.
        """
        tables = [NO_FRAMES]
        for path in table["path"]:
            result = label_video(Path(path), self._model)
            columns = {
                "path": path,
                "frame": range(len(result.labels)),
                "time_seconds": result.pts_seconds,
                "label": [self._model.spec.classes[index] for index in result.labels],
                "probability": result.probabilities.astype("float64"),
            }
            tables.append(pd.DataFrame(columns))
        return pd.concat(tables, ignore_index=True)


def _load_pyfunc(path: str) -> LabellingModel:
    """Called by mlflow with the folder of the checkpoint."""
    return LabellingModel(Path(path))
