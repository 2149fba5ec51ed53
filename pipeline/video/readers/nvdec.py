"""Reading with NVDEC, the decoder of NVIDIA's GPUs: frames stay on the GPU until they have the encoder's size.

FFmpeg demuxes and checks the packets as it does for PyAV, whose index, times and end hold here too. What NVDEC does not
decode, or decodes without a word where a picture is damaged, is left to PyAV: see `open_nvdec`.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import av
import numpy as np
import torch
from av.codec.hwaccel import HWAccel
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from pipeline.errors import InputError
from pipeline.files import InputFile
from pipeline.video.ffmpeg import decode_packets, open_file, video_stream
from pipeline.video.nv12 import RED_AND_BLUE, colors_of, scale_nv12
from pipeline.video.orientation import OrientationsByAngle
from pipeline.video.readers.agreement import check_first_scaled_frame
from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.region import Region
from pipeline.video.types import DecodeReport, VideoError, VideoIndex

CODECS = ("h264", "hevc")
PIXEL_FORMATS = ("yuv420p", "yuvj420p")  # 8 bits and 4:2:0: NVDEC gives all of them as NV12
MIN_SIDE, MAX_SIDE = 144, 4096  # what every NVDEC of the last ten years decodes, of both codecs
FULL_RANGE = 2  # AVCOL_RANGE_JPEG


def open_nvdec(video: VideoIndex, region: Region | None) -> PyAVReader:
    """Open a video for NVDEC, or for PyAV where only that reads it correctly.

    Args:
        video: The index of the video.
        region: The region of interest, and its size; None for whole frames.

    Raises:
        InputError: As `PyAVReader`; or there is no CUDA device.
        VideoError: As `PyAVReader`.
    """
    if not torch.cuda.is_available():
        raise InputError("reader nvdec decodes on an NVIDIA GPU, and torch sees none here: use auto or pyav")
    if not _suits(video, region):
        return PyAVReader(video, region)
    try:
        return NvdecReader(video, region)
    except (VideoError, RuntimeError):  # NVDEC does not decode this codec, or nothing at this moment
        return PyAVReader(video, region)


def _hardware() -> HWAccel:
    return HWAccel("cuda", str(torch.cuda.current_device()), allow_software_fallback=False, is_hw_owned=True)


def _suits(video: VideoIndex, region: Region | None) -> bool:
    """Return whether NVDEC may give the same frames as PyAV, by what is known before a frame is decoded."""
    properties, picture = video.properties, video.picture
    sides = (properties.width, properties.height)
    is_as_stored = picture.is_upright and not properties.rotation_degrees
    return (
        video.is_lost is None
        and picture.pixel_format in PIXEL_FORMATS
        and not picture.is_interlaced
        and min(sides) >= MIN_SIDE
        and max(sides) <= MAX_SIDE
        and not any(side % 2 for side in sides)  # of which PyAV would not pass on the last chroma
        and (is_as_stored or region is None or region.crop is None)
    )


class NvdecReader(PyAVReader):
    """A `ScaledReader` that decodes and scales on the current CUDA device.

    Args:
        video: The index of the video.
        region: See `PyAVReader`.

    Raises:
        RuntimeError: NVDEC does not decode the codec, or there is no CUDA device.
        VideoError: As `PyAVReader`; also where NVDEC cannot be used now, or its first frame differs from that of PyAV.
    """

    def report(self) -> DecodeReport:
        """See `ScaledReader.report`."""
        return replace(super().report(), reader="nvdec")

    def _scaler(self, region: Region) -> "_DeviceScaler":
        return _DeviceScaler(region)

    def _opened(self, path: InputFile) -> av.container.InputContainer:
        container = open_file(path, hwaccel=_hardware())
        context = video_stream(path, container).codec_context
        if context.name not in CODECS:
            container.close()
            raise RuntimeError(f"NVDEC is used for {' and '.join(CODECS)}, not for {context.name}")
        return container

    def _decoded(self, container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
        return decode_packets(container, stream, frame_threads=False)

    def _pixels(self, frame: av.VideoFrame) -> Tensor:
        pixels = super()._pixels(frame)
        assert isinstance(pixels, Tensor)
        if self._position == 0:
            check_first_scaled_frame(self._video, self._region, pixels.cpu().numpy(), name="nvdec")
        return pixels

    def _stacked(self, frames: list[Any]) -> np.ndarray:
        # One copy of a batch waits for the GPU once. What a frame occupies there is free again before: the kernel that
        # reads it and NVDEC, which writes the next one, take their turns on one stream.
        stacked: np.ndarray = torch.stack(frames).cpu().numpy()
        return stacked


class _DeviceScaler:
    """Scales frames as `Scaler` does, where they are.

    Args:
        region: The region of interest, and its size.
    """

    def __init__(self, region: Region) -> None:
        self._region = region
        self._orientations = OrientationsByAngle()

    def shown_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """See `Scaler.shown_size`."""
        return self._orientations.of(frame).shown(frame.width, frame.height)

    def __call__(self, frame: av.VideoFrame) -> Tensor:
        """Scale a frame: uint8 [h, w, 3], RGB.

        Raises:
            VideoError: The frame is not NV12, or of a matrix that is not known here.
        """
        matrix = int(frame.colorspace)
        luma, chroma = _planes(frame)
        if matrix not in RED_AND_BLUE or chroma.ndim != 3 or luma.dtype != torch.uint8:
            raise VideoError(f"nvdec gives frames of another kind: {list(chroma.shape)}, {luma.dtype}, matrix {matrix}")
        orientation = self._orientations.of(frame)
        box, size = (0, 0, frame.width, frame.height), orientation.shown(*self._region.size)
        if self._region.crop is not None:  # of frames that are shown as they are stored
            box = self._region.crop_box(width=frame.width, height=frame.height)
        colors = colors_of(matrix, full_range=int(frame.color_range) == FULL_RANGE)
        pixels = scale_nv12(luma, chroma, box, size, colors)
        pixels = pixels.transpose(0, 1) if orientation.is_transposed else pixels
        return pixels.flip([1] * orientation.is_mirrored_across + [0] * orientation.is_mirrored_down)


def _planes(frame: av.VideoFrame) -> tuple[Tensor, Tensor]:
    """Return the luma uint8 [H, W] and the chroma uint8 [H / 2, W / 2, 2] of a frame, where they are."""
    luma, chroma = (from_dlpack(plane.__dlpack__()) for plane in frame.planes[:2])
    return luma, chroma
