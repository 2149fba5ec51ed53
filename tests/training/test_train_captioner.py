"""Training a captioner into a checkpoint and an MLflow run, on small pictures of coloured squares."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_data import Killed, kill_in, write_caption_dataset, write_params
from made_training import client, curve, read_history, runs

from pipeline.captioning.describe import caption_images, load_caption_model, plan_search
from pipeline.checkpoints.captioner import load_captioner
from pipeline.checkpoints.encoder import load_encoder
from pipeline.config.params import load_params
from pipeline.datasets.caption_manifest import read_caption_manifest
from pipeline.datasets.regions import Regions
from pipeline.stages import encode_images, finetune_image_encoder, prepare_captions
from pipeline.stages.paths import CAPTIONS, IMAGE_ENCODER, REGIONS
from pipeline.text.vocabulary import END, PADDING, SPECIAL_WORDS, START, UNKNOWN, Vocabulary, tokenize
from pipeline.tracking import store as tracking_store
from pipeline.tracking.models import fetch_checkpoint
from pipeline.training import captioner as training
from pipeline.training import captioner_learner, loop
from pipeline.training import runs as training_runs
from pipeline.training.captioner import CaptionTrainingData, encode_captions, train_captioner

CPU = torch.device("cpu")
BOTH_WAYS = {
    "captioner__training__epochs": 4,
    "captioner__training__self_critical_epochs": 2,
    "captioner__training__scheduled_sampling": 0.5,
}


@pytest.fixture
def no_model(monkeypatch):
    """Log no model in MLflow, since logging takes more time than a short training."""
    monkeypatch.setattr(tracking_store, "log_model", lambda *args, **options: None)


@pytest.fixture
def training_data(workspace: Path) -> CaptionTrainingData:
    write_caption_dataset(workspace / "pictures")
    write_params(workspace)
    return open_training_data()


def open_training_data() -> CaptionTrainingData:
    """Prepare ./pictures as params.yaml says."""
    for stage in (prepare_captions, finetune_image_encoder, encode_images):
        stage.main()
    return CaptionTrainingData.open(read_caption_manifest(CAPTIONS), Regions(REGIONS), load_encoder(IMAGE_ENCODER))


def open_params(**changes):
    write_params(Path(), **changes)
    return load_params()


def vocabulary_of(training_data: CaptionTrainingData) -> Vocabulary:
    words = (words for index in training_data.of_split("train") for words in training_data.words[index])
    return Vocabulary.from_captions(words, min_count=1)


@pytest.fixture
def logged_run(training_data, no_model, monkeypatch):
    """The run of a training, whose model is in ./model."""
    monkeypatch.setenv("DVC_STAGE", "train_captioner")
    train_captioner(open_params(**BOTH_WAYS), training_data, Path("model"), name="captioner")
    (run,) = runs()
    return run


def test_the_model_names_its_run_and_the_run_names_its_model(training_data, logged_run):
    run = logged_run
    model = load_captioner(Path("model"), device=CPU)
    lineage, fingerprint = model.spec.lineage, training_data.manifest.fingerprint()
    assert lineage.run_id == run.info.run_id
    assert run.info.run_name == "captioner-gru-squares"
    assert run.info.status == "FINISHED"
    assert run.data.tags["dvc_stage"] == "train_captioner"
    assert run.data.tags["data_fingerprint"] == lineage.data_fingerprint == fingerprint
    assert run.data.params["captioner.hidden_size"] == "8"
    assert run.data.params["captions.encoder.name"] == "small_cnn"
    assert (
        run.data.params["encoder_fingerprint"]
        == training_data.frame_encoder.fingerprint()
        == model.frame_encoder.fingerprint()
    )
    assert model.vocabulary == vocabulary_of(training_data)
    assert model.spec.captioner == load_params().captioner


@pytest.mark.figures
def test_the_run_has_the_data_sets_and_the_curves_of_history_csv(training_data, logged_run):
    run, history = logged_run, read_history(Path("model"))
    assert [row["epoch"] for row in history] == ["0", "1", "2", "3"]
    assert [bool(row["train_loss"]) for row in history] == [True, True, False, False]
    assert [bool(row["train_cider"]) for row in history] == [False, False, True, True]
    assert {"gradient_norm", "learning_rate", "val_loss", "val_bleu_4", "val_cider"} < history[0].keys()
    for name in history[0].keys() - {"epoch"}:
        printed = [(int(row["epoch"]), float(row[name])) for row in history if row[name]]
        assert curve(run.info.run_id, name) == printed
    scores = [float(row["val_cider"]) for row in history]
    losses = [float(row["val_loss"]) for row in history]
    best = max(range(4), key=lambda epoch: (scores[epoch], -losses[epoch], -epoch))
    assert client().get_metric_history(run.info.run_id, "best_epoch")[0].value == best

    fingerprint = training_data.manifest.fingerprint()
    datasets = {d.dataset.name: (d.tags[0].value, d.dataset.digest) for d in run.inputs.dataset_inputs}
    assert datasets == {f"squares-{split}": (split, fingerprint) for split in ("train", "val", "test")}
    assert [file.path for file in client().list_artifacts(run.info.run_id)] == ["curves.png"]


@pytest.mark.usefixtures("no_model")
def test_the_captioner_learns_words(training_data):
    changes = {"epochs": 20, "learning_rate": 0.02, "schedule": "constant", "label_smoothing": 0.0, "monitor": "loss"}
    params = open_params(
        captioner__hidden_size=32,
        captioner__embedding_size=16,
        captioner__dropout=0.0,
        **{f"captioner__training__{name}": value for name, value in changes.items()},
    )
    train_captioner(params, training_data, Path("model"), name="captioner")
    history = read_history(Path("model"))
    assert float(history[0]["train_loss"]) > 2
    assert float(history[-1]["train_loss"]) < 1
    model = load_caption_model("model", device="cpu")
    scores = training.validate(params, training_data, model.vocabulary, model.captioner)
    best = min(history, key=lambda row: float(row["val_loss"]))
    assert scores == {name: pytest.approx(float(best[f"val_{name}"]), rel=1e-5) for name in scores}
    image = Path(training_data.manifest.images[0].path)
    ((_, (caption, *_)),) = caption_images([image], model, plan_search(model), on_failure=pytest.fail)
    assert {"square", "the", "on"} <= set(tokenize(caption.text))


LOAD = """
import sys
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
table = model.predict(pandas.DataFrame({"path": sys.argv[2:]}))
print(sys.modules["pipeline.pyfunc"].__file__)
print(table.to_csv(index=False))
"""


@pytest.mark.slow
def test_the_logged_model_captions_in_another_process_and_folder_with_its_own_code(workspace, training_data, tmp_path):
    train_captioner(load_params(), training_data, Path("model"), name="captioner")
    (run,) = runs()
    (logged,) = run.outputs.model_outputs
    assert client().get_logged_model(logged.model_id).status == "READY"
    uri = f"runs:/{run.info.run_id}/captioner"
    held = fetch_checkpoint(uri)
    assert sorted(path.name for path in held.iterdir()) == ["checkpoint.json", "weights.safetensors"]
    paths = [image.path for image in training_data.manifest.images[:3]]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{workspace / 'mlflow.db'}"
    command = [sys.executable, "-c", LOAD, uri, *paths]
    result = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=True)
    code, *lines = result.stdout.splitlines()
    assert Path(code).parts[-3:-1] == ("code", "pipeline"), "its own code, not the installed code"
    rows = list(csv.DictReader(lines))
    assert [row["path"] for row in rows] == paths
    model = load_caption_model(uri, device="cpu")
    described = caption_images(map(Path, paths), model, plan_search(model), on_failure=pytest.fail)
    for row, (_, (best, *_)) in zip(rows, described, strict=True):
        assert row["caption"] == best.text
        assert float(row["probability"]) == pytest.approx(best.probability, rel=1e-3)


KILLS = {
    "before the data set is logged": (tracking_store, "log_start", 0),
    "in the second epoch": (captioner_learner, "cross_entropy", 3),
    "in the third epoch, which is self-critical": (captioner_learner.CaptionLearner, "_self_critical_loss", 1),
    "before an epoch is reported": (tracking_store, "log_epoch", 1),
    "before the best model is saved": (training, "save_captioner", 0),
    "after the model is logged": (loop.TrainingState, "finish", 0),
}
IN_SELF_CRITICAL = list(KILLS)[2]


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    "where", [pytest.param(w, marks=() if w == IN_SELF_CRITICAL else pytest.mark.slow) for w in KILLS]
)
def test_a_killed_training_resumes_with_the_same_results(training_data, monkeypatch, where):
    params = open_params(**BOTH_WAYS)
    train_captioner(params, training_data, Path("whole"), name="captioner")
    module, name, call = KILLS[where]
    with monkeypatch.context() as patch:
        kill_in(patch, module, name, call=call)
        with pytest.raises(Killed):
            train_captioner(params, training_data, Path("killed"), name="captioner")
    (Path("killed") / ".weights.123.partial.safetensors").write_text("half of it")
    torch.manual_seed(99)  # the random state of the new process must not matter
    train_captioner(params, training_data, Path("killed"), name="captioner")
    assert len(runs()) == 2
    assert read_history(Path("killed")) == read_history(Path("whole"))
    weights = [Path(folder, "weights.safetensors").read_bytes() for folder in ("whole", "killed")]
    assert weights[0] == weights[1]
    ids = [load_captioner(Path(folder), device=CPU).spec.lineage.run_id for folder in ("whole", "killed")]
    for metric in read_history(Path("whole"))[0].keys() - {"epoch"}:
        assert curve(ids[0], metric) == curve(ids[1], metric) != []
    resumed = client().get_run(ids[1])
    assert resumed.info.status == "FINISHED"
    assert len(resumed.inputs.dataset_inputs) == 3
    assert not list(Path("killed").glob(".*"))


@pytest.mark.usefixtures("no_model")
def test_a_finished_training_is_not_repeated(training_data, monkeypatch, capsys):
    params = open_params(captioner__training__epochs=1)
    train_captioner(params, training_data, Path("model"), name="captioner")
    before = {path.name: path.stat().st_mtime_ns for path in Path("model").iterdir()}
    capsys.readouterr()
    train_captioner(params, training_data, Path("model"), name="captioner")
    assert "already trained" in capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in Path("model").iterdir()} == before
    assert len(runs()) == 1
    monkeypatch.setattr(training_runs, "_code_fingerprint", lambda training_module: "changed")
    train_captioner(params, training_data, Path("model"), name="captioner")
    assert len(runs()) == 2
    other = open_params(captioner__training__epochs=1, captions__min_word_count=2)
    train_captioner(other, training_data, Path("model"), name="captioner")
    assert len(runs()) == 3
    client().delete_run(json.loads(Path("model/checkpoint.json").read_text())["lineage"]["run_id"])
    train_captioner(other, training_data, Path("model"), name="captioner")
    assert len(runs()) == 3, "a store that lost the run gets a new one"


@pytest.mark.usefixtures("no_model")
def test_without_a_validation_split_the_last_epoch_is_kept(workspace):
    write_caption_dataset(workspace / "pictures")
    params = open_params(captions__val_fraction=0.0, captioner__training__patience=1)
    train_captioner(params, open_training_data(), Path("model"), name="captioner")
    history = read_history(Path("model"))
    assert len(history) == 3, "patience needs a validation split"
    assert not any(name.startswith("val_") for name in history[0])
    assert client().get_metric_history(runs()[0].info.run_id, "best_epoch")[0].value == 2


# What a batch is made of


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 20))
def test_every_caption_is_drawn_once_before_any_is_drawn_twice(seed, num_captions, num_wanted):
    drawn = training._draw(np.random.default_rng(seed), num_captions, num_wanted).tolist()
    assert len(drawn) == num_wanted
    assert set(drawn) <= set(range(num_captions))
    for start in range(0, num_wanted, num_captions):
        part = drawn[start : start + num_captions]
        assert len(set(part)) == len(part)


def test_all_captions_are_drawn_equally_often():
    generator = np.random.default_rng(0)
    counts = Counter(index for _ in range(2000) for index in training._draw(generator, 5, 2).tolist())
    assert [counts[index] / 800 for index in range(5)] == pytest.approx([1] * 5, abs=0.1)


KNOWN = ("a", "dog", "runs", "fast")
VOCABULARY = Vocabulary((*SPECIAL_WORDS, *KNOWN))


@given(
    captions=st.lists(st.lists(st.sampled_from([*KNOWN, "yak"]), min_size=1, max_size=7), min_size=1, max_size=6),
    max_words=st.integers(1, 8),
)
def test_encoded_captions_have_start_and_end_and_cut_captions_have_no_end(captions, max_words):
    rows = encode_captions(captions, VOCABULARY, max_words=max_words).tolist()
    assert len(rows) == len(captions)
    for row, words in zip(rows, captions, strict=True):
        tokens = [token for token in row if token != PADDING]
        assert row == tokens + [PADDING] * (len(row) - len(tokens))
        expected = [len(SPECIAL_WORDS) + KNOWN.index(word) if word in KNOWN else UNKNOWN for word in words]
        end = [END] if len(words) <= max_words else []
        assert tokens == [START, *expected[:max_words], *end]
    assert any(row[-1] != PADDING for row in rows), "no longer than the longest"


def test_an_epoch_has_every_training_image_once_with_its_own_captions(training_data):
    params = open_params(captioner__training__captions_per_image=3, captioner__training__batch_size=3)
    vocabulary = vocabulary_of(training_data)

    def epoch(number: int) -> list:
        return list(training.batches(params, training_data, vocabulary, number))

    batches = epoch(0)
    order = [image for batch in batches for image in batch.images]
    assert sorted(order) == training_data.of_split("train")
    assert [len(batch.images) for batch in batches[:-1]] == [3] * (len(batches) - 1)
    for batch in batches:
        assert torch.equal(batch.regions, training_data.regions.read(batch.images))
        assert batch.words.shape[:2] == (len(batch.images), 3)
        for image, captions in zip(batch.images, batch.words.tolist(), strict=True):
            said = Counter(tuple(vocabulary.decode(caption)) for caption in captions)
            own = training_data.words[image]
            assert set(said) == {tuple(words[:8]) for words in own}, "all of them, as there are no more than three"
            assert all(caption[0] == START for caption in captions)
    again, other = epoch(0), epoch(1)
    assert all(torch.equal(one.words, same.words) for one, same in zip(batches, again, strict=True))
    assert [image for batch in other for image in batch.images] != order


def test_half_of_the_training_images_are_mirrored_on_request(workspace):
    write_caption_dataset(workspace / "pictures")
    params = open_params(captions__mirror=True, captioner__training__batch_size=1)
    training_data = open_training_data()
    pictures = {picture: position for position, picture in enumerate(training_data.manifest.pictures(mirror=True))}
    mirrored = []
    for epoch in range(20):
        for batch in training.batches(params, training_data, vocabulary_of(training_data), epoch):
            of_both = training_data.regions.read(pictures[batch.images[0], side] for side in (False, True))
            (side,) = (side for side in (False, True) if torch.equal(batch.regions[0], of_both[int(side)]))
            mirrored.append(side)
    assert 0.35 < sum(mirrored) / len(mirrored) < 0.65
    done = [batch.done for batch in training.batches(params, training_data, vocabulary_of(training_data), 0)]
    assert done == [step / len(done) for step in range(len(done))]


@pytest.mark.parametrize("batch_frames", [1, 2, 64])
def test_validation_loss_is_the_mean_over_the_words_of_all_captions(training_data, monkeypatch, batch_frames):
    monkeypatch.setattr(training, "BATCH_IMAGES", batch_frames)
    params, vocabulary = load_params(), vocabulary_of(training_data)
    torch.manual_seed(0)
    captioner = training.make_captioner(
        params.captioner, training_data.frame_encoder.encoder, num_words=len(vocabulary)
    ).eval()
    losses = []
    with torch.no_grad():
        for image in training_data.of_split("val"):
            for words in training_data.words[image]:
                tokens = encode_captions([words], vocabulary, max_words=8)[0]
                read = tokens[None, None, :-1]
                logits = captioner(training_data.regions.read([image]), read, torch.tensor([[read.shape[2]]]))
                losses += (-torch.log_softmax(logits, 1)[torch.arange(len(logits)), tokens[1:]]).tolist()
    scores = training.validate(params, training_data, vocabulary, captioner)
    assert scores["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert scores.keys() == {"loss", "bleu_4", "cider"}


def test_the_reward_compares_each_caption_with_those_of_its_own_image(training_data):
    vocabulary = vocabulary_of(training_data)
    reward = training._reward(training_data, vocabulary)
    images = training_data.of_split("train")[:3]
    own = [encode_captions([training_data.words[image][0]], vocabulary, max_words=20)[0, 1:] for image in images]
    longest = max(map(len, own))
    own = [torch.cat([words, words.new_full((longest - len(words),), PADDING)]) for words in own]
    words = torch.stack([torch.stack([own[0], own[1], own[2]])] * 3)
    rewards = reward(images, words)
    assert rewards.shape == (3, 3)
    assert (rewards >= 0).all()
    assert (rewards <= 10).all()
    for image in range(3):
        for other in range(3):
            same = set(training_data.words[images[image]]) == set(training_data.words[images[other]])
            assert same or rewards[image, image] > rewards[image, other]
    assert reward(images[:1], torch.tensor([[[END]]])).tolist() == [[0.0]]
