"""Encoders where they are fast: OpenVINO on a CPU, CUDA graphs on a GPU; torch as the reference, and where nothing else
goes.

n frames, h x w pixels, F features. A runtime takes the pixels of frames that have the encoder's size and gives their
features later, so that whoever feeds it decodes the next frames meanwhile.
"""

import sys
from pathlib import Path

from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.encoding.cuda_graph import CaptureError, CUDARuntime
from pipeline.encoding.openvino import ExportError, OpenVINORuntime
from pipeline.encoding.torch_runtime import TorchRuntime
from pipeline.encoding.types import BATCH_FRAMES, Precision, Runtime


def exports_beside(checkpoint: Path) -> Path:
    """The folder where the encoder of a checkpoint folder is kept once exported, with those of its neighbours."""
    return checkpoint.parent / ".openvino"


def open_runtime(
    frame_encoder: FrameEncoder,
    *,
    precision: Precision = "full",
    exports: Path | None = None,
    batch_frames: int = BATCH_FRAMES,
) -> Runtime:
    """The fastest runtime for an encoder where it is.

    precision  "full": features as torch gives them in float32, to about five digits; "reduced": bfloat16
    exports    the folder where an encoder exported for OpenVINO is kept; None: it is exported anew each time
    at_once    on a CPU: how many frames are fastest together; 1 where they come one at a time, as from a camera

    Raises InputError where the precision is reduced and this CPU or GPU cannot compute with it.
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
    """As `open_runtime`; None, and a sentence on stderr that says why, where only torch can encode."""
    try:
        if next(frame_encoder.encoder.parameters()).device.type == "cpu":
            return OpenVINORuntime(frame_encoder, precision=precision, exports=exports, batch_frames=batch_frames)
        return CUDARuntime(frame_encoder, precision=precision)
    except (ImportError, ExportError, CaptureError) as error:
        print(f"encoding with torch, which is slower: {error}", file=sys.stderr)
    return None
