"""Videos whose frames show their own number: a row of black and white squares, the binary digits of the number."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

NUM_BITS = 12
WIDTH, HEIGHT = 320, 180
SQUARE = 24  # the side of a square, in pixels
LEFT, TOP = (WIDTH - NUM_BITS * SQUARE) // 2, 30

# A function of JavaScript that reads the number from a canvas or a video; -1 where a square is neither black nor white.
READ_NUMBER = f"""source => {{
  const width = source.videoWidth || source.width, height = source.videoHeight || source.height;
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
  context.drawImage(source, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height).data;
  const scale = width / {WIDTH};
  let number = 0;
  for (let bit = 0; bit < {NUM_BITS}; bit++) {{
    const x = Math.round(scale * ({LEFT} + {SQUARE} * (bit + 0.5))), y = Math.round(scale * ({TOP} + {SQUARE} / 2));
    const grey = pixels[4 * (y * width + x) + 1];
    if (grey > 90 && grey < 165) return -1;
    number = 2 * number + (grey >= 165);
  }}
  return number;
}}"""


def numbered_frame(number: int) -> np.ndarray:
    """uint8 [HEIGHT, WIDTH, 3]: the number as squares, above a ramp that moves."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    pixels = np.stack([(x + 3 * number) % 256, (y + number) % 256, (x + y) % 256], axis=-1).astype(np.uint8)
    pixels[TOP - 8 : TOP + SQUARE + 8, :] = 128
    for bit in range(NUM_BITS):
        is_set = number >> (NUM_BITS - 1 - bit) & 1
        pixels[TOP : TOP + SQUARE, LEFT + bit * SQUARE : LEFT + (bit + 1) * SQUARE] = 255 if is_set else 0
    return pixels


def read_number(pixels: np.ndarray) -> int:
    """Read the number from a frame of any size."""
    scale = pixels.shape[1] / WIDTH
    xs = [round(scale * (LEFT + SQUARE * (bit + 0.5))) for bit in range(NUM_BITS)]
    row = pixels[round(scale * (TOP + SQUARE / 2)), xs, 1]
    assert not ((row > 90) & (row < 165)).any(), row
    return int("".join(str(int(grey >= 165)) for grey in row), 2)


@contextmanager
def keeping_priority() -> Iterator[None]:
    """Undo what SVT-AV1 does where root runs it: it gives the thread that opens it the highest real-time priority.

    All threads and processes that it starts later would have it too, and let all others of the machine starve.
    """
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def write_numbered(
    path: Path,
    *,
    codec: str = "libx264",
    num_frames: int = 100,
    ticks: Sequence[int] | None = None,
    clock: int = 1000,
    rate: int = 25,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a video of numbered frames.

    Args:
        path: The file; its suffix decides the container.
        codec: FFmpeg's name of the encoder.
        num_frames: The number of frames, at a constant rate.
        ticks: The times of the frames, in 1 / `clock` s; None for a constant rate.
        clock: The ticks per second.
        rate: In frames per second.
        pix_fmt: FFmpeg's name of the pixel format.
        options: Options of the encoder.
        container_options: Options of the container.
    """
    with keeping_priority(), av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        base = Fraction(1, rate if ticks is None else clock)
        if ticks is not None:
            stream.time_base = stream.codec_context.time_base = base
        for number, tick in enumerate(range(num_frames) if ticks is None else ticks):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            frame.pts, frame.time_base = tick, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
