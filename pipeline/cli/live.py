"""`framescribe label`, live: its arguments, its status line, and its end; it imports nothing heavy before it runs."""

import argparse
import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from pipeline.cli.console import EXIT_SOME_FAILED, make_writable, parse_place
from pipeline.errors import InputError, describe_failure
from pipeline.stores.address import Address
from pipeline.text.wording import counted

if TYPE_CHECKING:
    from tqdm import tqdm

    from pipeline.annotations.label_space import LabelSpace
    from pipeline.labelling.live import LiveSession
    from pipeline.labelling.model import Model
    from pipeline.video.sources.base import LiveSource

FILE_IDLE_SECONDS, STREAM_IDLE_SECONDS = 10.0, 600.0
STORES = ("s3:", "s3a:", "s3n:", "gs:", "gcs:")  # the beginnings of addresses that people mean as those of stores
STATUS_SECONDS = 1.0
# Options of `label` that are not for live labelling, and their defaults.
FOR_FINISHED = {
    "formats": "csv",
    "overlay": False,
    "on_error": "skip",
    "jobs": None,
    "cluster": None,
    "overwrite": False,
    "track": False,
    "static_threshold": None,
    "frame_rate": None,
    "reader": "auto",
}
TEXT = """
Live, from --camera N, a stream's address (rtsp://, http://, udp://, ...) or --follow FILE, one at a time:
  <name>.live.csv        the columns of .frames.csv, one row per frame as soon as it has its label, until Ctrl-C
A frame is numbered when it is captured; one that was dropped, because the network is too slow for the video, has no
row. A finished video behind an address is labelled to its end, with all of its frames. A source that was lost or is
damaged, and so was labelled only in part, is reported with exit code 1.
"""


def video_or_address(text: str) -> Path | Address | str:
    """Parse an argument of `label`: a path, a store's address, or a stream's, which stays as it is written."""
    return text if "://" in text and not text.lower().startswith(STORES) else parse_place(text)


def add_arguments(label: argparse.ArgumentParser) -> None:
    """Add the arguments of live labelling to the command `label`."""
    live = label.add_argument_group("live")
    live.add_argument("--camera", type=int, metavar="N", help="label what this camera sees; the first one is 0")
    live.add_argument("--follow", type=Path, metavar="FILE", help="label a file that is still being written (mkv, ts)")
    live.add_argument(
        "--idle",
        type=float,
        metavar="SECONDS",
        help="end when no new frame came for this long: of a file that is followed (default:"
        f" {FILE_IDLE_SECONDS:g}), or of a camera or stream that was lost, which is opened again and again until then"
        f" (default: {STREAM_IDLE_SECONDS:g})",
    )
    live.add_argument("--seconds", type=float, metavar="SECONDS", help="end this long after the first frame")
    live.add_argument(
        "--buffer",
        type=int,
        metavar="FRAMES",
        help="how many frames may wait before the oldest is dropped (default: 16); with fewer, labels come sooner",
    )


def is_live(options: argparse.Namespace) -> bool:
    """Return whether any argument is one of live labelling.

    Raises:
        InputError: There is nothing to label.
    """
    options_of_live = (options.camera, options.follow, options.idle, options.seconds, options.buffer)
    if not options.inputs and options.camera is None and options.follow is None:
        raise InputError("nothing to label: expected videos or folders, the address of a stream, --camera or --follow")
    return any(value is not None for value in options_of_live) or any(isinstance(i, str) for i in options.inputs)


def run(options: argparse.Namespace) -> int:
    """Label one source until it ends, or until Ctrl-C or SIGTERM.

    Returns:
        The exit code: 1 where the source was lost or damaged after its first frame, which is reported on stderr.

    Raises:
        InputError: The call is refused.
    """
    _check(options)
    from pipeline.labelling.live import check_model
    from pipeline.labelling.model import load_model

    model = load_model(options.model, device=options.device, precision=options.precision, batch_frames=1)
    try:
        check_model(model)
    except InputError as error:
        raise InputError(f"{', '.join(options.model)}: {error}") from None
    source = _source(options, model)
    make_writable(options.out)
    try:
        return _label(source, model, options)
    except (InputError, OSError):
        raise
    except Exception as error:  # a decoder or a runtime may raise anything
        failure = describe_failure(error, options.out)
        print(f"framescribe: {source.name}: could not be labelled further: {failure}", file=sys.stderr)
        return EXIT_SOME_FAILED


def _label(source: "LiveSource", model: "Model", options: argparse.Namespace) -> int:
    """Label a source, and return the exit code. Raises what the source and the model raise."""
    from tqdm import tqdm

    from pipeline.labelling.live import BUFFER_FRAMES, LiveFile, LiveSession
    from pipeline.video.types import VideoError

    with _signals() as stop, tqdm(bar_format="{desc}", leave=False, disable=None) as bar:
        session = LiveSession(source, model, stop=stop, buffer_frames=options.buffer or BUFFER_FRAMES)
        batches = session.labels(seconds=options.seconds)
        _say(f"{source.name}: waiting for its first frame; Ctrl-C ends")
        first = next((labels for labels in batches if session.num_captured), None)
        if first is None:
            print("labelled 0 frames: ended before the first one")
            return 0
        with LiveFile(options.out, source.stem, model.spec.label_space) as file:
            wait = session.wait_frames
            waits = f"; each label waits for {counted(wait, 'more frame')}" if wait else ""
            _say(f"{source.name}: is labelled into {file.path}{waits}")
            status = _Status(bar, session, model.spec.label_space)
            try:
                for labels in chain([first], batches):
                    file.append(labels)
                    status.show()
            except VideoError as error:
                print(f"framescribe: {error}", file=sys.stderr)
                return EXIT_SOME_FAILED
            finally:
                bar.close()
                print(_summary(session, file.path))
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raise an InputError with every problem that can be found without the model."""
    sources = [*options.inputs, *(s for s in (options.camera, options.follow) if s is not None)]
    problems = []
    if finished := [path for path in options.inputs if not isinstance(path, str)]:
        problems.append(
            f"{finished[0]}: finished videos are labelled by a call of their own, without what is live; a file that"
            f" is still being written, with --follow {finished[0]}"
        )
    elif len(sources) != 1:
        problems.append(f"got {len(sources)} live inputs, expected one: start a command for each")
    for name, default in FOR_FINISHED.items():
        if getattr(options, name) != default:
            problems.append(f"--{name.replace('_', '-')}: is for finished videos only: leave it out")
    if options.camera is not None and options.camera < 0:
        problems.append(f"--camera: got {options.camera}, expected 0 or more")
    if not isinstance(options.out, Path):
        problems.append(
            f"--out: got {options.out}, expected a folder of this machine: live labels are appended row by row"
        )
    for name in ("idle", "seconds"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            problems.append(f"--{name}: got {value}, expected more than 0 seconds")
    if options.buffer is not None and options.buffer < 1:
        problems.append(f"--buffer: got {options.buffer}, expected at least 1 frame")
    if problems:
        raise InputError("\n".join(problems))


def _source(options: argparse.Namespace, model: "Model") -> "LiveSource":
    from pipeline.video.sources.camera import CameraSource
    from pipeline.video.sources.growing_file import GrowingFile
    from pipeline.video.sources.stream import StreamSource

    assert model.checkpoint.frame_encoder is not None  # or it had been refused
    preprocess = model.checkpoint.frame_encoder.preprocess
    if options.follow is not None:
        return GrowingFile(options.follow, preprocess, idle_seconds=options.idle or FILE_IDLE_SECONDS)
    idle_seconds = options.idle or STREAM_IDLE_SECONDS
    if options.camera is not None:
        return CameraSource(options.camera, preprocess, idle_seconds=idle_seconds, on_event=_say)
    return StreamSource(options.inputs[0], preprocess, idle_seconds=idle_seconds, on_event=_say)


@contextmanager
def _signals() -> Iterator[Event]:
    """Yield an event that the first SIGINT or SIGTERM sets, so that no row is cut; the next signal ends immediately."""
    stop = Event()

    def end(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt(number)
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Status:
    """A line on the terminal, which is updated each second."""

    def __init__(self, bar: "tqdm[NoReturn]", session: "LiveSession", label_space: "LabelSpace") -> None:
        self._bar, self._session, self._label_space = bar, session, label_space
        self._shown, self._num_shown = time.monotonic(), session.num_labelled

    def show(self) -> None:
        """Update the line if a second has passed since the last update."""
        now, session = time.monotonic(), self._session
        passed = now - self._shown
        if passed < STATUS_SECONDS:
            return
        rate = (session.num_labelled - self._num_shown) / passed
        self._shown, self._num_shown = now, session.num_labelled
        parts = [] if session.source.connected else ["LOST"]
        if (latest := session.latest) is not None:
            parts.append(latest.describe(self._label_space))
            parts.append(f"delay {1000 * latest.delay_seconds:.0f} ms")
        parts.append(f"{rate:.1f} frames/s")
        parts.append(f"{session.num_dropped} dropped")
        parts.append(counted(session.source.num_reconnections, "reconnection"))
        self._bar.set_description_str(" | ".join(parts))


def _summary(session: "LiveSession", path: Path) -> str:
    numbers = [
        f"labelled {counted(session.num_labelled, 'frame')} into {path}",
        f"{session.num_dropped} dropped",
        counted(session.source.num_reconnections, "reconnection"),
    ]
    if session.num_labelled:
        median, most = (f"{1000 * session.delay_seconds(q):.0f} ms" for q in (0.5, 0.95))
        numbers.append(f"delay {median} (median), {most} (95th percentile)")
        wait = session.wait_frames
        numbers += [f"the wait for {counted(wait, 'more frame')} included"] if wait else []
    return ", ".join(numbers)


def _say(event: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {event}", file=sys.stderr)
