"""Read damaged copies of a video in a separate process: python damaged_copies.py VIDEO FIRST_SEED STOP_SEED

Prints the outcome of each copy as a line of JSON. A reader that crashes, or hangs, ends only this process.
"""

import faulthandler
import json
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipeline.video.ffmpeg import video_stream
from pipeline.video.open import open_scaled
from pipeline.video.preprocess import Preprocess
from pipeline.video.types import OpenScaled, ScaledReader, VideoError

PREPROCESS = Preprocess(size=(24, 32))
TIMEOUT_SECONDS = 60
KINDS = ("bit", "bits", "zeros", "noise", "cut", "lost", "twice")


def damage(content: bytes, seed: int) -> tuple[str, bytes]:
    """Do one kind of damage: flip bits, blank a part or fill it with noise, cut the end off, lose bytes or write them
    twice. Returns the kind and the damaged content."""
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    changed = bytearray(content)
    start = int(rng.integers(len(content)))
    length = min(int(rng.integers(1, max(2, len(content) // 8))), len(content) - start)
    if kind in ("bit", "bits"):
        for place in rng.integers(0, len(content), 1 if kind == "bit" else int(rng.integers(2, 60))):
            changed[place] ^= 1 << int(rng.integers(8))
    elif kind in ("zeros", "noise"):
        changed[start : start + length] = bytes(length) if kind == "zeros" else rng.bytes(length)
    elif kind == "cut":
        del changed[max(1, start) :]
    elif kind == "lost":
        del changed[start : start + length]
    else:
        changed[start:start] = changed[start : start + length]
    return kind, bytes(changed)


def read_whole(reader: ScaledReader) -> tuple[list[float], np.ndarray]:
    batches = list(reader.read())
    return [float(t) for batch in batches for t in batch.pts_seconds], np.concatenate([b.pixels for b in batches])


def read_as_labelling_does(path: Path, opening: OpenScaled = open_scaled) -> dict[str, Any]:
    """Read a file like labelling does. `outcome` says whether it was read as a whole file, read in part, or refused."""
    try:
        with opening(path, PREPROCESS, surveyed=False) as reader:
            times, pixels = read_whole(reader)
        return {"outcome": "read", "times": times, "pixels": pixels}
    except VideoError as error:
        refusal = str(error)
    try:
        reader = opening(path, PREPROCESS, surveyed=True)
    except VideoError as error:
        return {"outcome": "refused", "why": [refusal, str(error)]}
    with reader:
        times, pixels = read_whole(reader)
        report = reader.report()
    assert report.decoded_frames + report.substituted_frames == len(times)
    assert report.failed_frames >= report.substituted_frames
    outcome = "partly" if report.problems else "read"
    return {"outcome": outcome, "times": times, "pixels": pixels, "why": [refusal, *report.problems]}


def decode_plainly(path: Path) -> list[float | None] | None:
    """The reference: the times of the frames from PyAV. None if PyAV raises an error or marks a frame as damaged."""
    frames = []
    try:
        with av.open(str(path)) as container, suppress(IndexError):  # PyAV's, at the end of a file: see `ffmpeg.demux`
            for frame in container.decode(video_stream(path, container)):
                frames.append((frame.time, frame.is_corrupt))
    except (av.FFmpegError, UnicodeDecodeError, VideoError):
        return None
    return None if any(corrupt for _, corrupt in frames) else [seconds for seconds, _ in frames]


def main() -> None:
    video, first, stop = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    content = video.read_bytes()
    undamaged = read_as_labelling_does(video)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"damaged{video.suffix}"
        for seed in range(first, stop):
            kind, changed = damage(content, seed)
            path.write_bytes(changed)
            faulthandler.dump_traceback_later(TIMEOUT_SECONDS, exit=True)  # until the next copy
            start = time.perf_counter()
            found = read_as_labelling_does(path)
            seconds = time.perf_counter() - start
            line = {"seed": seed, "kind": kind, "seconds": seconds, "reference": decode_plainly(path)}
            line |= compare(found.pop("pixels", None), undamaged["pixels"])
            print(json.dumps(line | found), flush=True)


def compare(pixels: np.ndarray | None, undamaged: np.ndarray) -> dict[str, Any]:
    """Compare what was read of a copy, if anything, to the pixels of the undamaged video, both uint8 [T, h, w, 3]."""
    if pixels is None:
        return {"same": False}
    num_lost = len(undamaged) - len(pixels)
    difference = None if num_lost else int(np.abs(pixels.astype(int) - undamaged).max())
    return {"same": difference == 0, "num_lost": num_lost, "largest_difference": difference}


if __name__ == "__main__":
    main()
