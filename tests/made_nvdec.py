"""NVDEC without a GPU: FFmpeg decodes on the CPU, the frames become NV12 there, and Triton's interpreter scales them.

All else of `pipeline.video.readers.nvdec` is as it is with a GPU.
"""

from threading import Lock
from typing import Any

import av
import pytest
import torch
from interpreter import interpreted
from torch import Tensor

from pipeline.video.readers import nvdec

decoded_planes = nvdec._planes


def stand_in(patch: pytest.MonkeyPatch) -> None:
    """Decode on the CPU what a GPU would decode."""
    (kernel,) = interpreted("pipeline.video.nv12")
    patch.setattr(kernel, "BLOCK", 1 << 12)  # the interpreter runs one program after the other

    def planes(frame: av.VideoFrame) -> tuple[Tensor, Tensor]:
        return decoded_planes(frame.reformat(format="nv12"))

    one_at_a_time = Lock()  # as the interpreter replaces functions of Triton while it runs

    def scale(*arguments: Any) -> Tensor:
        with one_at_a_time:
            return kernel.scale_nv12(*arguments)

    patch.setattr(torch.cuda, "is_available", lambda: True)
    patch.setattr(nvdec, "_hardware", lambda: None)
    patch.setattr(nvdec, "_planes", planes)
    patch.setattr(nvdec, "scale_nv12", scale)
