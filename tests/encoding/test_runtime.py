"""Every runtime gives the features of torch per frame; missing, damaged and wrong exports."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from import_graph import ROOT
from torch import nn

from pipeline.checkpoints.encoder import FrameEncoder, make_frame_encoder
from pipeline.config.data import Pixels
from pipeline.encoding import openvino as module
from pipeline.encoding.openvino import OpenVINORuntime
from pipeline.encoding.runtime import TorchRuntime, open_runtime
from pipeline.encoding.types import BATCH_FRAMES
from pipeline.errors import InputError
from pipeline.models.encoders.encoder import Encoder, FrameByFrame

COSINE = 0.99


def make_frames(name: str = "resnet18", *, grid: int = 1, stride: int | None = None, color: str = "rgb", size=(64, 48)):
    torch.manual_seed(0)
    pixels = Pixels(crop=None, crop_unit="fractions", size=size, color=color)
    return make_frame_encoder(
        name, weights=None, grid=grid, stride=stride, batch_norm="frozen", batch_size=8, pixels=pixels
    )


def some_pixels(num_frames: int, size=(64, 48)) -> np.ndarray:
    return np.random.default_rng(num_frames).integers(0, 256, (num_frames, *size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def frames() -> FrameEncoder:
    return make_frames()


def assert_same_features(frames: FrameEncoder, pixels: np.ndarray) -> None:
    with torch.no_grad():
        expected = frames.encoder(frames.preprocess.normalize(torch.from_numpy(pixels)))
    for runtime in (TorchRuntime(frames), OpenVINORuntime(frames)):
        found = runtime.submit(pixels).result()
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"color": "grey"},
        {"grid": 2},
        {"grid": 3, "stride": 16},
        {"name": "efficientnet_lite0", "size": (96, 128)},
        {"name": "mobilenet_v3_small"},
        {"name": "googlenet"},
    ],
    ids=str,
)
def test_features_equal_those_of_torch(options):
    size = options.get("size", (64, 48))
    assert_same_features(make_frames(**options), some_pixels(5, size))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("vit_b_16", 224),  # takes no other size, as does maxvit_t
        ("maxvit_t", 224),
        ("swin_t", 64),
        ("convnext_tiny", 64),
        ("densenet121", 64),
        ("regnet_y_400mf", 64),
    ],
)
def test_features_of_other_networks_equal_those_of_torch(name, side):
    assert_same_features(make_frames(name, size=(side, side)), some_pixels(2, (side, side)))


def test_the_features_of_a_frame_do_not_depend_on_its_batch(frames):
    runtime, pixels = OpenVINORuntime(frames), some_pixels(11)
    whole = runtime.submit(pixels).result()
    alone = torch.cat([runtime.submit(pixels[i : i + 1]).result() for i in range(11)])
    assert runtime._batch_frames in (1, BATCH_FRAMES)  # on another processor the position of a frame may matter
    assert torch.equal(whole, alone)
    one_by_one = OpenVINORuntime(frames, batch_frames=1)
    assert one_by_one._batch_frames == 1
    torch.testing.assert_close(
        one_by_one.submit(pixels).result(), whole, rtol=1e-5, atol=1e-6 * float(whole.abs().max())
    )


def test_frames_are_encoded_one_by_one_if_their_position_changes_a_bit(frames, monkeypatch):
    right, by_place = FrameByFrame.forward, 1 + 1e-6 * torch.arange(BATCH_FRAMES)[:, None]
    monkeypatch.setattr(FrameByFrame, "forward", lambda self, images: right(self, images) * by_place)
    runtime = OpenVINORuntime(frames)
    assert runtime._batch_frames == 1
    assert_same_features(frames, some_pixels(3))


def test_many_concurrent_calls_each_get_their_own_features(frames):
    runtime = OpenVINORuntime(frames)
    expected = {number: runtime.submit(some_pixels(number)).result() for number in range(1, 9)}
    pending = {number: runtime.submit(some_pixels(number)) for number in range(1, 9)}
    for number, features in pending.items():
        assert torch.equal(features.result(), expected[number])


def test_an_error_in_a_thread_is_raised_where_the_features_are_requested(frames):
    runtime = OpenVINORuntime(frames)
    with pytest.raises(Exception, match="shape"):
        runtime.submit(some_pixels(3, (40, 40))).result()
    assert runtime.submit(some_pixels(40)).result().shape[0] == 40  # the queue loses no entry


def test_several_threads_can_share_a_runtime(frames):
    runtime = OpenVINORuntime(frames)
    expected = {number: runtime.submit(some_pixels(number)).result() for number in range(1, 13)}
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda number: runtime.submit(some_pixels(number)).result(), expected)
    assert all(torch.equal(features, expected[number]) for number, features in zip(expected, found, strict=True))


def test_features_in_reduced_precision_are_close(frames):
    pixels = some_pixels(6)
    exact = TorchRuntime(frames).submit(pixels).result()
    for runtime in (TorchRuntime(frames, precision="reduced"), open_runtime(frames, precision="reduced")):
        found = runtime.submit(pixels).result()
        assert torch.nn.functional.cosine_similarity(found, exact).min() > COSINE
        assert not torch.equal(found, exact)


def test_reduced_precision_is_refused_if_the_cpu_lacks_it(frames, monkeypatch):
    openvino = pytest.importorskip("openvino")
    monkeypatch.setattr(openvino.Core, "get_property", lambda self, device, name: ["FP32"])
    with pytest.raises(InputError, match="cannot compute in bfloat16"):
        open_runtime(frames, precision="reduced")


def test_an_export_is_kept_and_used_again(frames, tmp_path, monkeypatch):
    exports = tmp_path / "exports"
    pixels = some_pixels(3)
    first = open_runtime(frames, exports=exports).submit(pixels).result()
    assert sorted(path.suffix for path in exports.iterdir()) == [".bin", ".xml"]

    def fail(*args):
        raise AssertionError("exported again")

    monkeypatch.setattr(module, "_export", fail)
    assert torch.equal(open_runtime(frames, exports=exports).submit(pixels).result(), first)
    with pytest.raises(AssertionError, match="exported again"):
        open_runtime(make_frames(color="grey"), exports=exports)


def test_a_network_that_cannot_be_split_encodes_one_by_one_and_is_analysed_once(frames, tmp_path, monkeypatch):
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(Encoder, "frame_by_frame", lambda self, *size: asked.append(size))
    pixels = some_pixels(3)
    first = OpenVINORuntime(frames, exports=tmp_path)
    again = OpenVINORuntime(frames, exports=tmp_path)
    assert first._batch_frames == again._batch_frames == 1
    assert asked == [(64, 48)]
    assert torch.equal(first.submit(pixels).result(), again.submit(pixels).result())


def test_a_folder_that_cannot_be_written_to_is_not_needed(frames, tmp_path):
    (tmp_path / "exports").write_text("a file")
    assert isinstance(open_runtime(frames, exports=tmp_path / "exports"), OpenVINORuntime)


@pytest.mark.slow
@pytest.mark.parametrize("num_bytes", [1000, 0, 1_000_000])
def test_a_full_disk_keeps_no_export_and_ends_nothing(tmp_path, num_bytes):
    """Files are limited to a size that the export exceeds, which is what a full disk is to a writer."""
    exports = tmp_path / "exports"
    code = f"""
import resource
from pathlib import Path
from test_runtime import make_frames, assert_same_features, some_pixels, open_runtime, OpenVINORuntime
frames = make_frames()
resource.setrlimit(resource.RLIMIT_FSIZE, ({num_bytes}, resource.RLIM_INFINITY))
runtime = open_runtime(frames, exports=Path({str(exports)!r}))
assert isinstance(runtime, OpenVINORuntime)
assert runtime.submit(some_pixels(3)).result().shape == (3, 512)
"""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{ROOT / 'tests' / 'encoding'}"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert not list(exports.iterdir())


def test_a_damaged_export_is_made_again(frames, tmp_path):
    open_runtime(frames, exports=tmp_path)
    (path,) = tmp_path.glob("*.xml")
    path.write_text(path.read_text()[:500])
    runtime = open_runtime(frames, exports=tmp_path)
    assert isinstance(runtime, OpenVINORuntime)
    assert len(path.read_text()) > 500


def test_torch_is_used_if_an_export_gives_other_features(frames, monkeypatch, capsys):
    right = module.PixelEncoder.forward
    monkeypatch.setattr(
        module.PixelEncoder, "forward", lambda self, x: right(self, x) * (2 if torch.jit.is_tracing() else 1)
    )
    runtime = open_runtime(frames)
    assert isinstance(runtime, TorchRuntime)
    assert "gives other features" in capsys.readouterr().err


def test_torch_is_used_if_a_network_cannot_be_exported(frames, monkeypatch, capsys):
    class Odd(nn.Module):
        def forward(self, images):
            return torch.linalg.eigvals(images.mean((2, 3)).unsqueeze(2) @ images.mean((2, 3)).unsqueeze(1)).real

    odd = make_frames()
    odd.encoder.trunk = torch.fx.symbolic_trace(Odd())
    odd.encoder.register_parameter("weight", nn.Parameter(torch.ones(1)))
    runtime = open_runtime(odd)
    assert isinstance(runtime, TorchRuntime)
    printed = capsys.readouterr().err
    assert "cannot be exported" in printed
    assert len(printed.splitlines()) == 1


def test_torch_is_used_if_openvino_is_missing(frames, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert isinstance(open_runtime(frames), TorchRuntime)
    assert "which is slower" in capsys.readouterr().err


@pytest.mark.slow
def test_a_signal_is_safe_after_an_encoder_was_freed():
    code = """
import signal
from concurrent.futures import ThreadPoolExecutor
from test_runtime import make_frames, OpenVINORuntime
runtimes = [OpenVINORuntime(make_frames())]
with ThreadPoolExecutor(1) as thread:  # whoever collects garbage frees it, and that may be any thread
    thread.submit(runtimes.clear).result()
signal.signal(signal.SIGTERM, lambda number, frame: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""
    assert output_of(code) == "handled\n"


@pytest.mark.slow
def test_the_first_frames_of_a_kept_export_can_be_encoded_in_parallel(tmp_path):
    OpenVINORuntime(make_frames(), exports=tmp_path)
    code = f"""
import builtins, time
from pathlib import Path
from test_runtime import make_frames, some_pixels, OpenVINORuntime
runtime = OpenVINORuntime(make_frames(), exports=Path({str(tmp_path)!r}))
import_at_once = builtins.__import__
def import_slowly(name, *args, **options):  # while it waits, another thread comes to the same place
    if name.startswith("numpy"):
        time.sleep(0.2)
    return import_at_once(name, *args, **options)
builtins.__import__ = import_slowly
print(len(runtime.submit(some_pixels(4)).result()))
"""
    assert output_of(code) == "4\n"


def output_of(code: str) -> str:
    """Run Python code in a separate process, and return what it prints."""
    folder = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "tests"), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_openvino_sends_no_telemetry():
    OpenVINORuntime(make_frames())
    assert sys.modules["openvino_telemetry"] is None
