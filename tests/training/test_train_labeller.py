"""Training into a checkpoint and an MLflow run, on ready features: learning, logging and resuming."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from made_data import Killed, kill_in, write_feature_dataset, write_params
from made_training import client, curve, open_training_data, read_history, runs

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.segment_model import fit_segment_model
from pipeline.annotations.segments import median_segment_frames
from pipeline.checkpoints.labeller import load_checkpoint
from pipeline.config.params import load_params
from pipeline.datasets.features import SUFFIX, write_features
from pipeline.datasets.manifest import Manifest, Source
from pipeline.labelling.model import load_model
from pipeline.labelling.video import label_video
from pipeline.postprocessing.temperature import fit_temperature
from pipeline.tracking import store
from pipeline.tracking.models import fetch_checkpoint
from pipeline.tracking.searches import known_searches
from pipeline.training import labeller as training
from pipeline.training import labeller_learner, loop
from pipeline.training import runs as training_runs
from pipeline.training.labeller import train
from pipeline.training.labeller_data import TrainingData
from pipeline.training.tuning import Split

TUNED = (
    "temperature", "min_segment_frames", "f1_at_50_before", "f1_at_50_after", "calibration_error_before",
    "calibration_error_after",
)  # fmt: skip
CPU = torch.device("cpu")


@pytest.fixture
def no_model(monkeypatch):
    """Log no model in MLflow, since logging takes more time than a short training."""
    monkeypatch.setattr(store, "log_model", lambda *args, **options: None)


@pytest.fixture
def features_workspace(workspace: Path) -> Path:
    write_feature_dataset(workspace / "dataset", num_videos=10)
    return workspace


def open_params(folder: Path, **changes):
    write_params(folder, **changes)
    return load_params()


def open_training_data_of(folder: Path) -> TrainingData:
    write_params(folder)
    return open_training_data()


def test_one_run_holds_parameters_metrics_data_and_model(features_workspace, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "train_labeller")
    monkeypatch.setenv("DVC_EXP_NAME", "brave-fox")
    write_params(features_workspace, labeller__bidirectional=True)
    training_data = open_training_data()
    train(load_params(), training_data, Path("model"), name="labeller")
    (run,) = runs()
    lineage = json.loads(Path("model/checkpoint.json").read_text())["lineage"]
    assert lineage["run_id"] == run.info.run_id
    assert run.info.run_name == "labeller-bigru-tiny"
    assert run.info.status == "FINISHED"
    tags = run.data.tags
    assert tags["dvc_stage"] == "train_labeller"
    assert tags["dvc_experiment"] == lineage["dvc_experiment"] == "brave-fox"
    assert tags["data_fingerprint"] == lineage["data_fingerprint"] == training_data.manifest.fingerprint()
    assert tags["git_commit"] == lineage["git_commit"]
    assert run.data.params["labeller.hidden_size"] == "8"
    assert run.data.params["dataset.pixels.color"] == "rgb"
    history = read_history(Path("model"))
    assert {"train_loss", "gradient_norm", "learning_rate", "val_loss", "val_frame_accuracy"} < history[0].keys()
    for name in history[0].keys() - {"epoch"}:
        assert curve(run.info.run_id, name) == [(int(row["epoch"]), float(row[name])) for row in history]
    datasets = {d.dataset.name: (d.tags[0].value, d.dataset.digest) for d in run.inputs.dataset_inputs}
    fingerprint = training_data.manifest.fingerprint()
    assert datasets == {f"tiny-{split}": (split, fingerprint) for split in ("train", "val", "test")}
    assert [file.path for file in client().list_artifacts(run.info.run_id)] == [
        "class_support.csv",
        "curves.png",
        "decode_report.csv",
        "gradients.png",
    ]
    (model,) = run.outputs.model_outputs
    assert client().get_logged_model(model.model_id).status == "READY"
    held = fetch_checkpoint(f"runs:/{run.info.run_id}/labeller")
    assert sorted(path.name for path in held.iterdir()) == ["checkpoint.json", "weights.safetensors"]


@pytest.mark.figures
@pytest.mark.usefixtures("no_model")
def test_gradients_are_logged_as_curves_a_picture_and_one_warning(features_workspace, capsys):
    changes = {"labeller__cell": "relu", "labeller__recurrent_init": "identity", "training__epochs": 5}
    write_params(features_workspace, **changes)
    train(load_params(), open_training_data(), Path("healthy"), name="labeller")
    assert "gradients" not in capsys.readouterr().out
    write_params(
        features_workspace, **changes | {"labeller__recurrent_init": "uniform", "training__window_frames": None}
    )
    train(load_params(), open_training_data(), Path("vanishing"), name="labeller")
    assert capsys.readouterr().out.count("gradients vanish") == 1
    vanishing, healthy = runs()
    assert {"class_support.csv", "curves.png", "decode_report.csv", "gradients.png"} == {
        file.path for file in client().list_artifacts(healthy.info.run_id)
    }
    factors = [[value for _, value in curve(run.info.run_id, "rnn/gradient_factor")] for run in (vanishing, healthy)]
    assert max(factors[0]) < 0.6 < 0.9 < min(factors[1])
    assert curve(healthy.info.run_id, "rnn/spectral_radius")[0][1] == pytest.approx(1, abs=0.3)
    for run, num_frames in ((vanishing, 40), (healthy, 16)):
        norms = client().get_metric_history(run.info.run_id, "gradient_by_frames_back/epoch_004")
        assert [point.step for point in norms] == list(range(num_frames))


@pytest.mark.usefixtures("no_model")
def test_without_a_recurrent_network_no_gradients_are_logged(features_workspace):
    write_params(features_workspace, labeller__cell="none", training__epochs=1)
    train(load_params(), open_training_data(), Path("model"), name="baseline")
    (run,) = runs()
    assert [file.path for file in client().list_artifacts(run.info.run_id)] == [
        "class_support.csv",
        "curves.png",
        "decode_report.csv",
    ]
    assert not any("rnn" in name or "gradient_by" in name for name in run.data.metrics)


@pytest.mark.usefixtures("no_model")
def test_the_gradient_diagnosis_does_not_change_the_training(features_workspace, monkeypatch):
    write_params(features_workspace)
    training_data = open_training_data()
    train(load_params(), training_data, Path("looked_at"), name="labeller")
    monkeypatch.setattr(training, "_diagnoser", lambda *_: None)
    train(load_params(), training_data, Path("not_looked_at"), name="labeller")
    printed = [{k: v for k, v in row.items() if not k.startswith("rnn/")} for row in read_history(Path("looked_at"))]
    assert printed == read_history(Path("not_looked_at"))
    weights = [Path(folder, "weights.safetensors").read_bytes() for folder in ("looked_at", "not_looked_at")]
    assert weights[0] == weights[1]


@pytest.mark.usefixtures("no_model")
def test_a_run_outside_dvc_has_no_dvc_tag(features_workspace):
    write_params(features_workspace, training__epochs=1)
    train(load_params(), open_training_data(), Path("model"), name="labeller")
    assert not any(name.startswith("dvc_") for name in runs()[0].data.tags)


LOAD = """
import sys
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
table = model.predict(pandas.DataFrame({"path": sys.argv[2:]}))
print(sys.modules["pipeline.pyfunc"].__file__)
print(table.to_csv(index=False))
"""


@pytest.mark.slow
def test_the_logged_model_labels_in_another_process_and_folder_with_its_own_code(features_workspace, tmp_path):
    write_params(features_workspace)
    training_data = open_training_data()
    train(load_params(), training_data, Path("model"), name="labeller")
    run_id = runs()[0].info.run_id
    paths = [str(Path(source.path).resolve()) for source in training_data.manifest.sources[:2]]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{features_workspace / 'mlflow.db'}"
    command = [sys.executable, "-c", LOAD, f"runs:/{run_id}/labeller", *paths]
    result = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=True)
    code, *lines = result.stdout.splitlines()
    assert Path(code).parts[-3:-1] == ("code", "pipeline"), "its own code, not the installed code"
    rows = list(csv.DictReader(lines))
    assert list(rows[0]) == ["path", "frame", "time_seconds", "label", "probability"]
    model = load_model("model", device="cpu")
    for path in paths:
        labels = label_video(Path(path), model).labels
        assert [row["label"] for row in rows if row["path"] == path] == [model.spec.classes[index] for index in labels]


KILLS = {
    "before the data set is logged": (store, "log_start", 0),
    "in the third epoch": (labeller_learner.Learner, "_step", 8),
    "before an epoch is reported": (store, "log_epoch", 1),
    "before the model is logged": (store, "log_model", 0),
    "after the model is logged": (loop.TrainingState, "finish", 0),
}


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    "where", [list(KILLS)[1], *(pytest.param(list(KILLS)[i], marks=pytest.mark.slow) for i in (0, 2))]
)
def test_a_killed_training_resumes_with_the_same_results(features_workspace, monkeypatch, where):
    check_killed(features_workspace, monkeypatch, where)


@pytest.mark.parametrize("where", [pytest.param(list(KILLS)[3], marks=pytest.mark.slow), list(KILLS)[4]])
def test_a_training_killed_while_logging_its_model_logs_one_model(features_workspace, monkeypatch, where):
    run = check_killed(features_workspace, monkeypatch, where)
    assert len(run.outputs.model_outputs) == 1


@pytest.mark.usefixtures("no_model")
def test_a_killed_training_in_consecutive_windows_resumes_with_the_same_results(features_workspace, monkeypatch):
    changes = {"training__windows": "consecutive", "training__window_frames": 9, "labeller__inputs": "both"}
    check_killed(features_workspace, monkeypatch, list(KILLS)[1], **changes)


def check_killed(folder: Path, monkeypatch, where: str, **changes):
    """Kill a training, resume it, and compare it with one that was not killed. Returns the run."""
    write_params(folder, training__patience=3, **changes)
    training_data = open_training_data()
    train(load_params(), training_data, Path("whole"), name="labeller")
    module, name, call = KILLS[where]
    with monkeypatch.context() as patch:
        kill_in(patch, module, name, call=call)
        with pytest.raises(Killed):
            train(load_params(), training_data, Path("killed"), name="labeller")
    (Path("killed") / ".weights.123.partial.safetensors").write_text("half of it")
    train(load_params(), training_data, Path("killed"), name="labeller")
    assert len(runs()) == 2
    assert read_history(Path("killed")) == read_history(Path("whole"))
    weights = [Path(folder, "weights.safetensors").read_bytes() for folder in ("whole", "killed")]
    assert weights[0] == weights[1]
    specs = [load_checkpoint(Path(folder), device=CPU).spec for folder in ("whole", "killed")]
    ids = [spec.lineage.run_id for spec in specs]
    for metric in read_history(Path("whole"))[0].keys() - {"epoch"}:
        assert curve(ids[0], metric) == curve(ids[1], metric)
    resumed = client().get_run(ids[1])
    assert resumed.info.status == "FINISHED"
    assert len(resumed.inputs.dataset_inputs) == 3
    assert not list(Path("killed").glob(".*"))
    return resumed


@pytest.mark.usefixtures("no_model")
def test_a_killed_training_in_a_search_resumes_as_the_same_child_run(features_workspace, monkeypatch):
    write_params(features_workspace, search="cells")
    training_data = open_training_data()
    with monkeypatch.context() as patch:
        kill_in(patch, labeller_learner.Learner, "_step", call=8)
        with pytest.raises(Killed):
            train(load_params(), training_data, Path("model"), name="labeller")
    train(load_params(), training_data, Path("model"), name="labeller")
    search = known_searches()["cells"]
    (run,) = [run for run in runs() if run.info.run_id != search]
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == search
    assert run.data.tags["model"] == "labeller"
    write_params(features_workspace)
    train(load_params(), training_data, Path("model"), name="labeller")
    assert len(runs()) == 2, "the search is not a setting of the model: it is not trained again for it"


@pytest.mark.usefixtures("no_model")
def test_a_finished_training_is_not_repeated(features_workspace, monkeypatch, capsys):
    write_params(features_workspace, training__epochs=1)
    training_data = open_training_data()
    train(load_params(), training_data, Path("model"), name="labeller")
    train(load_params(), training_data, Path("model"), name="labeller")
    assert len(runs()) == 1
    assert "already trained" in capsys.readouterr().out
    labels = Path("dataset/labels/clip0.csv")
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[:-1]))
    training_data = open_training_data()
    train(load_params(), training_data, Path("model"), name="labeller")
    assert len(runs()) == 2, "one segment fewer is labelled"
    monkeypatch.setattr(training_runs, "_code_fingerprint", lambda training_module: "changed")
    train(load_params(), training_data, Path("model"), name="labeller")
    assert len(runs()) == 3
    write_params(features_workspace, training__epochs=1, seed=7)
    train(load_params(), training_data, Path("model"), name="labeller")
    assert len(runs()) == 4


@pytest.mark.usefixtures("no_model")
def test_a_new_run_is_created_if_the_store_lost_the_run(features_workspace, empty_store):
    write_params(features_workspace, training__epochs=1)
    training_data = open_training_data()
    train(load_params(), training_data, Path("model"), name="labeller")
    client().delete_run(runs()[0].info.run_id)
    train(load_params(), training_data, Path("model"), name="labeller")
    (run,) = runs()
    assert json.loads(Path("model/checkpoint.json").read_text())["lineage"]["run_id"] == run.info.run_id


def accuracy(cell: str, folder: Path) -> float:
    write_params(
        folder,
        labeller__cell=cell,
        labeller__hidden_size=32,
        labeller__dropout=0.0,
        training__epochs=20,
        training__learning_rate=0.02,
        training__window_frames=None,
    )
    train(load_params(), open_training_data(), Path(cell), name=cell)
    return max(float(row["val_frame_accuracy"]) for row in read_history(Path(cell)))


@pytest.mark.usefixtures("no_model")
def test_a_recurrent_network_learns_a_task_that_needs_memory(workspace):
    """Only the first frame of a segment shows its class: without memory, at best 1/8 + 7/8 * 1/3 are right."""
    write_feature_dataset(workspace / "dataset", num_videos=40)
    assert accuracy("gru", workspace) > 90
    assert accuracy("none", workspace) < 60


@pytest.mark.usefixtures("no_model")
def test_features_of_unlabelled_frames_change_no_weight_of_a_network_without_memory(features_workspace):
    """Frames are independent, so that an unlabelled frame can reach the loss or the scores only by its own features."""
    write_params(features_workspace, labeller__cell="none", labeller__dropout=0.0)
    labels = Path("dataset/labels")
    for path in labels.iterdir():
        rows = path.read_text().splitlines()
        path.write_text("\n".join([rows[0], *rows[2:]]) + "\n")  # the first segment becomes unlabelled
    train(load_params(), open_training_data(), Path("as_it_is"), name="labeller")

    def scramble(stem: str, features: np.ndarray) -> np.ndarray:
        features = features.copy()
        features[:8] = 50
        return features

    training_data = open_training_data(change=scramble)
    assert all(
        (training_data.labels[source.stem][:8] == IGNORE_INDEX).all() for source in training_data.manifest.sources
    )
    train(load_params(), training_data, Path("scrambled"), name="labeller")
    assert read_history(Path("as_it_is")) == read_history(Path("scrambled"))
    assert Path("as_it_is/weights.safetensors").read_bytes() == Path("scrambled/weights.safetensors").read_bytes()


@pytest.mark.usefixtures("no_model")
def test_without_a_validation_split_training_runs_all_epochs(features_workspace):
    write_params(features_workspace, dataset__val_fraction=0.0, training__patience=1)
    train(load_params(), open_training_data(), Path("model"), name="labeller")
    history = read_history(Path("model"))
    assert len(history) == 4, "patience needs a validation split"
    assert not any(name.startswith("val_") for name in history[0])
    assert client().get_metric_history(runs()[0].info.run_id, "best_epoch")[0].value == 3


@pytest.mark.usefixtures("no_model")
def test_many_to_one_learns_the_class_of_a_video(workspace, monkeypatch):
    """One class per video: some are given by labels.csv, others by the few frames that have a label."""
    generator = np.random.default_rng(0)
    for folder in ("features", "labels"):
        (workspace / "dataset" / folder).mkdir(parents=True)
    (workspace / "dataset" / "classes.txt").write_text("idle\nleft\n")
    rows = [f"clip{index},{'left' if index % 2 else 'idle'}" for index in range(10)]
    (workspace / "dataset" / "labels.csv").write_text("\n".join(["stem,class", *rows]) + "\n")
    for index in range(20):
        features = generator.normal(size=(int(generator.integers(10, 30)), 4)).astype(np.float32)
        features[:, 0] += 3 * (index % 2)
        np.save(workspace / "dataset" / "features" / f"clip{index}.npy", features)
        if index >= 10:
            segment = f"3,6,{'left' if index % 2 else 'idle'}"
            (workspace / "dataset" / "labels" / f"clip{index}.csv").write_text(f"start,stop,class\n{segment}\n")
    write_params(workspace, labeller__head="many_to_one", training__epochs=15, training__learning_rate=0.02)
    monkeypatch.delattr(Split, "best_segments")  # which nothing needs, although the decoding is auto
    assert load_params().labeller.decoding == "auto"
    training_data = open_training_data()
    train(load_params(), training_data, Path("model"), name="labeller")
    assert max(float(row["val_frame_accuracy"]) for row in read_history(Path("model"))) == 100
    model = load_checkpoint(Path("model"), device=CPU)
    probabilities = model.labeller.predict(training_data.feature_chunks(training_data.manifest.sources[0]))
    assert (probabilities == probabilities[0]).all(), "one class per video"


@pytest.mark.usefixtures("no_model")
def test_automatic_lengths_depend_on_training_segments_and_validation_split(features_workspace):
    """Whole videos with standardized features, which need a bidirectional network, from training to labels."""
    write_params(
        features_workspace,
        labeller__bidirectional=True,
        labeller__normalize="video",
        labeller__min_segment_frames="auto",
        labeller__pool_frames="auto",
        training__window_frames=None,
        training__feature_noise=0.1,
        training__feature_dropout=0.1,
        training__learning_rate=0.02,
        training__epochs=30,
    )
    training_data = open_training_data()
    train(load_params(), training_data, Path("model"), name="labeller")
    spec = load_checkpoint(Path("model"), device=CPU).spec
    labels = [training_data.labels[source.stem] for source in training_data.manifest.of_split("train")]
    median = median_segment_frames(labels)
    assert spec.labeller.pool_frames == round(0.2 * median) > 1
    tuned = {name: client().get_metric_history(runs()[0].info.run_id, f"tuning/{name}")[0].value for name in TUNED}
    assert tuned["temperature"] == spec.temperature
    assert tuned["min_segment_frames"] == spec.min_segment_frames
    assert tuned["f1_at_50_after"] >= tuned["f1_at_50_before"]
    assert spec.confidence not in (None, (1, 1, 0))
    assert max(float(row["val_frame_accuracy"]) for row in read_history(Path("model"))) > 60, "of three classes"
    assert read_history(Path("model"))[0]["rnn/gradient_factor"]


@pytest.mark.usefixtures("no_model")
def test_without_validation_the_shortest_segment_is_a_share_of_the_median_segment(features_workspace):
    write_params(features_workspace, labeller__min_segment_frames="auto", dataset__val_fraction=0.0)
    training_data = open_training_data()
    train(load_params(), training_data, Path("model"), name="labeller")
    spec = load_checkpoint(Path("model"), device=CPU).spec
    labels = [training_data.labels[source.stem] for source in training_data.manifest.of_split("train")]
    assert spec.min_segment_frames == round(0.4 * median_segment_frames(labels)) > 1
    assert (spec.temperature, spec.confidence) == (1, None)


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize("val_fraction", [0.0, 0.2])
@pytest.mark.parametrize("decoding", ["viterbi", "viterbi_by_kind"])
def test_segments_of_the_training_labels_are_in_the_checkpoint(features_workspace, val_fraction, decoding):
    write_params(features_workspace, labeller__decoding=decoding, dataset__val_fraction=val_fraction)
    training_data = open_training_data()
    train(load_params(), training_data, Path("model"), name="labeller")
    spec = load_checkpoint(Path("model"), device=CPU).spec
    labels = [training_data.labels[source.stem] for source in training_data.manifest.of_split("train")]
    expected = fit_segment_model(labels, spec.label_space, by_kind=decoding == "viterbi_by_kind")
    assert (expected.kinds is None) == (decoding == "viterbi")
    assert spec.segments == expected.model_copy(update={"weight": spec.segments.weight})
    weights = client().get_metric_history(runs()[0].info.run_id, "tuning/segment_weight")
    assert [weight.value for weight in weights] == [spec.segments.weight] * bool(val_fraction)


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize("val_fraction", [0.0, 0.2])
def test_a_checkpoint_knows_its_training_frames(features_workspace, monkeypatch, val_fraction):
    monkeypatch.setattr("pipeline.training.novelty.MAX_SAMPLE", 500)
    write_params(features_workspace, dataset__val_fraction=val_fraction, training__epochs=2)
    training_data = open_training_data()
    train(load_params(), training_data, Path("model"), name="labeller")
    checkpoint = load_checkpoint(Path("model"), device=CPU)
    sources = training_data.manifest.of_split("val" if val_fraction else "train")
    features = torch.cat([chunk for source in sources for chunk in training_data.feature_chunks(source)])
    share = (checkpoint.novelty(features) <= checkpoint.spec.novelty.limit).float().mean()
    assert share == pytest.approx(0.99, abs=0.01)
    assert (checkpoint.novelty(features + 10) > checkpoint.spec.novelty.limit).all()
    (limit,) = client().get_metric_history(runs()[0].info.run_id, "tuning/novelty_limit")
    assert limit.value == checkpoint.spec.novelty.limit


@pytest.mark.usefixtures("no_model")
def test_automatic_decoding_is_the_better_one_on_validation(features_workspace, monkeypatch):
    """What is better depends on the data, so each answer is given by changing the scores of decoded segments."""
    write_params(features_workspace, labeller__decoding="auto", training__epochs=2)
    training_data = open_training_data()
    for plain, by_kind, decoding in ((100.0, 100.0, "viterbi"), (99.0, 100.0, "viterbi_by_kind"), (0.0, 0.0, "merge")):

        def scores(split, segments, temperature, *, plain=plain, by_kind=by_kind):
            return split.scores(1) | {"f1_at_50": by_kind if segments.kinds else plain}

        monkeypatch.setattr(Split, "segment_scores", scores)
        train(load_params(), training_data, Path(decoding), name="labeller")
        spec = load_checkpoint(Path(decoding), device=CPU).spec
        assert spec.labeller.decoding == ("merge" if decoding == "merge" else "viterbi")
        assert (spec.segments is None) == (decoding == "merge")
        assert bool(spec.segments and spec.segments.kinds) == (decoding == "viterbi_by_kind")


@pytest.mark.usefixtures("no_model")
def test_automatic_decoding_merges_without_validation(features_workspace):
    write_params(features_workspace, labeller__decoding="auto", dataset__val_fraction=0.0, training__epochs=2)
    train(load_params(), open_training_data(), Path("model"), name="labeller")
    assert load_checkpoint(Path("model"), device=CPU).spec.labeller.decoding == "merge"


@pytest.mark.usefixtures("no_model")
def test_the_temperature_is_that_of_the_best_epoch_on_validation(features_workspace):
    write_params(features_workspace, training__epochs=6, training__learning_rate=0.05, training__monitor="loss")
    training_data = open_training_data()
    train(load_params(), training_data, Path("model"), name="labeller")
    model = load_checkpoint(Path("model"), device=CPU)
    losses = [float(row["val_loss"]) for row in read_history(Path("model"))]
    sources = training_data.manifest.of_split("val")
    labels = np.concatenate([training_data.labels[source.stem] for source in sources])
    probabilities = np.concatenate([model.labeller.predict(training_data.feature_chunks(source)) for source in sources])
    assert model.spec.temperature == pytest.approx(
        fit_temperature(probabilities, labels, model.spec.label_space), rel=1e-6
    )
    assert model.spec.temperature != 1
    assert -np.log(probabilities[np.arange(len(labels)), labels]).mean() == pytest.approx(min(losses), rel=1e-5)


def test_balanced_class_weights_come_from_the_training_split(features_workspace):
    training_data = open_training_data_of(features_workspace)
    assert training._class_weights(open_params(features_workspace), training_data, CPU) is None
    weights = training._class_weights(
        open_params(features_workspace, training__class_weights="balanced"), training_data, CPU
    )
    labels = np.concatenate([training_data.labels[source.stem] for source in training_data.manifest.of_split("train")])
    shares = weights.numpy() * np.bincount(labels, minlength=3)
    assert shares == pytest.approx([len(labels) / 3] * 3)
    half_way = training._class_weights(
        open_params(features_workspace, training__class_weights="square_root"), training_data, CPU
    )
    np.testing.assert_allclose(half_way.numpy() ** 2, weights.numpy(), rtol=1e-6)


@pytest.mark.parametrize(("window_frames", "expected"), [(None, [1.5, 0.75]), (10, [1.25, 5 / 6]), (5, [1.25, 5 / 6])])
def test_balanced_class_weights_of_many_to_one_count_windows(tmp_path, window_frames, expected):
    """One video of 20 frames and two of 10 and 20: one window against two if whole, 2 against 3 if cut into 10 or 5."""
    write_params(
        tmp_path,
        labeller__head="many_to_one",
        training__class_weights="balanced",
        training__window_frames=window_frames,
    )
    lengths = {"a": 20, "b": 10, "c": 20}
    sources = tuple(Source(stem, f"{stem}.npy", stem, num, split="train") for stem, num in lengths.items())
    labels = {stem: np.full(num, int(stem != "a")) for stem, num in lengths.items()}
    training_data = TrainingData(
        Manifest("tiny", "features", LabelSpace(("x", "y")), sources), labels, tmp_path, None, False, ()
    )
    weights = training._class_weights(load_params(tmp_path / "params.yaml"), training_data, CPU)
    assert weights.tolist() == pytest.approx(expected)


def test_a_validation_split_with_only_background_is_scored(tmp_path):
    """There is no segment to find and none is found, which must not stop the training."""

    class Silent:
        def predict(self, chunks):
            return np.tile([0.25, 0.75], (8, 1))

    write_features(tmp_path / f"a{SUFFIX}", np.zeros((8, 2), np.float32), np.zeros(8), fingerprint="x")
    source = Source("a", "a.npy", "a", 8, width=2, split="val")
    manifest = Manifest("tiny", "features", LabelSpace(("idle", "left"), "left"), (source,))
    training_data = TrainingData(manifest, {"a": np.full(8, 1)}, tmp_path, None, False, ())
    scores = training.validate(Silent(), training_data)
    assert scores == {"loss": pytest.approx(-np.log(0.75)), "frame_accuracy": 100, "edit": 100, "f1_at_50": 100}
