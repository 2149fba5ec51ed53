"""How late live labels come, on a stream from this machine.

docs/results/benchmarks/live.md has the results.

    python benchmarks/live.py --video clip.mp4

ffmpeg encodes the video (H.264, no frame held back) at 640x360 and 25 frames a second and serves it over HTTP; another
process of this machine, so it takes a part of its cores. Each frame bears the time when it was handed to ffmpeg, in
blocks of black and white. The model is EfficientNet-Lite0 at 224x224 with a causal GRU of random weights, or --model.

captured   from when FFmpeg had decoded a frame until its label was known: the delay that `framescribe label` shows
sent       from when the frame was handed to ffmpeg: with encoding, sending and decoding

The first seconds are not counted: a stream begins with a burst of what it held back while it was opened.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from itertools import cycle
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # where servers are started

import av
import imageio_ffmpeg
import numpy as np
import torch
from label import make_model
from made_ports import free_port

from pipeline.labelling.live import LiveSession
from pipeline.labelling.model import Model, load_model
from pipeline.video.preprocess import Preprocess
from pipeline.video.sources.base import LiveFrame
from pipeline.video.sources.stream import StreamSource

WIDTH, HEIGHT, FRAME_RATE = 640, 360, 25
NUM_BITS, BLOCK = 16, 40  # milliseconds up to 65 s, in a row of blocks along the top
MAX_SECONDS = 60
NOT_COUNTED_SECONDS = 3.0


def main() -> None:
    """Print the delays of both precisions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True, help="what is sent, again and again")
    parser.add_argument("--model", help="checkpoint folder of a causal labeller that sees videos, or MLflow URI")
    parser.add_argument("--rounds", type=int, default=3, help="in which full and reduced precision take turns")
    parser.add_argument("--seconds", type=float, default=20.0, help=f"of each turn, less than {MAX_SECONDS}")
    options = parser.parse_args()
    if not NOT_COUNTED_SECONDS < options.seconds < MAX_SECONDS:
        parser.error(f"--seconds: got {options.seconds}, expected {NOT_COUNTED_SECONDS:g} to {MAX_SECONDS}")
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    pictures = read_pictures(options.video)
    with tempfile.TemporaryDirectory() as folder:
        location = options.model or str(make_model(Path(folder) / "model", bidirectional=False))
        models = {
            name: load_model(location, device="auto", precision=name, batch_frames=1) for name in ("full", "reduced")
        }
        look_ahead = models["full"].spec.labeller.look_ahead
        print(f"a label waits for {look_ahead} more frames, {1000 * look_ahead / FRAME_RATE:.0f} ms")
        turns: dict[str, list[Turn]] = {name: [] for name in models}
        for _ in range(options.rounds):
            for name, model in models.items():
                turns[name].append(take_turn(model, pictures, options.seconds))
    print(f"load of the last 5 minutes, its own with it: {os.getloadavg()[1]:.1f}")
    for name, of_precision in turns.items():
        print_delays(name, of_precision)


def read_pictures(path: Path) -> list[np.ndarray]:
    """Read up to ten seconds of a video, uint8 [HEIGHT, WIDTH, 3] for each frame."""
    pictures = []
    with av.open(str(path)) as video:
        for frame in video.decode(video=0):
            pictures.append(frame.to_ndarray(format="rgb24", width=WIDTH, height=HEIGHT))
            if len(pictures) == 10 * FRAME_RATE:
                break
    return pictures


class Turn(NamedTuple):
    """The delays of one turn, without its first seconds.

    Attributes:
        captured: float64 [T], the delays in milliseconds of the labels after the capture of their frames.
        sent: float64 [T], the delays in milliseconds of the labels after the frames were sent.
        num_dropped: The number of frames that were dropped between them.
    """

    captured: np.ndarray
    sent: np.ndarray
    num_dropped: int


def take_turn(model: Model, pictures: list[np.ndarray], seconds: float) -> Turn:
    """Send a stream and label it.

    Args:
        model: The labeller.
        pictures: The frames to send, in a loop, uint8 [HEIGHT, WIDTH, 3] each.
        seconds: The duration of the labelling.
    """
    port = free_port()
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "quiet", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{WIDTH}x{HEIGHT}", "-r", str(FRAME_RATE), "-i", "-", "-threads", "1", "-c:v", "libx264"]
    command += ["-preset", "veryfast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-flush_packets", "1"]
    command += ["-f", "mpegts", "-listen", "1", f"http://127.0.0.1:{port}/live"]
    stop = Event()
    with subprocess.Popen(command, stdin=subprocess.PIPE) as sender:
        start = time.monotonic()
        thread = Thread(target=send, args=[sender, pictures, start, stop])
        thread.start()
        time.sleep(2)  # until FFmpeg listens
        assert model.checkpoint.frame_encoder is not None
        source = Marked(f"http://127.0.0.1:{port}/live", model.checkpoint.frame_encoder.preprocess, start)
        session = LiveSession(source, model, stop=stop)
        labels = [label for new in session.labels(seconds=seconds) for label in new]
        thread.join()
        sender.kill()
    counted = [label for label in labels if label.seconds > NOT_COUNTED_SECONDS]
    captured = np.array([label.delay_seconds for label in counted])
    sent = captured + np.array([source.underway_seconds[label.frame_index] for label in counted])
    num_captured = counted[-1].frame_index - counted[0].frame_index + 1
    return Turn(1000 * captured, 1000 * sent, num_captured - len(counted))


def print_delays(name: str, turns: list[Turn]) -> None:
    """Print the median and the 95th percentile of the delays of all turns."""
    captured, sent = (np.concatenate([getattr(turn, what) for turn in turns]) for what in ("captured", "sent"))
    print(f"{name}: {len(captured)} frames, {sum(turn.num_dropped for turn in turns)} dropped")
    for what, delays in (("captured", captured), ("sent", sent)):
        median, most = np.quantile(delays, [0.5, 0.95])
        print(f"  {what:10} median {median:6.0f} ms   95th percentile {most:6.0f} ms")


def send(sender: "subprocess.Popen[bytes]", pictures: list[np.ndarray], start: float, stop: Event) -> None:
    """Send pictures at FRAME_RATE, each marked with the milliseconds since the start.

    Args:
        sender: FFmpeg, which encodes the pixels on its stdin.
        pictures: uint8 [HEIGHT, WIDTH, 3] each, sent in a loop.
        start: The value of the monotonic clock at the start, in seconds.
        stop: It ends the sending.
    """
    assert sender.stdin is not None
    for number, picture in enumerate(cycle(pictures)):
        wait = start + number / FRAME_RATE - time.monotonic()
        if stop.wait(max(0.0, wait)):
            return
        milliseconds = round(1000 * (time.monotonic() - start)) % 2**NUM_BITS
        bits = (milliseconds >> np.arange(NUM_BITS)) & 1
        marked = picture.copy()
        marked[:BLOCK] = np.repeat(255 * bits, BLOCK).astype(np.uint8)[None, :, None]
        try:
            sender.stdin.write(marked.tobytes())
            sender.stdin.flush()
        except BrokenPipeError:  # FFmpeg has ended
            return


class Marked(StreamSource):
    """A stream whose frames carry the time at which they were sent.

    Args:
        address: The address of the stream.
        preprocess: The region of interest and the size of the frames.
        start: The value of the monotonic clock at the start of the sending, in seconds.

    Attributes:
        underway_seconds: For each frame, the time from when it was sent until it was captured.
    """

    def __init__(self, address: str, preprocess: Preprocess, start: float) -> None:
        super().__init__(address, preprocess, idle_seconds=MAX_SECONDS)
        self._start = start
        self.underway_seconds: list[float] = []

    def frames(self, stop: Event) -> Generator[LiveFrame, None, None]:
        """See `StreamSource.frames`."""
        for frame in super().frames(stop):
            self.underway_seconds.append(frame.captured - self._start - self._sent(frame.pixels))
            yield frame

    def _sent(self, pixels: np.ndarray) -> float:
        height, width = pixels.shape[:2]
        middles = ((np.arange(NUM_BITS) + 0.5) * BLOCK * width / WIDTH).astype(int)
        bits = pixels[int(BLOCK / 2 * height / HEIGHT), middles].mean(axis=1) > 127
        return float(bits @ 2 ** np.arange(NUM_BITS)) / 1000


if __name__ == "__main__":
    main()
