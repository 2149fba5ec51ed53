"""A CUDA graph gives the features of torch, to the bit for any number of threads. Some tests need no GPU."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from import_graph import ROOT
from made_models import save_video_model, write_video
from torch import nn

from pipeline.checkpoints.encoder import FrameEncoder, make_frame_encoder
from pipeline.cli.main import main
from pipeline.config.data import Pixels
from pipeline.encoding import cuda_graph as module
from pipeline.encoding.cuda_graph import CaptureError, CUDARuntime, fitting_batch_frames, make_pixel_encoder
from pipeline.encoding.runtime import TorchRuntime, open_runtime
from pipeline.errors import InputError
from pipeline.labelling import folder as labelling_folder
from pipeline.labelling.model import load_model
from pipeline.labelling.video import label_video
from pipeline.video.decoder_process import DecoderProcesses

COSINE = 0.99
NETWORKS = ["resnet18", "efficientnet_lite0", "mobilenet_v3_small", "googlenet"]
SIZE = (64, 48)


def make_frames(name: str = "resnet18", *, color: str = "rgb", size=SIZE, device: str = "cpu") -> FrameEncoder:
    torch.manual_seed(0)
    pixels = Pixels(crop=None, crop_unit="fractions", size=size, color=color)
    frames = make_frame_encoder(name, weights=None, grid=1, batch_norm="frozen", batch_size=8, pixels=pixels)
    frames.encoder.to(device)
    return frames


def some_pixels(num_frames: int, size=SIZE) -> np.ndarray:
    return np.random.default_rng(num_frames).integers(0, 256, (num_frames, *size, 3), dtype=np.uint8)


def assert_near(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Compare to 1e-4 of the largest feature."""
    assert found.dtype == torch.float32
    assert found.device.type == "cpu"
    assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("color", ["rgb", "grey"])
def test_the_captured_network_computes_the_features_of_torch(name, color):
    frames, pixels = make_frames(name, color=color), some_pixels(5)
    before = {key: tensor.clone() for key, tensor in frames.encoder.state_dict().items()}
    expected = TorchRuntime(frames).submit(pixels).result()
    assert_near(make_pixel_encoder(frames, precision="full")(torch.from_numpy(pixels)), expected)
    reduced = make_pixel_encoder(frames, precision="reduced")(torch.from_numpy(pixels))
    assert nn.functional.cosine_similarity(reduced, expected).min() > COSINE
    assert not torch.equal(reduced, expected)
    after = frames.encoder.state_dict()
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())  # a copy of it was cast


def test_batches_hold_more_frames_if_frames_are_small():
    assert fitting_batch_frames(224, 224) == 64
    assert fitting_batch_frames(2000, 3000) == 1
    assert fitting_batch_frames(32, 32) == module.MAX_BATCH_FRAMES


def test_torch_is_used_if_no_graph_can_be_captured(monkeypatch, capsys):
    def fail(*args, **options):
        raise CaptureError("the encoder cannot be captured as a CUDA graph (a reason)")

    class Elsewhere(nn.Module):
        """A module that reports another device than it is on."""

        def __init__(self, encoder: nn.Module) -> None:
            super().__init__()
            self._encoder = encoder

        def parameters(self, recurse: bool = True):
            return iter([torch.empty(1, device="meta")])

    monkeypatch.setattr("pipeline.encoding.runtime.CUDARuntime", fail)
    frames = make_frames()
    runtime = open_runtime(FrameEncoder(frames.spec, Elsewhere(frames.encoder)))
    assert isinstance(runtime, TorchRuntime)
    assert capsys.readouterr().err.splitlines() == [
        "encoding with torch, which is slower: the encoder cannot be captured as a CUDA graph (a reason)"
    ]


@pytest.fixture(scope="module", params=["full", "reduced"])
def opened(request) -> CUDARuntime:
    return CUDARuntime(make_frames(device="cuda"), precision=request.param)


@pytest.mark.gpu
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("color", ["rgb", "grey"])
def test_features_on_a_gpu_equal_those_of_torch(name, color):
    frames, pixels = make_frames(name, color=color, device="cuda"), some_pixels(300)
    runtime = open_runtime(frames)
    assert isinstance(runtime, CUDARuntime)
    expected = TorchRuntime(frames).submit(pixels).result()
    assert_near(runtime.submit(pixels).result(), expected)
    assert_near(expected[:8], TorchRuntime(make_frames(name, color=color)).submit(pixels[:8]).result())
    reduced = open_runtime(frames, precision="reduced").submit(pixels).result()
    assert nn.functional.cosine_similarity(reduced, expected).min() > COSINE


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["full", "reduced"])
def test_another_runtime_gives_the_same_bits(precision):
    frames, pixels = make_frames(device="cuda"), some_pixels(40)
    first, second = (CUDARuntime(frames, precision=precision).submit(pixels).result() for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.gpu
def test_the_features_of_a_frame_do_not_depend_on_its_batch(opened):
    pixels = some_pixels(21)
    whole = opened.submit(pixels).result()
    alone = torch.cat([opened.submit(pixels[i : i + 1]).result() for i in range(21)])
    assert torch.equal(whole, alone)


@pytest.mark.gpu
def test_the_features_of_a_frame_do_not_depend_on_other_threads(opened):
    expected = {number: opened.submit(some_pixels(number)).result() for number in range(1, 60, 3)}
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda number: opened.submit(some_pixels(number)).result(), list(expected) * 20)
    assert all(torch.equal(features, expected[len(features)]) for features in found)


@pytest.mark.gpu
def test_later_changes_of_the_weights_do_not_change_the_features():
    frames, pixels = make_frames(device="cuda"), some_pixels(3)
    runtime = CUDARuntime(frames)
    expected = runtime.submit(pixels).result()
    with torch.no_grad():
        next(frames.encoder.parameters()).zero_()
    assert torch.equal(runtime.submit(pixels).result(), expected)


@pytest.mark.gpu
def test_frames_of_another_size_are_refused(opened):
    with pytest.raises(ValueError, match=r"expected uint8 \[frames, 64, 48, 3\]"):
        opened.submit(some_pixels(2, (48, 64)))


@pytest.mark.gpu
def test_torch_is_used_if_a_network_cannot_be_captured():
    code = """
from test_cuda_graph import *
frames = make_frames(device="cuda")
class Odd(nn.Module):
    def __init__(self, trunk):
        super().__init__()
        self.trunk = trunk
    def forward(self, images):
        return self.trunk(images) * float(images.mean() > -1e9)  # asks the device for a number
frames.encoder.trunk = Odd(frames.encoder.trunk)
runtime = open_runtime(frames)
print(type(runtime).__name__, bool(runtime.submit(some_pixels(2)).result().isfinite().all()))
"""
    folder = Path(__file__).parent
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    }
    command = [sys.executable, "-c", code]  # in a separate process: a failed capture changes torch's state
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder.parent, timeout=120)
    assert done.stdout == "TorchRuntime True\n", done.stderr
    assert "cannot be captured" in done.stderr


@pytest.mark.gpu
def test_reduced_precision_is_refused_if_the_gpu_lacks_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: False)
    with pytest.raises(InputError, match="cannot compute in bfloat16"):
        CUDARuntime(make_frames(device="cuda"), precision="reduced")


@pytest.mark.gpu
@pytest.mark.parametrize("num_parallel", [1, 5])
def test_labels_do_not_depend_on_the_number_of_parallel_videos(num_parallel, tmp_path):
    model = load_model(str(save_video_model(tmp_path / "model")), device="cuda")
    assert isinstance(model.runtime, CUDARuntime)
    videos = [write_video(tmp_path / f"{number}.mp4", num_frames=20 + 9 * number) for number in range(5)]
    alone = [label_video(path, model).class_probabilities for path in videos]
    with ThreadPoolExecutor(num_parallel) as threads:
        found = list(threads.map(lambda path: label_video(path, model).class_probabilities, videos))
    assert all(np.array_equal(*pair) for pair in zip(alone, found, strict=True))


@pytest.mark.gpu
def test_the_command_decodes_in_processes_and_writes_the_same_bytes(tmp_path, monkeypatch):
    class Counted(DecoderProcesses):
        def open_scaled(self, path, *arguments, **options):
            opened.append(Path(path).stem)
            return super().open_scaled(path, *arguments, **options)

    opened: list[str] = []
    monkeypatch.setattr(labelling_folder, "DecoderProcesses", Counted)
    model, folder = save_video_model(tmp_path / "model"), tmp_path / "videos"
    folder.mkdir()
    videos = [write_video(folder / f"{number}.mp4", num_frames=20 + 9 * number) for number in range(5)]
    (tmp_path / "threads").mkdir()
    labelling_folder.label_videos(
        videos, load_model(str(model), device="cuda"), tmp_path / "threads", on_failure=pytest.fail
    )
    assert opened == []
    command = ["label", str(folder), "--model", str(model), "--out", str(tmp_path / "command"), "--device", "cuda"]
    assert main(command) == 0
    assert sorted(opened) == ["0", "1", "2", "3", "4"]
    for video in videos:
        name = f"{video.stem}.frames.csv"
        assert (tmp_path / "command" / name).read_bytes() == (tmp_path / "threads" / name).read_bytes()
