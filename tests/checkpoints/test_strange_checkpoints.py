"""Checkpoints from a stranger: sizes that do not fit are refused before anything is built, with little memory."""

import json
import os
import reprlib
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from import_graph import ROOT
from safetensors.torch import load_file, save_file

from pipeline.checkpoints.captioner import load_captioner
from pipeline.checkpoints.encoder import load_encoder
from pipeline.checkpoints.labeller import load_checkpoint
from pipeline.checkpoints.storage import read_kind
from pipeline.config.labeller import LabellerSettings
from pipeline.encoding.runtime import open_runtime
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
    {"num_features": 10**7, "labeller.map_filters": 32, "labeller.inputs": "both"},
    {"encoder.grid": 256, "labeller.map_filters": 1024, "labeller.hidden_size": 65_536},
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
    {"encoder.preprocess.mean": [1e38, 0, 0]},
    {"encoder.preprocess.mean": [0, 0]},
    {"encoder.preprocess.std": [1e38, 1, 1]},
    {"encoder.preprocess.std": [1e-30, 1, 1]},
    {"encoder.preprocess.crop": [0, 0, 1e308, 1e308]},
    {"encoder.preprocess.crop": [1e308, 0, 1, 1]},
    {"kind": {"a": 1}},
    {"kind": ["labeller"]},
    {"kind": "x" * 1_000_000},
    {"classes": ["x" * 1_000_000] * 3, "background": None},
    {"background": "x" * 1_000_000},
    {"temperature": 1e-300},
    {"temperature": float("inf")},
    {"temperature": float("nan")},
    {"temperature": 1e300},
]


@pytest.mark.parametrize("changes", SIZES, ids=reprlib.repr)
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
        {"captioner.decoding.length_penalty": 1e308},
        {"captioner.decoding.length_penalty": -1},
        {"kind": {"a": 1}},
        {"encoder.grid": 10**9},
        {"encoder.preprocess.size": [10**9, 1]},
    ],
    ids=reprlib.repr,
)
def test_a_captioner_with_impossible_sizes_is_refused(caption_model, tmp_path, changes, little_memory):
    with pytest.raises(InputError):
        load_captioner(changed(caption_model, tmp_path, changes), device=CPU)


def test_all_impossible_values_are_named_at_once(video_model, tmp_path):
    changes = {"kind": {"a": 1}, "encoder.preprocess.std": [0, 1, 1], "temperature": 1e300}
    with pytest.raises(InputError) as refused:
        load_checkpoint(changed(video_model, tmp_path, changes), device=CPU)
    assert all(name in str(refused.value) for name in ("kind", "encoder.preprocess.std.0", "temperature"))


def with_weights(folder: Path, tmp_path: Path, change: Callable[[str, torch.Tensor], torch.Tensor]) -> Path:
    """A copy of a checkpoint with each of its tensors changed."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    tensors = load_file(copy / "weights.safetensors")
    save_file({name: change(name, tensor) for name, tensor in tensors.items()}, copy / "weights.safetensors")
    return copy


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int64, torch.complex64], ids=str)
def test_weights_that_are_no_real_numbers_are_refused(video_model, tmp_path, dtype):
    folder = with_weights(video_model, tmp_path, lambda name, tensor: tensor.to(dtype))
    with pytest.raises(InputError, match=rf"holds {str(dtype).removeprefix('torch.')}, expected float32"):
        load_checkpoint(folder, device=CPU)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_weights_of_another_precision_are_converted(video_model, tmp_path, dtype):
    folder = with_weights(
        video_model, tmp_path, lambda name, tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor
    )
    labeller = load_checkpoint(folder, device=CPU).labeller
    original = load_checkpoint(video_model, device=CPU).labeller.state_dict()
    assert {tensor.dtype for tensor in labeller.parameters()} == {torch.float32}
    for name, tensor in labeller.state_dict().items():
        torch.testing.assert_close(tensor, original[name].to(dtype).to(original[name].dtype), rtol=0, atol=0)


def test_weights_that_are_too_large_for_their_precision_are_refused(video_model, tmp_path):
    name = "labeller.classifier.bias"
    folder = with_weights(
        video_model,
        tmp_path,
        lambda key, tensor: torch.full_like(tensor, 1e300, dtype=torch.float64) if key == name else tensor,
    )
    with pytest.raises(InputError, match=r"labeller\.classifier\.bias holds numbers that are too large for float32"):
        load_checkpoint(folder, device=CPU)


@pytest.mark.parametrize("module", ["encoder", "labeller"])
def test_a_module_of_zeros_is_refused(video_model, tmp_path, module):
    folder = with_weights(video_model, tmp_path, lambda name, tensor: tensor * 0 if name.startswith(module) else tensor)
    with pytest.raises(InputError, match=f"all weights of the {module} are 0"):
        load_checkpoint(folder, device=CPU)


def test_an_encoder_that_gives_zeros_is_exported_without_a_warning(video_model, tmp_path):
    """As its norms are 0: then labels say nothing, but they are those of the model."""
    folder = with_weights(
        video_model,
        tmp_path,
        lambda name, tensor: tensor * 0 if name.startswith("encoder") and tensor.ndim == 1 else tensor,
    )
    frame_encoder = load_checkpoint(folder, device=CPU).frame_encoder
    runtime = open_runtime(frame_encoder, precision="full", exports=None, batch_frames=1)
    height, width = frame_encoder.preprocess.size
    assert not runtime.submit(np.zeros((2, height, width, 3), np.uint8)).result().any()


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
