"""Fixtures for all tests: the folder of real data, small data sets and small models."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import hypothesis
import pytest
import torch
from made_data import write_feature_dataset
from made_exports import keep_exports_in, share_exports

# How long an example takes says more of what else the machine does than of the code.
hypothesis.settings.register_profile("without_deadline", deadline=None)
hypothesis.settings.load_profile("without_deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def exports(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Share exported encoders with the other processes of this run."""
    base = tmp_path_factory.getbasetemp()
    keep_exports_in((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exports")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets: FRAMESCRIBE_DATA, or beside the repository. Without it, the test is skipped."""
    path = Path(os.environ.get("FRAMESCRIBE_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"real data is not here ({path}); FRAMESCRIBE_DATA may name it")
    return path


@pytest.fixture
def feature_dataset(tmp_path: Path) -> Path:
    return write_feature_dataset(tmp_path / "dataset")


@pytest.fixture
def stop() -> Iterator[Event]:
    """An event that ends waiting for a stream or a growing file. It is set after a time limit."""
    from made_streams import stop_in_time  # imports decoders, which few tests need

    with stop_in_time() as event:
        yield event


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store without runs: making one takes seconds, a copy of it takes no time."""
    mlflow = pytest.importorskip("mlflow")
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.set_tracking_uri(f"sqlite:///{path}")
    mlflow.search_experiments()
    mlflow.set_tracking_uri("")
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # mlflow sets it for the processes that it starts
    return path


@pytest.fixture
def workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path, request: pytest.FixtureRequest
) -> Path:
    """An empty current folder in which stages can run, with its own MLflow store, without DVC, and with one thread.

    Trainings log blank figures, except for tests that are marked `figures`: drawing takes a third of a small training.
    """
    from matplotlib.figure import Figure

    from pipeline.tracking import store  # mlflow, which few tests need

    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    share_exports(folder / "models" / "labeller")
    monkeypatch.chdir(folder)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME"):
        monkeypatch.setenv(name, "")  # so that changes by a test (mlflow sets its own) are undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the processes that a test starts
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    if not request.node.get_closest_marker("figures"):
        log = store.log_figure
        monkeypatch.setattr(store, "log_figure", lambda figure, name: log(Figure(figsize=(0.1, 0.1)), name))
    return folder


@pytest.fixture(scope="session")
def video_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint that labels videos. Do not write to it."""
    from made_models import save_video_model  # torch, which few tests need

    return save_video_model(tmp_path_factory.mktemp("video_model"))


@pytest.fixture(scope="session")
def spread_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, whose labels change from frame to frame. Do not write to it."""
    from made_models import save_video_model  # torch, which few tests need

    return save_video_model(tmp_path_factory.mktemp("spread_model") / "labeller", spread=True)


@pytest.fixture(scope="session")
def overlapping_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint that labels videos, whose classes overlap. Do not write to it."""
    from made_models import save_overlapping_model  # torch, which few tests need

    return save_overlapping_model(tmp_path_factory.mktemp("overlapping_model"))


@pytest.fixture(scope="session")
def feature_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint that labels ready features of 6 numbers per frame. Do not write to it."""
    from made_models import save_feature_model  # torch, which few tests need

    return save_feature_model(tmp_path_factory.mktemp("feature_model"))


@pytest.fixture(scope="session")
def caption_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint that captions images. Do not write to it."""
    from made_models import save_caption_model  # torch, which few tests need

    return save_caption_model(tmp_path_factory.mktemp("caption_model"))
