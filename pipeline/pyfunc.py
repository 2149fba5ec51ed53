"""A checkpoint as a pyfunc model of MLflow.

`mlflow.pyfunc.load_model(uri).predict(table)` labels videos or describes images, and so does `mlflow models serve`.

The column `path` of the table names files. Where the column `content` holds the bytes of a file, `path` is only its
name: a server need not see the files of those who ask it.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException

from pipeline.annotations.label_space import SEPARATOR, LabelSpace
from pipeline.captioning.describe import caption_images, load_caption_model, plan_search
from pipeline.checkpoints.storage import read_kind
from pipeline.errors import InputError
from pipeline.labelling.model import load_model
from pipeline.labelling.video import VideoLabels, label_video
from pipeline.stores.address import is_address, parse_address
from pipeline.stores.objects import StoredFile

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
            table: Its column `path` names videos, or .npy files for a model of ready features; `content`, where it is
                there, holds their bytes.

        Returns:
            One row per frame: path, frame, time_seconds (NaN for features), label, probability. Where classes overlap:
            labels, their names joined by ";", and probability_<class> of each class.

        Raises:
            RefusedError: A file cannot be labelled; the message names the first such file.
        """
        label_space = self._model.spec.label_space
        tables = [_no_frames(label_space)]
        with _refusing(), _files(table) as files:
            for path, file in zip(table["path"], files, strict=True):
                is_stored = is_address(path) and file == Path(path)
                result = label_video(StoredFile(parse_address(path)) if is_stored else file, self._model)
                columns = {
                    "path": path,
                    "frame": range(len(result.labels)),
                    "time_seconds": result.pts_seconds,
                    **_label_columns(result, label_space),
                }
                tables.append(pd.DataFrame(columns))
        return pd.concat(tables, ignore_index=True)


def _label_columns(result: VideoLabels, label_space: LabelSpace) -> dict[str, Any]:
    """Return the columns of a video that say which classes its frames have."""
    if label_space.is_exclusive:
        return {"label": label_space.names(result.labels), "probability": result.probabilities.astype("float64")}
    columns = zip(label_space.classes, result.probabilities.T.astype("float64"), strict=True)
    names = [SEPARATOR.join(names) for names in label_space.class_names(result.labels)]
    return {"labels": names, **{f"probability_{name}": column for name, column in columns}}


def _no_frames(label_space: LabelSpace) -> pd.DataFrame:
    """Return the table of no video, whose columns have the types of those of every video."""
    if label_space.is_exclusive:
        of_labels = {"label": "str", "probability": "float64"}
    else:
        of_labels = {"labels": "str", **{f"probability_{name}": "float64" for name in label_space.classes}}
    types = {"path": "str", "frame": "int64", "time_seconds": "float64", **of_labels}
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in types.items()})


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
            table: Its column `path` names images; `content`, where it is there, holds their bytes.

        Returns:
            One row per image: path, its best caption, the probability of the caption.

        Raises:
            RefusedError: A file cannot be read; the message names the first such file.
        """
        with _refusing(), _files(table) as files:
            images = caption_images(files, self._model, plan_search(self._model), on_failure=_raise)
            captions = [best for _, (best, *_) in images]
        columns = {
            "path": list(table["path"]),
            "caption": [caption.text for caption in captions],
            "probability": [caption.probability for caption in captions],
        }
        return pd.concat([NO_CAPTIONS, pd.DataFrame(columns)], ignore_index=True)


class RefusedError(MlflowException, InputError):  # type: ignore[misc]
    """A file cannot be used. A server of MLflow answers with the message of its own kind of error only."""


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn an InputError into a RefusedError."""
    try:
        yield
    except InputError as error:
        raise RefusedError(str(error), INVALID_PARAMETER_VALUE) from None


@contextmanager
def _files(table: pd.DataFrame) -> Iterator[list[Path]]:
    """Yield the file of each row; one that came as bytes is a temporary file of its name."""
    contents = table["content"] if "content" in table else [None] * len(table)
    with tempfile.TemporaryDirectory(prefix="framescribe-") as folder:
        files = []
        for row, (path, content) in enumerate(zip(table["path"], contents, strict=True)):
            file = Path(path)
            if isinstance(content, bytes):  # otherwise None, or pandas' NaN
                file = Path(folder, str(row), "unnamed" if file.name in ("", "..") else file.name)
                file.parent.mkdir()
                file.write_bytes(content)
            files.append(file)
        yield files


def _raise(message: str) -> NoReturn:
    raise InputError(message)


def _load_pyfunc(path: str) -> LabellingModel | CaptioningModel:
    """Load a model; MLflow calls this with the folder of the checkpoint."""
    folder = Path(path)
    return CaptioningModel(folder) if read_kind(folder) == "captioner" else LabellingModel(folder)
