"""An encoder exported for OpenVINO, which is the fastest on a CPU.

n frames, h x w pixels, F features.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BoundedSemaphore, local
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.encoding.types import BATCH_FRAMES, Precision
from pipeline.errors import InputError

if TYPE_CHECKING:
    import openvino

# Of features of noise: how far those of an export may be from torch's, relative to the largest. 2e-5 was seen.
EXPORT_TOLERANCE = 1e-3
MAX_WAITING_REQUESTS = 2  # for each thread: one that is computed, one that waits


class _PixelEncoder(nn.Module):
    """Frames uint8 [n, h, w, 3] of the encoder's size -> features float32 [n, F]: what is exported."""

    def __init__(self, encode: nn.Module, normalize: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.encode, self.normalize = encode, normalize

    def forward(self, pixels: Tensor) -> Tensor:
        return self.encode(self.normalize(pixels))


class ExportError(Exception):
    """The encoder cannot be exported, or the export gives other features."""


class OpenVINORuntime:
    """An exported encoder, a request of a few frames in each thread: a frame's features depend on nothing else.

    Several threads may call `submit` at once. Arguments as of `open_runtime`. Raises ImportError where OpenVINO is
    missing, ExportError where the encoder cannot be exported.
    """

    def __init__(
        self,
        frame_encoder: FrameEncoder,
        *,
        precision: Precision = "full",
        exports: Path | None = None,
        batch_frames: int = BATCH_FRAMES,
    ) -> None:
        self.frame_encoder = frame_encoder
        num_threads = torch.get_num_threads()
        self._threads = ThreadPoolExecutor(num_threads)
        # OpenVINO gives a thread that compiles another stack for signals, and leaves it there when it frees it: the
        # next Ctrl-C would be a segmentation fault. These threads get no signals.
        compiling = self._threads.submit(
            _compile, frame_encoder, precision, exports, batch_frames, num_threads=num_threads
        )
        model = compiling.result()
        self._batch_frames = model.input(0).shape[0]
        self._make_request = model.create_infer_request
        self._own = local()  # a request cannot be used by two threads at once
        self._room = BoundedSemaphore(MAX_WAITING_REQUESTS * num_threads)

    def submit(self, pixels: np.ndarray) -> "_Features":
        """See `Runtime.submit`."""
        waiting = []
        for start in range(0, len(pixels), self._batch_frames):
            self._room.acquire()
            waiting.append(self._threads.submit(self._encode, pixels[start : start + self._batch_frames]))
        return _Features(waiting)

    def _encode(self, pixels: np.ndarray) -> np.ndarray:
        """The frames of one request or fewer, uint8 [n, h, w, 3] -> float32 [n, F]."""
        try:
            if not hasattr(self._own, "request"):
                self._own.request = self._make_request()
            missing = self._batch_frames - len(pixels)
            given = np.concatenate([pixels, *[pixels[-1:]] * missing]) if missing else pixels
            return self._own.request.infer({0: given}, share_inputs=True)[0][: len(pixels)]
        finally:
            self._room.release()


class _Features:
    """Those of the frames of one call, by requests, as they come."""

    def __init__(self, waiting: list[Future[np.ndarray]]) -> None:
        self._waiting = waiting

    def result(self) -> Tensor:
        """See `Pending.result`."""
        return torch.from_numpy(np.concatenate([features.result() for features in self._waiting]))


def _compile(
    frame_encoder: FrameEncoder, precision: Precision, exports: Path | None, batch_frames: int, *, num_threads: int
) -> "openvino.CompiledModel":
    """The encoder for `batch_frames` frames, with as many requests at once as there are threads, a thread each.

    For one frame where several would not each get the features that they get in another place, to the last bit.
    """
    core = _import_openvino().Core()
    if precision == "reduced" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InputError("precision reduced: this CPU cannot compute in bfloat16: use full")
    options = {
        "INFERENCE_PRECISION_HINT": "f32" if precision == "full" else "bf16",
        "NUM_STREAMS": num_threads,
        "INFERENCE_NUM_THREADS": num_threads,
        "ENABLE_CPU_PINNING": False,  # the decoder's threads need these cores too
    }
    model = core.compile_model(_exported(frame_encoder, core, exports, batch_frames), "CPU", options)
    # The first call looks numpy up, and two threads that do so at once wait for each other for ever (pybind11's npy_api
    # behind a static variable): so that call is made here.
    request, pixels = model.create_infer_request(), _noise(model.input(0).shape)
    found = request.infer({0: pixels}, share_inputs=True)[0].copy()
    if len(pixels) > 1:
        moved = request.infer({0: np.roll(pixels, 1, axis=0)}, share_inputs=True)[0]
        if not np.array_equal(np.roll(found, 1, axis=0), moved):
            return _compile(frame_encoder, precision, exports, 1, num_threads=num_threads)
    return model


def _noise(shape: Sequence[int]) -> np.ndarray:
    """Frames of noise, always the same."""
    return np.random.default_rng(0).integers(0, 256, tuple(shape), dtype=np.uint8)


def _import_openvino() -> Any:
    # OpenVINO reports to its makers that it is used, unless this module is missing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _exported(
    frame_encoder: FrameEncoder, core: "openvino.Core", exports: Path | None, batch_frames: int
) -> "openvino.Model":
    """The encoder for `batch_frames` frames, from `exports` where it is there, else exported now and kept there.

    For one frame, under the name of several, where the encoder cannot be split in two.
    """
    path = exports and exports / f"{frame_encoder.fingerprint()}.{batch_frames}.xml"
    if path and path.exists():
        try:
            return core.read_model(path)
        except RuntimeError:  # damaged: exported anew
            pass
    model = _export(frame_encoder, core, batch_frames)
    if path:
        try:
            path.parent.mkdir(exist_ok=True)
            _save(model, path)
            return core.read_model(path)  # as the next time, to the last bit
        except OSError:
            pass  # a folder that may not be written to: it is exported anew each time
    return model


def _export(frame_encoder: FrameEncoder, core: "openvino.Core", batch_frames: int) -> "openvino.Model":
    openvino = _import_openvino()
    by_frames = frame_encoder.encoder.frame_by_frame(*frame_encoder.preprocess.size) if batch_frames > 1 else None
    example = torch.from_numpy(_noise((batch_frames if by_frames else 1, *frame_encoder.preprocess.size, 3)))
    module = _PixelEncoder(by_frames or frame_encoder.encoder, frame_encoder.preprocess.normalize).eval()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer, about sizes that it takes for constants: they are
            traced = torch.jit.trace(module, example, check_trace=False)
            model = openvino.convert_model(traced, input=[example.shape])
        found = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(example.numpy())[0]
    except Exception as error:  # whatever a library raises for a network that it cannot convert
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(f"encoder {frame_encoder.spec.name} cannot be exported ({reason})") from error
    with torch.no_grad():
        expected = module(example).numpy()
    worst = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not worst <= EXPORT_TOLERANCE:
        raise ExportError(f"encoder {frame_encoder.spec.name} as exported gives other features, by {worst:.1e}")
    return model


def _save(model: "openvino.Model", path: Path) -> None:
    """Write <path>.xml and <path>.bin; the .xml, which counts, last."""
    openvino = _import_openvino()
    with TemporaryDirectory(prefix=".export.", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        openvino.save_model(model, temporary, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            temporary.with_suffix(suffix).replace(path.with_suffix(suffix))
