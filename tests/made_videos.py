"""Small videos that tests make when they need them."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

MEDIA = Path(os.environ.get("FRAMESCRIBE_DATA", Path(__file__).parents[1].parent / "shared" / "data")) / "media"

MakeVideo = Callable[..., Path]


def moving_scene(num_frames: int, *, width: int, height: int) -> np.ndarray:
    """uint8 [T, H, W, 3], where every frame is clearly different: a ramp that moves and changes its colour."""
    t, y, x = np.meshgrid(np.arange(num_frames), np.arange(height), np.arange(width), indexing="ij")
    channels = [(x * 5 + t * 9) % 256, (y * 3 + t * 5) % 256, (t * 17) % 256 + 0 * x]
    return np.stack(channels, axis=-1).astype(np.uint8)


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    def make(
        name: str = "clip.mp4",
        *,
        codec: str = "libx264",
        size: tuple[int, int] = (64, 48),
        ticks: list[int] | None = None,
        num_frames: int = 40,
        pix_fmt: str = "yuv420p",
        options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
    ) -> Path:
        """Make a video of 25 frames per second, or with frames at `ticks` of 1/1000 s, with options of FFmpeg."""
        path = tmp_path / name
        ticks = [40 * index for index in range(num_frames)] if ticks is None else ticks
        with av.open(str(path), "w", options=container_options or {}) as container:
            stream = container.add_stream(codec, rate=25, options=options or {})
            stream.width, stream.height = size
            stream.pix_fmt = pix_fmt
            if codec == "libx264":
                stream.codec_context.time_base = Fraction(1, 1000)
            for tick, pixels in zip(ticks, moving_scene(len(ticks), width=size[0], height=size[1]), strict=True):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = tick, Fraction(1, 1000)
                if codec != "libx264":
                    frame.pts, frame.time_base = tick // 40, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


def decode_fully(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The reference: pixels [T, H, W, 3], rotated upright, and pts_seconds [T] of a full decode by PyAV."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    pixels = [np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90) for frame in frames]
    # PyAV may hand out times in decoding order (packed B-frames in avi); frames always come in presentation order.
    return np.stack(pixels), np.sort([float(frame.time) for frame in frames])
