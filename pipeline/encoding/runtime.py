"""The choice of the fastest runtime for an encoder.

OpenVINO runs it on a CPU and a CUDA graph on a GPU. Torch is the reference, and runs it where neither of them can. A
runtime takes the pixels of frames that have the encoder's size and gives their features later, so that its caller can
decode the next frames in the meantime.
"""

import sys
from pathlib import Path

from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.encoding.cuda_graph import CaptureError, CUDARuntime
from pipeline.encoding.openvino import ExportError, OpenVINORuntime
from pipeline.encoding.torch_runtime import TorchRuntime
from pipeline.encoding.types import BATCH_FRAMES, Precision, Runtime


def exports_beside(checkpoint: Path) -> Path:
    """Return the folder of exported encoders that this checkpoint folder shares with its neighbours."""
    return checkpoint.parent / ".openvino"


def open_runtime(
    frame_encoder: FrameEncoder,
    *,
    precision: Precision = "full",
    exports: Path | None = None,
    batch_frames: int = BATCH_FRAMES,
) -> Runtime:
    """Open the fastest runtime for an encoder on the device where it is.

    Args:
        frame_encoder: The encoder.
        precision: "full" gives the features that torch computes in float32, to about five digits; "reduced" computes
            in bfloat16.
        exports: The folder where an encoder exported for OpenVINO is kept. None: it is exported again each time.
        batch_frames: On a CPU, the number of frames that are encoded together: 1 where they come one at a time, as from
            a camera.

    Raises:
        InputError: The precision is reduced and this CPU or GPU cannot compute with it.
    """
    compiled = open_compiled(frame_encoder, precision=precision, exports=exports, batch_frames=batch_frames)
    return TorchRuntime(frame_encoder, precision=precision) if compiled is None else compiled


def open_compiled(
    frame_encoder: FrameEncoder,
    *,
    precision: Precision = "full",
    exports: Path | None = None,
    batch_frames: int = BATCH_FRAMES,
) -> Runtime | None:
    """Open a runtime as `open_runtime` does, but return None where only torch can encode.

    The reason is then printed to stderr in one sentence.
    """
    try:
        if frame_encoder.device.type == "cpu":
            return OpenVINORuntime(frame_encoder, precision=precision, exports=exports, batch_frames=batch_frames)
        return CUDARuntime(frame_encoder, precision=precision)
    except (ImportError, ExportError, CaptureError) as error:
        print(f"encoding with torch, which is slower: {error}", file=sys.stderr)
    return None
