"""The kernel gives the pixels of FFmpeg's swscale, run by Triton's interpreter, and compiles for sm_90."""

import av
import numpy as np
import pytest
import torch
import triton
from interpreter import interpreted
from made_videos import MEDIA
from torch.utils.dlpack import from_dlpack
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from pipeline.video import nv12
from pipeline.video.region import Region
from pipeline.video.scaling import Scaler

(INTERPRETED,) = interpreted("pipeline.video.nv12")
INTERPRETED.BLOCK = 1 << 12  # the interpreter runs one program after the other
FLAT = 24  # grey levels between neighbours, at most


def picture(width: int, height: int, *, seed: int = 0) -> av.VideoFrame:
    """A picture of soft colours with a few hard edges, as NV12."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 0.25 + 0.5 * torch.rand(1, 3, 4, 4, generator=generator)
    pixels = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)[0]
    pixels[:, height // 3 : height // 2, width // 4 : width // 2] = torch.rand(3, 1, 1, generator=generator)
    rgb = (pixels.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(format="nv12")


def by_kernel(frame: av.VideoFrame, region: Region) -> np.ndarray:
    luma, chroma = (from_dlpack(plane.__dlpack__()) for plane in frame.planes)
    box = region.crop_box(width=frame.width, height=frame.height)
    colors = nv12.colors_of(int(frame.colorspace), full_range=int(frame.color_range) == 2)
    return INTERPRETED.scale_nv12(luma, chroma, box, region.size, colors).numpy()


def difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, int]:
    """The mean difference in grey levels, and the largest one away from edges."""
    levels = np.abs(found.astype(int) - expected)
    around = np.pad(expected.astype(int), ((1, 1), (1, 1), (0, 0)), "edge")
    height, width, _ = expected.shape
    near = np.stack([around[y : y + height, x : x + width] for y in range(3) for x in range(3)])
    is_flat = (near.max(0) - near.min(0)).max(2) <= FLAT
    assert is_flat.mean() > 0.3
    return float(levels.mean()), int(levels[is_flat].max())


@pytest.mark.parametrize(
    ("width", "height", "size", "limits"),
    [
        pytest.param(640, 360, (224, 224), (0.2, 2), id="smaller in both directions"),
        pytest.param(640, 360, (36, 48), (0.2, 2), id="much smaller"),
        pytest.param(426, 240, (96, 300), (0.3, 8), id="smaller in different shares"),
        pytest.param(176, 144, (224, 224), (0.5, 16), id="larger"),
        # Without scaling, swscale takes a shorter way, which is less exact.
        pytest.param(320, 240, (240, 320), (2.5, 6), id="as it is"),
    ],
)
def test_pixels_are_those_of_swscale(width: int, height: int, size: tuple[int, int], limits: tuple[float, int]) -> None:
    mean, worst = difference(
        by_kernel(picture(width, height), Region(size)), Scaler(Region(size))(picture(width, height))
    )
    assert mean <= limits[0]
    assert worst <= limits[1]


@pytest.mark.parametrize("matrix", nv12.RED_AND_BLUE)
@pytest.mark.parametrize("color_range", [1, 2])
def test_every_matrix_and_range_is_that_of_swscale(matrix: int, color_range: int) -> None:
    frame, region = picture(320, 180), Region((90, 120))
    frame.colorspace, frame.color_range = matrix, color_range
    mean, worst = difference(by_kernel(frame, region), Scaler(region)(frame))
    assert mean <= 0.3
    assert worst <= 4


def test_a_part_of_the_frame_is_that_part_and_nothing_beside_it() -> None:
    frame = picture(320, 240)
    region = Region(size=(60, 80), crop=(101, 57, 120, 90))
    mean, worst = difference(by_kernel(frame, region), Scaler(region)(frame))
    assert mean <= 2
    assert worst <= 6
    outside = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 255, np.uint8), format="rgb24").reformat(format="nv12")
    for plane, of_outside, part in zip(
        frame.planes, outside.planes, (np.s_[57:147, 101:221], np.s_[28:74, 100:222]), strict=True
    ):
        inner = np.frombuffer(plane, np.uint8).reshape(plane.height, -1).copy()
        changed = np.frombuffer(of_outside, np.uint8).reshape(plane.height, -1).copy()
        changed[part] = inner[part]
        of_outside.update(changed.tobytes())
    outside.colorspace, outside.color_range = frame.colorspace, frame.color_range
    assert np.array_equal(by_kernel(outside, region), by_kernel(frame, region))


def test_black_white_and_grey_have_no_colour() -> None:
    for level, expected in ((16, 0), (235, 255), (126, 128)):
        luma, chroma = torch.full((6, 8), level, dtype=torch.uint8), torch.full((3, 4, 2), 128, dtype=torch.uint8)
        colors = nv12.colors_of(1, full_range=False)
        assert (INTERPRETED.scale_nv12(luma, chroma, (0, 0, 8, 6), (5, 5), colors) == expected).all()


def test_odd_sizes_have_chroma_for_their_last_row_and_column() -> None:
    luma, chroma = torch.full((5, 7), 126, dtype=torch.uint8), torch.full((3, 4, 2), 128, dtype=torch.uint8)
    found = INTERPRETED.scale_nv12(luma, chroma, (0, 0, 7, 5), (10, 14), nv12.colors_of(6, full_range=False))
    assert (found == 128).all()


@pytest.mark.parametrize(
    "name", ["mmaction2__demo.mp4", "torchcodec__bt601_limited_range.mp4", "torchcodec__bt709_full_range.mp4"]
)
def test_real_videos_have_the_pixels_of_swscale(name: str) -> None:
    if not (MEDIA / name).exists():
        pytest.skip(f"no {MEDIA / name}")
    with av.open(str(MEDIA / name)) as container:
        frame = next(container.decode(video=0))
    region = Region(size=(224, 224))
    planes = frame.reformat(format="nv12")
    mean, worst = difference(by_kernel(planes, region), Scaler(region)(frame))
    assert mean <= 0.1
    assert worst <= 2


def test_the_kernel_compiles_for_sm_90_without_spills() -> None:
    kernel = nv12._scale_kernel
    taps = {"LUMA_X": 18, "LUMA_Y": 10, "CHROMA_X": 9, "CHROMA_Y": 5, "BLOCK": nv12.BLOCK}
    kinds = {"luma": "*u8", "chroma": "*u8", "out": "*u8"}
    integers = {"luma_row", "chroma_row", "first_x", "first_y", "last_x", "last_y", "width", "num_pixels"}
    signature = {
        name: "constexpr" if name in taps else kinds.get(name, "i32" if name in integers else "fp32")
        for name in kernel.arg_names
    }
    source = ASTSource(kernel, signature, {(kernel.arg_names.index(name),): value for name, value in taps.items()})
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
    assert ".local" not in compiled.asm["ptx"]


@pytest.mark.gpu
def test_a_gpu_gives_the_pixels_of_the_interpreter() -> None:
    frame = picture(640, 360)
    luma, chroma = (from_dlpack(plane.__dlpack__()).clone() for plane in frame.planes)
    colors = nv12.colors_of(1, full_range=False)
    expected = INTERPRETED.scale_nv12(luma, chroma, (0, 0, 640, 360), (224, 224), colors)
    found = nv12.scale_nv12(luma.cuda(), chroma.cuda(), (0, 0, 640, 360), (224, 224), colors).cpu()
    assert (found.int() - expected.int()).abs().max() <= 1
