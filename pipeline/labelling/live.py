"""Labels of a video while it is being made: a camera, a stream, a file that grows.

One thread captures frames, another one labels those that wait: all, or as many per second as the model was trained on.
Where the network is too slow for the video, the newest frames wait, and the oldest are dropped and counted. So the
delay of the labels does not grow any further.

n frames, K classes.
"""

import csv
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Condition, Event, Thread
from types import TracebackType
from typing import NamedTuple, Self, TextIO

import numpy as np
from torch import Tensor

from pipeline.annotations.frame_layout import frame_layout
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import LIVE, names_of_frame
from pipeline.annotations.write import frame_row
from pipeline.errors import InputError
from pipeline.labelling.live_decisions import live_decisions
from pipeline.labelling.model import Model
from pipeline.labelling.reading import check_numbers
from pipeline.models.stream import LabelStream
from pipeline.video.frame_choice import LiveChoice
from pipeline.video.sources.base import LiveFrame, LiveSource

BUFFER_FRAMES = 16
BATCH_FRAMES = 4  # with more, the first would wait for the last; for a file, as many as the encoder takes
WAIT_SECONDS = 0.1  # how long `take` waits for a frame


class LiveLabel(NamedTuple):
    """The label of a frame.

    Attributes:
        frame_index: The number of the frame among those captured, from 0; frames that were dropped, or that a model of
            fewer frames per second does not see, have no label.
        seconds: The time of the frame.
        label: The index of the class; or int8 [K], where classes overlap.
        probability: The tempered probability of the class; or [K], of all classes, where they overlap.
        delay_seconds: The time from the capture of the frame to its label.
    """

    frame_index: int
    seconds: float
    label: int | np.ndarray
    probability: float | np.ndarray
    delay_seconds: float

    def describe(self, label_space: LabelSpace) -> str:
        """Name the classes of the frame with their probabilities."""
        if label_space.is_exclusive:
            return f"{label_space.name(int(self.label))} {self.probability:.2f}"
        names = names_of_frame(np.asarray(self.label), label_space)
        of_class = dict(zip(label_space.classes, np.asarray(self.probability).tolist(), strict=True))
        return ", ".join(f"{name} {of_class[name]:.2f}" for name in names or ()) or "no class"


class Captured(NamedTuple):
    """A frame with its number."""

    frame_index: int
    frame: LiveFrame


class FrameBuffer:
    """The newest frames, on their way from the thread that captures to the one that labels.

    When it is full the oldest frame is dropped, or `put` waits for room.

    Args:
        capacity: The maximum number of frames.

    Attributes:
        num_captured: The number of frames that were put in or skipped.
        num_dropped: The number of frames that were dropped.
        closed: Whether no more frames come.
        error: The error for which it was closed; None at the end of the video.
    """

    def __init__(self, capacity: int) -> None:
        self.num_captured = self.num_dropped = 0
        self.closed = False
        self.error: Exception | None = None
        self._capacity = capacity
        self._frames: deque[Captured] = deque()
        self._changed = Condition()

    def put(self, frame: LiveFrame, *, waits: bool) -> None:
        """Add a frame. A frame that comes when the buffer is closed does not count as captured.

        Args:
            frame: The frame.
            waits: Whether to wait for room in a full buffer, instead of dropping the oldest frame.
        """
        with self._changed:
            if waits:
                self._changed.wait_for(lambda: len(self._frames) < self._capacity or self.closed)
            if self.closed:
                return
            if len(self._frames) == self._capacity:
                self._frames.popleft()
                self.num_dropped += 1
            self._frames.append(Captured(self.num_captured, frame))
            self.num_captured += 1
            self._changed.notify_all()

    def skip(self) -> None:
        """Count a frame that needs no label, as the model sees fewer frames per second."""
        with self._changed:
            self.num_captured += not self.closed

    def close(self, error: Exception | None = None) -> None:
        """End the capture: no more frames come.

        Args:
            error: The error that ended it; None at the end of the video.
        """
        with self._changed:
            self.closed = True
            self.error = self.error or error
            self._changed.notify_all()

    def take(self, most: int) -> list[Captured] | None:
        """Take the oldest frames out.

        Args:
            most: The maximum number of frames.

        Returns:
            The frames; none where none comes within WAIT_SECONDS. None: there are no more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self.closed, WAIT_SECONDS)
            if not self._frames and self.closed:
                return None
            taken = [self._frames.popleft() for _ in range(min(most, len(self._frames)))]
            self._changed.notify_all()
            return taken


class LiveSession:
    """One source that one model labels.

    The state of the network is carried over dropped frames and lost connections: what it remembers of a long video
    is worth more than what the gap disturbs.

    Args:
        source: The source.
        model: The labeller.
        stop: Set it, from a signal handler or another thread, to end: what was captured is still labelled.
        buffer_frames: The maximum number of frames that wait. A label is as late as the network takes for these and one
            batch more, and as the frames of the model's look-ahead.

    Attributes:
        source: The source.
        num_labelled: The number of frames that have a label.
        wait_frames: The number of later frames that each label waits for at least: those of the look-ahead, and with
            Viterbi decoding those that decide about short segments.
        latest: The newest label; None before there is one.

    Raises:
        InputError: As in `check_model`.
    """

    def __init__(self, source: LiveSource, model: Model, *, stop: Event, buffer_frames: int = BUFFER_FRAMES) -> None:
        check_model(model)
        assert model.runtime is not None  # or check_model had raised
        self.source = source
        self.num_labelled = 0
        self.latest: LiveLabel | None = None
        self._delays: Counter[int] = Counter()  # frames, by milliseconds: a session may last for months
        self._runtime, self._labeller = model.runtime, model.checkpoint.labeller
        self._stream = LabelStream(self._labeller)
        self._decisions = live_decisions(model.spec)
        self.wait_frames = self._labeller.look_ahead + self._decisions.lag
        self._ahead: deque[Captured] = deque()  # frames that wait for those of the look-ahead
        self._choice = LiveChoice(model.frame_rate)
        self._unlabelled: deque[tuple[Captured, np.ndarray]] = deque()  # with their probabilities [K]
        self._stop = stop
        self._buffer = FrameBuffer(buffer_frames)

    @property
    def num_captured(self) -> int:
        """The number of frames that were captured."""
        return self._buffer.num_captured

    @property
    def num_dropped(self) -> int:
        """The number of frames that were dropped."""
        return self._buffer.num_dropped

    def labels(self, *, seconds: float | None = None) -> Iterator[list[LiveLabel]]:
        """Label the source. Call it once.

        It ends with the source, when `stop` is set, or after `seconds`. Where the source waits for a lost connection at
        that time, the end may take as long as its timeouts.

        Args:
            seconds: The time from the first frame after which labelling ends; None for no limit.

        Yields:
            The labels that are new, several times a second, also where there are none.

        Raises:
            Exception: What the source raises, after the last label.
        """
        self._warm_up()
        thread = Thread(target=self._capture, name="capture", daemon=True)
        thread.start()
        first: float | None = None
        try:
            while (taken := self._buffer.take(self._max_batch_frames())) is not None:
                yield self._label(taken) if taken else []
                first = first or (taken[0].frame.captured if taken else None)
                if first and seconds is not None and time.monotonic() >= first + seconds:
                    self._stop.set()
                if self._stop.is_set():
                    self._buffer.close()
            yield self._decide(self._stream.end())
            yield self._named(self._decisions.end())
            if self._buffer.error is not None:
                raise self._buffer.error
        finally:
            self._stop.set()
            self._buffer.close()
            thread.join()  # as long as the source's timeouts: a program that ends while it is within OpenCV aborts

    def delay_seconds(self, quantile: float) -> float:
        """Return the delay, to a millisecond, that a part of all labels did not exceed; NaN before there is a label.

        Args:
            quantile: The part, from 0 to 1.
        """
        num_frames = 0
        for milliseconds in sorted(self._delays):
            num_frames += self._delays[milliseconds]
            if num_frames >= quantile * self.num_labelled:
                return milliseconds / 1000
        return float("nan")

    def _capture(self) -> None:
        try:
            with closing(self.source.frames(self._stop)) as frames:
                for frame in frames:
                    if self._choice.is_chosen(frame.seconds):
                        self._buffer.put(frame, waits=self.source.can_wait)
                    else:
                        self._buffer.skip()
                    if self._buffer.closed:
                        break
        except Exception as error:
            self._buffer.close(error)
        else:
            self._buffer.close()

    def _max_batch_frames(self) -> int:
        most = self._runtime.frame_encoder.spec.batch_size
        return most if self.source.can_wait else min(most, BATCH_FRAMES)

    def _warm_up(self) -> None:
        """Run the network once before frames wait: its first call takes many times as long as the next."""
        height, width = self._runtime.frame_encoder.preprocess.size
        LabelStream(self._labeller).add(self._encode(np.zeros((1, height, width, 3), np.uint8)))

    def _encode(self, pixels: np.ndarray) -> Tensor:
        """Compute the features [n, F] of frames uint8 [n, h, w, 3]."""
        return self._runtime.submit(pixels).result()

    def _label(self, taken: Sequence[Captured]) -> list[LiveLabel]:
        self._ahead.extend(taken)
        return self._decide(self._stream.add(self._encode(np.stack([captured.frame.pixels for captured in taken]))))

    def _decide(self, probabilities: np.ndarray) -> list[LiveLabel]:
        """Return the labels that are known with the probabilities [n, K] of the oldest frames without."""
        check_numbers(self.source.name, probabilities)
        probabilities, found = self._decisions.add(probabilities)
        self._unlabelled.extend((self._ahead.popleft(), of_frame) for of_frame in probabilities)
        return self._named(found)

    def _named(self, found: Sequence[int | np.ndarray]) -> list[LiveLabel]:
        """Return the labels of the oldest frames without one, as they were found."""
        now, named = time.monotonic(), []
        for label in found:
            (frame_index, frame), probabilities = self._unlabelled.popleft()
            delay = now - frame.captured
            probability = self._decisions.of_label(label, probabilities)
            named.append(LiveLabel(frame_index, frame.seconds, label, probability, delay))
            self._delays[round(delay * 1000)] += 1
        self.num_labelled += len(named)
        self.latest = named[-1] if named else self.latest
        return named


class LiveFile:
    """A file `<stem>.live.csv`, to which rows are appended as they come, for `tail -f`. Use it in a `with` statement.

    A file that exists already is kept, as a live video cannot be labelled again: a number is added to the name.

    Args:
        folder: The folder of the file.
        stem: The stem of its name.
        label_space: The classes.

    Attributes:
        path: The file.
    """

    def __init__(self, folder: Path, stem: str, label_space: LabelSpace) -> None:
        self._layout = frame_layout(label_space)
        self.path, self._file = _create(folder, stem)
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(self._layout.header)
        self._file.flush()

    def append(self, labels: Sequence[LiveLabel]) -> None:
        """Write the rows of `labels`, so that other programs can read them immediately."""
        self._writer.writerows(
            frame_row(live.frame_index, live.seconds, live.label, live.probability, self._layout) for live in labels
        )
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _create(folder: Path, stem: str) -> tuple[Path, TextIO]:
    number = 1
    while True:
        path = folder / (f"{stem}{LIVE}" if number == 1 else f"{stem}-{number}{LIVE}")
        try:
            return path, path.open("x", encoding="utf-8", newline="")
        except FileExistsError:
            number += 1


def check_model(model: Model) -> None:
    """Raise InputError where the model cannot label a frame before the end of the video, or it is several."""
    if model.members:
        raise InputError(f"got {len(model.members)} models, expected one: live labelling averages no models")
    labeller = model.checkpoint.labeller
    if model.checkpoint.frame_encoder is None:
        raise InputError("the model was trained on ready features: live labelling needs one that sees frames")
    if model.checkpoint.frame_encoder.preprocess.follow_motion:
        raise InputError(
            "the model follows what moves, for which it reads the whole video first: train one without"
            " dataset.pixels.follow_motion"
        )
    if labeller.head == "many_to_one":
        raise InputError(
            "the model gives one label for a whole video, and so has none before its end: train one with"
            " `dvc exp run -S labeller=gru`"
        )
    if not labeller.causal:
        raise InputError(
            "the model reads videos in both directions, and so names no frame before the end: train one that reads"
            " forward only, with `dvc exp run -S labeller=gru`"
        )
