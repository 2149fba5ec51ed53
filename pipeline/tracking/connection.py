"""Where MLflow's store is: a server, or SQLite in the repository; and what is said where it does not answer.

The store in the repository has an absolute path, beside the other results; MLFLOW_TRACKING_URI overrides it.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException

from pipeline.errors import MAX_CAUSE, InputError, describe_reason, first_line
from pipeline.files import replacing
from pipeline.tracking.relocation import ARTIFACTS, DATABASE, relocate

EXPERIMENT = "framescribe"
ANSWER_SECONDS = 10  # the longest wait for an answer to a small request
# The codes of answers that another attempt cannot change. BAD_REQUEST is not one: MLflow also gives it where its
# database is too busy.
ANSWERS = ("INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST")
REFUSALS = ("error code 401", "error code 403", "PERMISSION_DENIED", "UNAUTHENTICATED")


def store_folder() -> Path:
    """Return the folder of the tracking store: the repository, which DVC names also in its temporary copies."""
    return Path(os.environ.get("DVC_ROOT", "")).resolve()


def alone() -> AbstractContextManager[object]:
    """Return a lock that only one process of this repository holds at a time.

    Workers of DVC's queue start together, and must not make the same thing twice. A process that cannot write here
    makes nothing.
    """
    root = store_folder()
    return FileLock(root / "mlflow.db.lock", is_singleton=True) if os.access(root, os.W_OK) else nullcontext()


def connect() -> str:
    """Point mlflow at the store, corrected if it was moved and made if it is missing; return the experiment's id.

    Raises:
        InputError: The server does not answer, or refuses this user; or MLFLOW_TRACKING_URI names no store.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it reports every step that succeeds
    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)  # it repeats that the server does not answer
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    with alone(), patience(ANSWER_SECONDS):
        if named := os.environ.get("MLFLOW_TRACKING_URI"):
            mlflow.set_tracking_uri(named)
        else:
            root = store_folder()
            if not (root / DATABASE).exists():
                _make_database(root / DATABASE)
            mlflow.set_tracking_uri(f"sqlite:///{root / DATABASE}")
            if (known := mlflow.get_experiment_by_name(experiment)) is None:
                mlflow.create_experiment(experiment, artifact_location=(root / ARTIFACTS).as_uri())
            else:
                relocate(root, known.artifact_location)
        try:
            with explaining():
                return mlflow.set_experiment(experiment).experiment_id
        except InputError:
            raise
        except Exception as error:  # whatever the libraries of databases raise
            if not named or (is_server() and isinstance(error, MlflowException)):
                raise
            raise InputError(
                f"MLFLOW_TRACKING_URI names {address()}, which cannot be used ({said(error)}): expected"
                " http://HOST:PORT of `mlflow server`, or a database such as sqlite:///FILE"
            ) from None


def is_server() -> bool:
    """Return whether the store is a server, which may be out of reach."""
    return mlflow.get_tracking_uri().startswith(("http://", "https://"))


def address() -> str:
    """Return the address of the store, without a password in it."""
    return without_password(mlflow.get_tracking_uri())


def without_password(text: str) -> str:
    """Return a text without the name, the password and the options that the address of the store may hold."""
    uri = mlflow.get_tracking_uri()
    before, _, options = uri.partition("?")
    rest = before.partition(":/")[2].removeprefix("/") or before
    secret, at, _ = ("", "", "") if rest.startswith("/") else rest.rpartition("@")  # after slashes comes a file
    for hidden in (secret + at, f"?{options}" if options else ""):
        text = text.replace(hidden, "") if hidden else text
    return text


def said(error: BaseException) -> str:
    """Return the first line of an error, shortened, without a password."""
    return without_password(first_line(error))[:MAX_CAUSE]


def reason_of(error: BaseException) -> str:
    """Say in plain words why a request to the store failed, as a part of a sentence."""
    inner = error
    while (below := inner.__cause__ or inner.__context__ or getattr(inner, "reason", None)) is not None:
        if not isinstance(below, BaseException):
            break
        inner = below
        if isinstance(inner, OSError) and inner.errno:
            return without_password(describe_reason(inner))
    return said(inner)


@contextmanager
def explaining() -> Iterator[None]:
    """Turn the failure of a request to a server into a sentence for the user.

    What a store of another kind raises stays as it is, and so does a server's answer that it was asked in vain.

    Raises:
        InputError: The server does not answer, or refuses this user.
    """
    try:
        yield
    except MlflowException as error:
        if not is_server() or is_answer(error):
            raise
        if any(refusal in str(error) for refusal in REFUSALS):
            raise InputError(
                f"{address()}: MLflow refuses this user ({said(error)}): set"
                " MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, and see the"
                " server's --allowed-hosts"
            ) from None
        raise InputError(
            f"{address()}: MLflow does not answer ({reason_of(error)}): MLFLOW_TRACKING_URI names this address; start"
            " `mlflow server` there, correct the address, or unset it to use the store in the repository"
        ) from None


def is_answer(error: BaseException) -> bool:
    """Return whether an error is the server's own answer to what it was asked, which another attempt cannot change."""
    return isinstance(error, RestException) and error.error_code in ANSWERS


@contextmanager
def patience(seconds: int | None = None) -> Iterator[None]:
    """Let no request to a server be repeated, and wait for its answer so long at most, in seconds.

    MLflow by itself tries for minutes. What the environment says about it already counts more.
    """
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    if seconds is not None:
        limits["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(seconds)
    missing = {name: value for name, value in limits.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


def has_run(run_id: str) -> bool:
    """Return whether the store holds a run: a checkpoint may be from another machine, or the store may be new.

    Raises:
        InputError: The store does not say so: the server does not answer or refuses this user, or the database is busy
            or damaged. A training must not be taken for one that is gone.
    """
    connect()
    try:
        with patience(ANSWER_SECONDS), explaining():
            return mlflow.get_run(run_id).info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code in ANSWERS:
            return False
        raise InputError(f"{address()}: MLflow cannot say whether it has run {run_id} ({said(error)})") from None


def need_store(purpose: str) -> None:
    """Raise InputError where there is no store to search: connecting would make an empty one."""
    store = store_folder() / DATABASE
    if not os.environ.get("MLFLOW_TRACKING_URI") and not store.exists():
        raise InputError(
            f"{purpose}: there is no MLflow store {store}: run from the repository, or set MLFLOW_TRACKING_URI"
        )


def _make_database(path: Path) -> None:
    """Make MLflow's database, whole or not at all.

    MLflow makes the tables in some dozen steps, and cannot go on where a killed process left off.
    """
    with replacing(path) as temporary:
        MlflowClient(f"sqlite:///{temporary}").search_experiments()
