"""An encoder on a CUDA device, captured as a CUDA graph for batches of one size that all callers share.

Eager torch leaves such a device idle between its many small kernels, the more so while other threads decode and compete
for the interpreter. A graph is one call. While it computes a batch, others are gathered and copied to the device.

Shapes: n frames, h x w pixels, F features.
"""

from collections.abc import Callable
from concurrent.futures import Future
from copy import deepcopy
from functools import partial
from threading import Lock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.encoding.batches import SharedBatches
from pipeline.encoding.pixels import PixelEncoder
from pipeline.encoding.types import Precision
from pipeline.errors import InputError, first_line
from pipeline.models.encoders.encoder import Encoder
from pipeline.rnn.precision import exact_float32

BATCH_PIXELS = 64 * 224 * 224  # a batch of this size keeps a large GPU busy and takes 1 to 2 GB of its memory
MAX_BATCH_FRAMES = 256  # limits a batch of small frames
NUM_PLACES = 4  # batches that are gathered, copied or computed at the same time
# cuDNN has the most kernels for contiguous float32, which uses no tensor cores. Tensor cores read bfloat16 in the
# layout "channels last".
LAYOUTS = {"full": torch.contiguous_format, "reduced": torch.channels_last}
# The features of noise from the graph are compared with those of the same kernels outside of it. This is the maximum
# difference, relative to the largest feature. The two should be equal.
CAPTURE_TOLERANCE = 1e-3


class CaptureError(Exception):
    """The encoder cannot be captured as a CUDA graph, or the graph computes different features."""


def fitting_batch_frames(height: int, width: int) -> int:
    """Return the number of frames in a batch, for frames of this height and width in pixels."""
    return max(1, min(BATCH_PIXELS // (height * width), MAX_BATCH_FRAMES))


class CUDARuntime:
    """A `Runtime` on a CUDA device.

    The features of a frame depend neither on what else is encoded nor on how the frames were submitted: every batch is
    filled up to the same size, and the same kernels compute it.

    Args:
        frame_encoder: The encoder, on the CUDA device that computes.
        precision: "full" is float32 without TF32. "reduced" is bfloat16, as on a CPU: it has the range of float32, so
            that no network overflows, as it may in float16.

    Raises:
        InputError: The precision is reduced and this GPU cannot compute with it.
        CaptureError: The encoder cannot be captured.
    """

    def __init__(self, frame_encoder: FrameEncoder, *, precision: Precision = "full") -> None:
        if precision == "reduced" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise InputError("precision reduced: this GPU cannot compute in bfloat16: use full")
        self.frame_encoder = frame_encoder
        height, width = frame_encoder.preprocess.size
        self._shape = (height, width, 3)
        size = fitting_batch_frames(height, width)
        graph = _capture(make_pixel_encoder(frame_encoder, precision=precision), (size, *self._shape))
        self._batches = SharedBatches([_Place(graph) for _ in range(NUM_PLACES)], batch_size=size)

    def submit(self, pixels: np.ndarray) -> Future[Tensor]:
        """See `Runtime.submit`.

        Raises:
            ValueError: There are no frames, or they have another size.
        """
        if pixels.shape[1:] != self._shape or pixels.dtype != np.uint8:
            expected = f"uint8 [frames, {', '.join(map(str, self._shape))}]"
            raise ValueError(f"pixels: got {pixels.dtype} {list(pixels.shape)}, expected {expected}")
        return self._batches.submit(pixels)


def make_pixel_encoder(frame_encoder: FrameEncoder, *, precision: Precision) -> PixelEncoder:
    """The encoder where it is, with a copy of its weights; nothing is copied to the device on the way."""
    channels = frame_encoder.preprocess.channel_values(frame_encoder.device)
    return PixelEncoder(
        _Network(frame_encoder.encoder, precision), partial(frame_encoder.preprocess.normalize, channels=channels)
    )


class _Network(nn.Module):
    """A copy of an encoder that computes in a precision: images float32 [n, 3, h, w] -> features float32 [n, F]."""

    def __init__(self, encoder: Encoder, precision: Precision) -> None:
        super().__init__()
        self._layout = LAYOUTS[precision]
        self._dtype = torch.float32 if precision == "full" else torch.bfloat16
        self.encoder = deepcopy(encoder).to(memory_format=self._layout)
        _cast(self.encoder, self._dtype)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        images = images.to(self._dtype).contiguous(memory_format=self._layout)
        return self.encoder.encode_batch(images).float()


def _cast(network: nn.Module, dtype: torch.dtype) -> None:
    """Convert the whole network but its batch norms, which compute in float32 whatever their input is."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            continue
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(dtype)


def _capture(encode: PixelEncoder, shape: tuple[int, ...]) -> "_Graph":
    """Capture the encoder for batches uint8 of this shape [n, h, w, 3], and compare it with the original."""
    device = next(encode.parameters()).device
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    try:
        with torch.cuda.device(device), exact_float32():
            graph = _Graph(encode, shape, device)
            expected = encode(torch.from_numpy(noise).to(device)).cpu()
        found = _Place(graph)([noise])
    except RuntimeError as error:  # torch raises it where something cannot be captured, or memory runs out
        raise CaptureError(f"the encoder cannot be captured as a CUDA graph ({first_line(error)})") from error
    worst = float((found - expected).abs().max() / expected.abs().max())
    if not worst <= CAPTURE_TOLERANCE:
        raise CaptureError(f"the encoder as a CUDA graph gives other features, by {worst:.1e}")
    return graph


class _Graph:
    """An encoder captured for batches of one size, which are computed one after the other on a stream of its own."""

    def __init__(self, encode: Callable[[Tensor], Tensor], shape: tuple[int, ...], device: torch.device) -> None:
        self._encode = encode  # keeps the weights, which the graph reads at their addresses, from being freed
        self.pixels = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._graph = torch.cuda.CUDAGraph()
        self._stream = torch.cuda.Stream(device)
        self._lock = Lock()
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            for _ in range(3):  # libraries initialise themselves, which cannot be captured
                encode(self.pixels)
            # other threads may use the device meanwhile
            with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
                self.features = encode(self.pixels)

    def start(self, pixels: Tensor, features: Tensor, *, after: torch.cuda.Stream, done: torch.cuda.Event) -> None:
        """Encode pixels, which the stream `after` copies to the device, into `features`; `done` marks their end."""
        with self._lock, torch.cuda.stream(self._stream):
            self._stream.wait_stream(after)
            self.pixels.copy_(pixels, non_blocking=True)
            self._graph.replay()
            features.copy_(self.features, non_blocking=True)
            done.record()


class _Place:
    """A `BatchEncoder` with its own memory, where a batch is gathered and copied while others are encoded."""

    def __init__(self, graph: _Graph) -> None:
        self._graph = graph
        self._stream = torch.cuda.Stream(graph.pixels.device)
        self._done = torch.cuda.Event(blocking=True)  # a thread that waits leaves its core to a decoder
        self._staged_pixels = torch.zeros(graph.pixels.shape, dtype=torch.uint8, pin_memory=True)
        self._gathered = self._staged_pixels.numpy()
        self._pixels = torch.zeros_like(graph.pixels)
        self._features = torch.zeros(graph.features.shape, pin_memory=True)
        torch.cuda.synchronize(graph.pixels.device)  # the zeros are written on another stream

    def __call__(self, parts: list[np.ndarray]) -> Tensor:
        """Encode a batch, see `BatchEncoder`. One that is not full is filled up with frames of an earlier one."""
        num_frames = sum(map(len, parts))
        np.concatenate(parts, out=self._gathered[:num_frames])
        with torch.cuda.stream(self._stream):
            self._pixels.copy_(self._staged_pixels, non_blocking=True)
        self._graph.start(self._pixels, self._features, after=self._stream, done=self._done)
        self._done.synchronize()
        return self._features[:num_frames].clone()
