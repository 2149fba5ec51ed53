"""An encoder on a CUDA device, captured as a CUDA graph for batches of one size, which frames of all callers share.

n frames, h x w pixels, F features. Eager torch leaves such a device idle between its many small kernels, the more so
while other threads decode and want the interpreter; a graph is one call. While it computes a batch, others are gathered
and copied to the device.
"""

from collections.abc import Callable
from concurrent.futures import Future
from copy import deepcopy
from threading import Lock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.encoding.batches import SharedBatches
from pipeline.encoding.types import Precision
from pipeline.errors import InputError
from pipeline.rnn.precision import exact_float32

BATCH_PIXELS = 64 * 224 * 224  # of a batch: what fills a large GPU in 1 GB or two
MAX_BATCH_FRAMES = 256  # of a batch, where frames are small
NUM_PLACES = 4  # batches that are gathered, copied or computed at once
# float32 without tensor cores, as cuDNN has most kernels for it; bfloat16 as tensor cores read it.
LAYOUTS = {"full": torch.contiguous_format, "reduced": torch.channels_last}
# Of features of noise: how far those of a graph may be from those of the same kernels outside of it, relative to the
# largest: they should be equal.
CAPTURE_TOLERANCE = 1e-3


class CaptureError(Exception):
    """The encoder cannot be captured as a CUDA graph, or the graph gives other features."""


def fitting_batch_frames(height: int, width: int) -> int:
    """The size of a batch of frames of this size."""
    return max(1, min(BATCH_PIXELS // (height * width), MAX_BATCH_FRAMES))


class CUDARuntime:
    """A `Runtime`. The features of a frame depend neither on what else is encoded nor on how frames were submitted:
    every batch has the same size, what is missing in it is filled up, and the same kernels compute it.

    "full" is float32 without TF32; "reduced" is bfloat16, as on a CPU: with its range, which is float32's, no network
    overflows, as it may in float16.

    Raises InputError where the precision is reduced and this GPU cannot compute with it, CaptureError where the encoder
    cannot be captured.
    """

    def __init__(self, frame_encoder: FrameEncoder, *, precision: Precision = "full") -> None:
        if precision == "reduced" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise InputError("precision reduced: this GPU cannot compute in bfloat16: use full")
        self.frame_encoder = frame_encoder
        height, width = frame_encoder.preprocess.size
        self._shape = (height, width, 3)
        size = fitting_batch_frames(height, width)
        graph = _capture(PixelEncoder(frame_encoder, precision=precision), (size, *self._shape))
        self._batches = SharedBatches([_Place(graph) for _ in range(NUM_PLACES)], batch_size=size)

    def submit(self, pixels: np.ndarray) -> Future[Tensor]:
        """See `Runtime.submit`. Raises ValueError on no frames, or frames of another size."""
        if pixels.shape[1:] != self._shape or pixels.dtype != np.uint8:
            expected = f"uint8 [frames, {', '.join(map(str, self._shape))}]"
            raise ValueError(f"pixels: got {pixels.dtype} {list(pixels.shape)}, expected {expected}")
        return self._batches.submit(pixels)


class PixelEncoder(nn.Module):
    """Frames uint8 [n, h, w, 3] of the encoder's size -> features float32 [n, F], where the encoder is, with a copy of
    its weights; nothing is copied to the device on the way."""

    def __init__(self, frame_encoder: FrameEncoder, *, precision: Precision) -> None:
        super().__init__()
        self._layout = LAYOUTS[precision]
        self._dtype = torch.float32 if precision == "full" else torch.bfloat16
        self._preprocess = frame_encoder.preprocess
        self._channels = frame_encoder.preprocess.channel_values(next(frame_encoder.encoder.parameters()).device)
        self.encoder = deepcopy(frame_encoder.encoder).to(memory_format=self._layout)
        _cast(self.encoder, self._dtype)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        images = self._preprocess.normalize(pixels, self._channels)
        images = images.to(self._dtype).contiguous(memory_format=self._layout)
        return self.encoder.encode_batch(images).float()


def _cast(network: nn.Module, dtype: torch.dtype) -> None:
    """All of it but batch norms, which compute in float32 whatever they are given."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            continue
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(dtype)


def _capture(encode: PixelEncoder, shape: tuple[int, ...]) -> "_Graph":
    """The encoder for batches uint8 of this shape [n, h, w, 3], compared with what it was captured from."""
    device = next(encode.parameters()).device
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    try:
        with torch.cuda.device(device), exact_float32():
            graph = _Graph(encode, shape, device)
            expected = encode(torch.from_numpy(noise).to(device)).cpu()
        found = _Place(graph)([noise])
    except RuntimeError as error:  # whatever torch raises for what cannot be captured, or finds no memory
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CaptureError(f"the encoder cannot be captured as a CUDA graph ({reason})") from error
    worst = float((found - expected).abs().max() / expected.abs().max())
    if not worst <= CAPTURE_TOLERANCE:
        raise CaptureError(f"the encoder as a CUDA graph gives other features, by {worst:.1e}")
    return graph


class _Graph:
    """An encoder captured for batches of one size, which it computes one after the other on a stream of its own."""

    def __init__(self, encode: Callable[[Tensor], Tensor], shape: tuple[int, ...], device: torch.device) -> None:
        self._encode = encode  # a graph reads the weights where they lay: freed, they would be another's memory
        self.pixels = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._graph = torch.cuda.CUDAGraph()
        self._stream = torch.cuda.Stream(device)
        self._lock = Lock()
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            for _ in range(3):  # libraries set themselves up, which cannot be captured
                encode(self.pixels)
            # other threads may use the device meanwhile
            with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
                self.features = encode(self.pixels)

    def start(self, pixels: Tensor, features: Tensor, *, after: torch.cuda.Stream, done: torch.cuda.Event) -> None:
        """Encode pixels that `after` brings to the device into `features`, which are there when `done` has happened."""
        with self._lock, torch.cuda.stream(self._stream):
            self._stream.wait_stream(after)
            self.pixels.copy_(pixels, non_blocking=True)
            self._graph.replay()
            features.copy_(self.features, non_blocking=True)
            done.record()


class _Place:
    """A `BatchEncoder`: memory in which a batch is gathered and copied to the device, while others are encoded."""

    def __init__(self, graph: _Graph) -> None:
        self._graph = graph
        self._stream = torch.cuda.Stream(graph.pixels.device)
        self._done = torch.cuda.Event(blocking=True)  # who waits leaves its core to a decoder
        self._staged_pixels = torch.zeros(graph.pixels.shape, dtype=torch.uint8, pin_memory=True)
        self._gathered = self._staged_pixels.numpy()
        self._pixels = torch.zeros_like(graph.pixels)
        self._features = torch.zeros(graph.features.shape, pin_memory=True)
        torch.cuda.synchronize(graph.pixels.device)  # the zeros are written on another stream

    def __call__(self, parts: list[np.ndarray]) -> Tensor:
        """See `BatchEncoder`. A batch that is not full is filled up with frames of an earlier one."""
        num_frames = sum(map(len, parts))
        np.concatenate(parts, out=self._gathered[:num_frames])
        with torch.cuda.stream(self._stream):
            self._pixels.copy_(self._staged_pixels, non_blocking=True)
        self._graph.start(self._pixels, self._features, after=self._stream, done=self._done)
        self._done.synchronize()
        return self._features[:num_frames].clone()
