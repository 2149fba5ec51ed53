"""Checkpoints as models of MLflow: written beside their run, and found by a URI."""

import atexit
import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types import ColSpec, Schema

from pipeline.checkpoints.storage import SPEC
from pipeline.errors import MAX_CAUSE, InputError
from pipeline.tracking.connection import address, connect, is_server, need_store, without_password
from pipeline.tracking.description import requirements

DATA = "data"  # where `save_model` puts a checkpoint
OF_FRAMES = (ColSpec("string", "path"), ColSpec("long", "frame"), ColSpec("double", "time_seconds"))
# The bytes of a file may be sent with its name, to a server that cannot see the file. JSON has them as base64.
FILES = Schema([ColSpec("string", "path"), ColSpec("binary", "content", required=False)])
LABELS_SIGNATURE = ModelSignature(
    inputs=FILES,
    outputs=Schema([*OF_FRAMES, ColSpec("string", "label"), ColSpec("double", "probability")]),
)
CAPTIONS_SIGNATURE = ModelSignature(
    inputs=FILES,
    outputs=Schema([ColSpec("string", "path"), ColSpec("string", "caption"), ColSpec("double", "probability")]),
)


def overlapping_signature(classes: Iterable[str]) -> ModelSignature:
    """Return what LABELS_SIGNATURE is where the classes overlap: the names of a frame, and a probability of each."""
    of_classes = [ColSpec("double", f"probability_{name}") for name in classes]
    return ModelSignature(
        inputs=FILES,
        outputs=Schema([*OF_FRAMES, ColSpec("string", "labels"), *of_classes]),
    )


def write_model(run_id: str, checkpoint: Path, *, name: str, example: str, signature: dict[str, Any]) -> None:
    """Log a checkpoint as a pyfunc: a table of files in (`example` is the path of one), what `signature` says out.

    The weights stay as they are, a checkpoint folder: nothing is pickled. A resumed run has one model: one that is
    whole is kept, and one that is not is written again under its id, which `mlflow.pyfunc.log_model` cannot do.
    """
    client = mlflow.MlflowClient()
    model = own_model(client, run_id, name)
    if model.status == "READY":
        return
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "model")
        mlflow.pyfunc.save_model(
            path=whole,
            mlflow_model=Model(artifact_path=model.artifact_location, run_id=run_id, model_id=model.model_id),
            loader_module="pipeline.pyfunc",
            data_path=checkpoint,
            code_paths=[str(Path(__file__).parents[1])],
            signature=ModelSignature.from_dict(signature),
            input_example=pd.DataFrame({"path": [example]}),
            pip_requirements=requirements(_encoder_name(checkpoint / SPEC)),
        )
        for cache in whole.rglob("__pycache__"):
            shutil.rmtree(cache)
        client.log_model_artifacts(model.model_id, str(whole))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _encoder_name(spec: Path) -> str:
    """Return the name of the encoder of a checkpoint; "" where it takes ready features."""
    encoder = json.loads(spec.read_text(encoding="utf-8")).get("encoder")
    return str(encoder["name"]) if encoder else ""


def own_model(client: mlflow.MlflowClient, run_id: str, name: str) -> LoggedModel:
    """Return the model of this name that the run has, made where it has none."""
    run = client.get_run(run_id)
    known = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'")
    model = next((model for model in known if model.name == name), None)
    if model is None:
        model = client.create_logged_model(run.info.experiment_id, name, source_run_id=run_id, params=run.data.params)
    if model.model_id not in [output.model_id for output in (run.outputs.model_outputs if run.outputs else ())]:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def fetch_checkpoint(uri: str) -> Path:
    """Find or download the checkpoint folder of an MLflow URI (models:/.., runs:/..); raise InputError for none."""
    is_tracked = uri.startswith(("models:", "runs:", "mlflow-artifacts:"))
    if is_tracked:
        need_store(uri)
        connect()
    try:
        folder = (
            _received(uri)
            if is_tracked and is_server()
            else Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
        )
    except Exception as error:  # whatever the libraries of the stores raise
        where = f"MLflow has no such model at {address()}" if is_tracked else "there is no such model"
        cause = without_password(" ".join(str(error).split()))[:MAX_CAUSE]  # MLflow's has several lines
        raise InputError(f"{uri}: {where} ({cause})") from None
    found = sorted(path.parent for path in folder.rglob(SPEC))
    if not found:
        raise InputError(f"{uri}: is not a Framescribe model, it holds no {SPEC}")
    return found[0]


def _received(uri: str) -> Path:
    """Download what a server has of a model into a folder that is gone when this process ends.

    Of a model it is the checkpoint alone: the code beside it, hundreds of files, is for servers of models.
    """
    folder = tempfile.mkdtemp(prefix="framescribe-model-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    artifacts = get_artifact_repository(uri)
    names = {PurePosixPath(item.path).name for item in artifacts.list_artifacts("")}  # of a run: <model>/<name>
    artifacts.download_artifacts(DATA if {MLMODEL_FILE_NAME, DATA} <= names else "", dst_path=folder)
    return Path(folder)
