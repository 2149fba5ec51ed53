"""Checkpoints from a stranger: sizes that do not fit are refused before anything is built, with little memory."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from import_graph import ROOT

from pipeline.checkpoints.captioner import load_captioner
from pipeline.checkpoints.encoder import load_encoder
from pipeline.checkpoints.labeller import load_checkpoint
from pipeline.checkpoints.storage import read_kind
from pipeline.config import LabellerSettings
from pipeline.errors import InputError
from pipeline.models import captioner as captioner_model
from pipeline.models import labeller as labeller_model
from pipeline.models.labeller import Labeller

CPU = torch.device("cpu")
MAX_EXTRA_BYTES = 2 << 30


@pytest.fixture
def little_memory():
    """While it is used, this process may take only a little more memory than it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MAX_EXTRA_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def changed(folder: Path, tmp_path: Path, changes: dict[str, object]) -> Path:
    """A copy of a checkpoint with other values in its description, under the path of each such as labeller.cell."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "checkpoint.json"
    spec = json.loads(path.read_text())
    for name, value in changes.items():
        *sections, last = name.split(".")
        place = spec
        for section in sections:
            place = place[section]
        place[last] = value
    path.write_text(json.dumps(spec))
    return copy


SIZES = [
    {"labeller.hidden_size": 10**9},
    {"labeller.hidden_size": 65_536},
    {"labeller.num_layers": 10**9},
    {"labeller.num_layers": 100},
    {"labeller.pool_frames": 10**9, "labeller.bidirectional": True},
    {"labeller.delta_frames": 10**9},
    {"labeller.min_segment_frames": 10**30},
    {"num_features": 10**9},
    {"num_features": 10**7},
    {"classes": [str(number) for number in range(500_000)], "background": None},
    {"encoder.grid": 10**9},
    {"encoder.stride": 10**9},
    {"encoder.batch_size": 10**9},
    {"encoder.preprocess.size": [10**9, 10**9]},
    {"encoder.preprocess.size": [1e30, 1e30]},
    {"encoder.preprocess.size": [20_000, 20_000]},
    {"encoder.preprocess.crop": [float("nan"), 0, 1, 1]},
    {"encoder.preprocess.crop": [0, 0, float("inf"), 1]},
    {"encoder.preprocess.mean": [float("nan")] * 3},
    {"encoder.preprocess.std": [0, 0, 0]},
    {"encoder.name": "vit_h_14"},
    {"encoder.name": "convnext_large", "encoder.grid": 2},
    {"temperature": 1e-300},
    {"temperature": float("inf")},
    {"temperature": float("nan")},
    {"temperature": 1e300},
]


@pytest.mark.parametrize("changes", SIZES, ids=str)
def test_a_labeller_with_impossible_sizes_is_refused(video_model, tmp_path, changes, little_memory):
    folder = changed(video_model, tmp_path, changes)
    with pytest.raises(InputError) as refused:
        load_checkpoint(folder, device=CPU)
    assert len(str(refused.value)) < 1500


@pytest.mark.parametrize(
    "changes",
    [
        {"captioner.hidden_size": 10**9},
        {"captioner.hidden_size": 65_536},
        {"captioner.embedding_size": 65_536},
        {"captioner.num_heads": 10**9},
        {"captioner.decoding.beam_size": 10**9},
        {"captioner.decoding.max_words": 10**9},
        {"encoder.grid": 10**9},
        {"encoder.preprocess.size": [10**9, 1]},
    ],
    ids=str,
)
def test_a_captioner_with_impossible_sizes_is_refused(caption_model, tmp_path, changes, little_memory):
    with pytest.raises(InputError):
        load_captioner(changed(caption_model, tmp_path, changes), device=CPU)


@pytest.mark.parametrize("name", ["checkpoint.json", "weights.safetensors"])
@pytest.mark.parametrize("kind", ["deep", "pipe", "endless", "folder", "huge", "number"])
def test_a_file_that_no_checkpoint_has_is_refused(video_model, tmp_path, name, kind, little_memory):
    folder = shutil.copytree(video_model, tmp_path / "copy")
    path = folder / name
    path.unlink()
    if kind == "deep":
        path.write_text("[" * 1_000_000)
    elif kind == "number":
        path.write_text('{"kind": ' + "9" * 100_000 + "}")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)  # of zeros, which take no place on the disk
    with pytest.raises((InputError, IsADirectoryError)):
        load_checkpoint(folder, device=CPU)
    if name == "checkpoint.json" and kind in ("deep", "number"):
        assert read_kind(folder) == "labeller"


def test_an_encoder_that_is_larger_than_its_weights_is_refused(video_model, tmp_path, little_memory):
    folder = shutil.copytree(video_model, tmp_path / "copy")
    spec = json.loads((folder / "checkpoint.json").read_text())["encoder"]
    (folder / "encoder.json").write_text(json.dumps(spec | {"name": "vit_h_14"}))
    with pytest.raises(InputError, match=r"weights of the encoder, expected at least 630764800"):
        load_encoder(folder)


@pytest.mark.parametrize("cell", ["none", "tanh", "gru", "lstm"])
@pytest.mark.parametrize("inputs", ["features", "both"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_least_number_of_weights_is_no_more_than_there_are(cell, inputs, bidirectional):
    if cell == "none" and inputs != "features":
        return
    settings = LabellerSettings(cell=cell, hidden_size=40, num_layers=2, inputs=inputs, bidirectional=bidirectional)
    labeller = Labeller(settings, num_features=50, num_classes=7)
    least = labeller_model.least_num_weights(settings, num_features=50, num_classes=7)
    num_weights = sum(weight.numel() for weight in labeller.parameters())
    assert num_weights / 8 < least <= num_weights


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_least_number_of_weights_of_a_captioner_is_no_more_than_there_are(cell):
    from made_models import CAPTIONER

    settings = CAPTIONER.model_copy(update={"cell": cell, "hidden_size": 32, "embedding_size": 16})
    sizes = {"num_channels": 20, "num_words": 30, "num_regions": 9}
    captioner = captioner_model.Captioner(settings, **sizes)
    num_weights = sum(weight.numel() for weight in captioner.parameters())
    assert num_weights / 4 < captioner_model.least_num_weights(settings, **sizes) <= num_weights


def test_loading_runs_no_code(video_model, tmp_path):
    """Neither a pickle in the place of the weights nor a module in the folder runs."""
    import pickle

    folder = shutil.copytree(video_model, tmp_path / "copy")
    marker = tmp_path / "marker"

    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (marker,))

    (folder / "weights.safetensors").write_bytes(pickle.dumps(Evil()))
    (folder / "training_state.pt").write_bytes(pickle.dumps(Evil()))
    (folder / "torch.py").write_text(f"open({str(marker)!r}, 'w')")
    with pytest.raises(InputError):
        load_checkpoint(folder, device=CPU)
    call = [
        sys.executable,
        "-m",
        "pipeline.cli",
        "label",
        "x.mp4",
        "--model",
        str(folder),
        "--out",
        str(tmp_path / "o"),
    ]
    assert subprocess.run(call, cwd=ROOT, capture_output=True, timeout=100).returncode == 2
    assert not marker.exists()
