"""How unlike the training frames a frame is: the same however a video is read, and in a file where asked for."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from made_models import save_feature_model, write_video

from pipeline.checkpoints.labeller import load_checkpoint, set_novelty
from pipeline.cli.main import main
from pipeline.labelling import reading
from pipeline.labelling.model import load_model
from pipeline.labelling.ranges import EncodedVideo, divide, encode_range, label_encoded
from pipeline.labelling.reading import NoveltyMeter
from pipeline.labelling.video import label_video
from pipeline.metrics.label_files import find_label_files
from pipeline.models.novelty import choose_features, fit_novelty
from pipeline.video.open import open_scaled


def with_novelty(folder: Path, copy: Path, *, limit: float = 2.0) -> Path:
    """Copy a checkpoint, and let it know made training frames."""
    shutil.copytree(folder, copy)
    num_features = load_checkpoint(copy, device=torch.device("cpu")).spec.num_features
    generator = torch.Generator().manual_seed(0)
    chosen = choose_features(num_features, generator)
    sample = torch.randn(200, len(chosen), generator=generator)
    set_novelty(copy, fit_novelty(sample, chosen, num_features, generator), limit)
    return copy


@pytest.fixture(scope="module")
def folder(spread_model, tmp_path_factory) -> Path:
    return with_novelty(spread_model, tmp_path_factory.mktemp("models") / "labeller")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", num_frames=150)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_is_the_distance_of_the_features_divided_by_the_limit(tmp_path):
    model = load_model(str(with_novelty(save_feature_model(tmp_path / "a"), tmp_path / "b")), device="cpu")
    features = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    np.save(tmp_path / "clip.npy", features)
    found = label_video(tmp_path / "clip.npy", model).novelty
    assert model.checkpoint.novelty is not None
    np.testing.assert_allclose(found, model.checkpoint.novelty(torch.from_numpy(features)).numpy() / 2, rtol=1e-5)


@pytest.mark.parametrize("length", [1, 7, 64, 100, 1000])
def test_it_has_the_same_bits_however_a_video_comes(folder, length):
    model = load_model(str(folder), device="cpu")
    features = torch.randn(300, model.spec.num_features, generator=torch.Generator().manual_seed(1))
    whole, parts = NoveltyMeter(model), NoveltyMeter(model)
    assert torch.equal(torch.cat(list(whole.watch([features]))), features)
    assert torch.equal(torch.cat(list(parts.watch(features.split(length)))), features)
    np.testing.assert_array_equal(parts.found(), whole.found())


def test_a_video_in_ranges_has_that_of_a_whole_one(folder, video):
    model = load_model(str(folder), device="cpu")
    division = divide(video, model, opening=open_scaled, range_frames=40)
    ranges = [encode_range(video, division, n, model, opening=open_scaled) for n in range(len(division.starts))]
    encoded = EncodedVideo(division, [each.reports for each in ranges], lambda n: [each.features[n] for each in ranges])
    whole = label_video(video, model).novelty
    np.testing.assert_array_equal(label_encoded(video, encoded, model).novelty, whole)
    assert whole.shape == (150,)
    assert (whole > 0).all()


def test_frames_that_are_not_encoded_have_that_of_the_nearest_one(folder, video):
    model = load_model(str(folder), device="cpu")
    rare = label_video(video, model.at_rate(5))
    assert rare.novelty.shape == (150,)
    assert len(np.unique(rare.novelty)) <= rare.num_encoded < 40


def test_lost_frames_have_none(folder, video, monkeypatch):
    read_video = reading._predict_frames

    def losing(*arguments):
        found = read_video(*arguments)
        found.index.__dict__["is_lost"] = np.arange(150) == 5
        return found

    monkeypatch.setattr(reading, "_predict_frames", losing)
    novelty = label_video(video, load_model(str(folder), device="cpu")).novelty
    assert np.flatnonzero(np.isnan(novelty)).tolist() == [5]


def test_the_command_writes_a_file_that_is_not_taken_for_labels(folder, video, tmp_path, capsys):
    out = tmp_path / "labels"
    command = ["label", str(video), "--model", str(folder), "--out", str(out)]
    assert main(command) == 0
    assert not list(out.glob("*novelty*"))
    assert main([*command, "--formats", "csv,novelty"]) == 0
    rows = rows_of(out / "clip.novelty.csv")
    expected = label_video(video, load_model(str(folder), device="cpu"))
    assert [float(row["novelty"]) for row in rows] == pytest.approx(expected.novelty.tolist(), abs=6e-4)
    assert [row["time_seconds"] for row in rows] == [row["time_seconds"] for row in rows_of(out / "clip.frames.csv")]
    assert find_label_files(out).keys() == {"clip"}
    assert main([*command, "--formats", "csv,novelty"]) == 0
    assert "1 were finished before" in capsys.readouterr().out


def test_a_model_that_does_not_know_its_training_frames_is_refused(spread_model, video, tmp_path, capsys):
    command = ["label", str(video), "--model", str(spread_model), "--out", str(tmp_path / "out")]
    assert main([*command, "--formats", "novelty"]) == 2
    assert "--formats novelty: the model does not know its training frames" in capsys.readouterr().err
    assert label_video(video, load_model(str(spread_model), device="cpu")).novelty is None


def test_of_several_models_it_is_that_of_the_first(folder, spread_model, video):
    first, alone = load_model([str(folder), str(spread_model)], device="cpu"), load_model(str(folder), device="cpu")
    np.testing.assert_array_equal(label_video(video, first).novelty, label_video(video, alone).novelty)
