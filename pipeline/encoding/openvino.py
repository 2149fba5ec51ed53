"""An encoder exported for OpenVINO, which is the fastest runtime on a CPU.

Shapes: n frames, h x w pixels, F features.
"""

import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BoundedSemaphore, local
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.encoding.pixels import PixelEncoder
from pipeline.encoding.types import BATCH_FRAMES, Precision
from pipeline.errors import InputError, first_line

if TYPE_CHECKING:
    import openvino

# The features of noise from an export are compared with torch's. This is the maximum difference, relative to the
# largest feature. 2e-5 was seen.
EXPORT_TOLERANCE = 1e-3
MAX_WAITING_REQUESTS = 2  # for each thread: one that is computed and one that waits


class ExportError(Exception):
    """The encoder cannot be exported, or the export computes different features."""


class OpenVINORuntime:
    """A `Runtime` of an exported encoder, in which each thread computes requests of a few frames.

    The features of a frame depend on no other frame. Several threads may call `submit` in parallel.

    Args:
        frame_encoder: See `open_runtime`, as for the other arguments.
        precision: See `open_runtime`.
        exports: See `open_runtime`.
        batch_frames: See `open_runtime`.

    Raises:
        ImportError: OpenVINO is missing.
        ExportError: The encoder cannot be exported.
        InputError: The precision is reduced and this CPU cannot compute with it.
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
        # OpenVINO gives a thread that compiles another stack for signals, and frees that stack without removing it from
        # the thread: the next Ctrl-C would be a segmentation fault. These threads get no signals.
        compiling = self._threads.submit(
            _compile, frame_encoder, precision, exports, batch_frames, num_threads=num_threads
        )
        model = compiling.result()
        self._batch_frames = model.input(0).shape[0]
        self._make_request = model.create_infer_request
        self._own = local()  # two threads cannot use the same request at the same time
        self._room = BoundedSemaphore(MAX_WAITING_REQUESTS * num_threads)

    def submit(self, pixels: np.ndarray) -> "_Features":
        """See `Runtime.submit`."""
        waiting = []
        for start in range(0, len(pixels), self._batch_frames):
            self._room.acquire()
            waiting.append(self._threads.submit(self._encode, pixels[start : start + self._batch_frames]))
        return _Features(waiting)

    def _encode(self, pixels: np.ndarray) -> np.ndarray:
        """Encode at most as many frames as a request has: uint8 [n, h, w, 3] -> float32 [n, F]."""
        try:
            if not hasattr(self._own, "request"):
                self._own.request = self._make_request()
            missing = self._batch_frames - len(pixels)
            given = np.concatenate([pixels, *[pixels[-1:]] * missing]) if missing else pixels
            return self._own.request.infer({0: given}, share_inputs=True)[0][: len(pixels)]
        finally:
            self._room.release()


class _Features:
    """The pending features of one call, whose frames are spread over several requests."""

    def __init__(self, waiting: list[Future[np.ndarray]]) -> None:
        self._waiting = waiting

    def result(self) -> Tensor:
        """See `Pending.result`."""
        return torch.from_numpy(np.concatenate([features.result() for features in self._waiting]))


def _compile(
    frame_encoder: FrameEncoder, precision: Precision, exports: Path | None, batch_frames: int, *, num_threads: int
) -> "openvino.CompiledModel":
    """Compile the encoder for `batch_frames` frames, with one request in each of the threads in parallel.

    It is compiled for one frame where the position of a frame in a request would change a bit of its features.
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
    # The first call looks numpy up, and two threads that do so at the same time wait for each other forever (pybind11's
    # npy_api behind a static variable). So the first call is made here.
    request, pixels = model.create_infer_request(), _noise(model.input(0).shape)
    found = request.infer({0: pixels}, share_inputs=True)[0].copy()
    if len(pixels) > 1:
        moved = request.infer({0: np.roll(pixels, 1, axis=0)}, share_inputs=True)[0]
        if not np.array_equal(np.roll(found, 1, axis=0), moved):
            return _compile(frame_encoder, precision, exports, 1, num_threads=num_threads)
    return model


def _noise(shape: Sequence[int]) -> np.ndarray:
    """Return frames of noise, which are always the same."""
    return np.random.default_rng(0).integers(0, 256, tuple(shape), dtype=np.uint8)


def _import_openvino() -> Any:
    # OpenVINO reports its use to its makers, unless this module is missing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _exported(
    frame_encoder: FrameEncoder, core: "openvino.Core", exports: Path | None, batch_frames: int
) -> "openvino.Model":
    """Read the encoder for `batch_frames` frames from `exports`, or export it now and keep it there.

    Where the encoder cannot be split in two, the export is for one frame, under the name of several.
    """
    path = exports and exports / f"{frame_encoder.fingerprint()}.{batch_frames}.xml"
    if path and path.exists():
        try:
            return core.read_model(path)
        except RuntimeError:  # the file is damaged, and replaced by a new export
            pass
    model = _export(frame_encoder, core, batch_frames)
    if path:
        try:
            path.parent.mkdir(exist_ok=True)
            _save(model, path, core)
            return core.read_model(path)  # so that this use equals the next one to the last bit
        except (OSError, RuntimeError):  # OpenVINO raises RuntimeError where the disk is full
            pass  # the folder cannot be written to: the encoder is exported again each time
    return model


def _export(frame_encoder: FrameEncoder, core: "openvino.Core", batch_frames: int) -> "openvino.Model":
    openvino = _import_openvino()
    by_frames = frame_encoder.encoder.frame_by_frame(*frame_encoder.preprocess.size) if batch_frames > 1 else None
    example = torch.from_numpy(_noise((batch_frames if by_frames else 1, *frame_encoder.preprocess.size, 3)))
    normalize = frame_encoder.preprocess.normalize
    module = PixelEncoder(by_frames or frame_encoder.encoder, normalize).eval()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer warns that it takes sizes for constants, which they are
            traced = torch.jit.trace(module, example, check_trace=False)
            model = openvino.convert_model(traced, input=[example.shape])
        found = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(example.numpy())[0]
    except Exception as error:  # a library may raise anything for a network that it cannot convert
        raise ExportError(f"encoder {frame_encoder.spec.name} cannot be exported ({first_line(error)})") from error
    with torch.no_grad():
        expected = PixelEncoder(frame_encoder.encoder, normalize)(example).numpy()
    largest = float(np.abs(expected).max()) or 1.0  # an encoder may give nothing but zeros
    worst = float(np.abs(found - expected).max()) / largest
    if not worst <= EXPORT_TOLERANCE:
        raise ExportError(f"encoder {frame_encoder.spec.name} as exported gives other features, by {worst:.1e}")
    return model


def _save(model: "openvino.Model", path: Path, core: "openvino.Core") -> None:
    """Write the .bin and then the .xml file of a model: an export is used only if its .xml exists.

    They are read before they get their names, as OpenVINO may write a part without an error where the disk is full.
    """
    openvino = _import_openvino()
    with TemporaryDirectory(prefix=".export.", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        openvino.save_model(model, temporary, compress_to_fp16=False)
        core.read_model(temporary)
        for suffix in (".bin", ".xml"):
            temporary.with_suffix(suffix).replace(path.with_suffix(suffix))
