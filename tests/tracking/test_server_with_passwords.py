"""Training and labelling with a tracking server that asks for a user and a password."""

from pathlib import Path

import pytest
from made_data import write_feature_dataset, write_params
from made_trackers import serving_tracker
from made_training import open_training_data

from pipeline.cli.main import main
from pipeline.config.params import load_params
from pipeline.training.labeller import train

PASSWORD = "secret of a test"


@pytest.mark.slow
def test_a_server_with_passwords_is_used_by_those_who_know_one(workspace, empty_store, monkeypatch, capsys):
    write_feature_dataset(workspace / "dataset", num_videos=10)
    write_params(workspace, training__epochs=1, tracking__register_labeller="tiny")
    folder = workspace.with_name("server")
    with serving_tracker(folder, str(folder / "artifacts"), store=empty_store, admin_password=PASSWORD) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        train(load_params(), open_training_data(), Path("model"), name="labeller")
        label = ["label", "dataset/features", "--model", "models:/tiny@champion", "--out"]
        assert main([*label, "labels", "--track"]) == 0
        shown = capsys.readouterr()
        assert "tiny: registered as version 1, which is now the champion" in shown.out
        for name, value in {"MLFLOW_TRACKING_PASSWORD": "of another", "MLFLOW_TRACKING_USERNAME": ""}.items():
            monkeypatch.setenv(name, value)
            assert main([*label, "others"]) == 2
            refused = capsys.readouterr()
            assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in refused.err, refused.err
            shown = type(shown)(shown.out + refused.out, shown.err + refused.err)
        assert not Path("others").exists()
    assert PASSWORD not in shown.out + shown.err
    written = [path for path in workspace.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if PASSWORD.encode() in path.read_bytes()]
