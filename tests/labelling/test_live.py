"""Live labels are those of the finished video, come in time, and every dropped frame is counted."""

import csv
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_models import CLASSES, SETTINGS, save_video_model, write_other_container
from torch import Tensor, nn

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segment_model import SegmentModel
from pipeline.errors import InputError
from pipeline.labelling.live import Captured, FrameBuffer, LiveFile, LiveLabel, LiveSession, check_model
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.video import label_video
from pipeline.models.labeller import LabellerOutput, LabellerState
from pipeline.postprocessing.confidence import calibrate_confidence
from pipeline.postprocessing.smoothing import CausalSmoother
from pipeline.postprocessing.temperature import tempered
from pipeline.postprocessing.viterbi import CausalDecoder
from pipeline.video.sources.base import LiveFrame
from pipeline.video.sources.growing_file import GrowingFile
from pipeline.video.types import VideoError


@pytest.fixture(scope="module")
def model(video_model):
    return load_model(str(video_model), device="cpu")


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not any(thread.name == "capture" for thread in threading.enumerate())


class Made:
    """A source whose frames are available immediately. Frames after the first one wait for `go_on`, if it is given, and
    `error` is raised at the end.
    """

    name, stem, connected, num_reconnections = "made", "made", True, 0

    def __init__(
        self, num_frames: int, *, can_wait: bool = False, go_on: Event | None = None, error: Exception | None = None
    ) -> None:
        generator = np.random.default_rng(0)
        self.pixels = generator.integers(0, 256, (num_frames, 32, 32, 3), dtype=np.uint8)
        self.can_wait, self._go_on, self._error = can_wait, go_on, error
        self.all_made = Event()

    def frames(self, stop: Event) -> Generator[LiveFrame, None, None]:
        for number, pixels in enumerate(self.pixels):
            if number == 1 and self._go_on:
                assert self._go_on.wait(30)
            yield LiveFrame(pixels, number / 25, time.monotonic())
        self.all_made.set()
        if self._error:
            raise self._error


class Endless:
    """A source with one frame per `seconds`. It does not check for a stop while it waits."""

    name, stem, connected, num_reconnections, can_wait = "endless", "endless", True, 0, False

    def __init__(self, seconds: float = 0.01) -> None:
        self._seconds = seconds

    def frames(self, stop: Event) -> Generator[LiveFrame, None, None]:
        start = time.monotonic()
        while True:
            yield LiveFrame(np.zeros((32, 32, 3), np.uint8), time.monotonic() - start, time.monotonic())
            time.sleep(self._seconds)


def with_encoder(model: Model, features: Callable[[np.ndarray], Tensor]) -> Model:
    """The same model with another encoder, for batches of frames uint8 [n, 32, 32, 3]."""

    def submit(pixels: np.ndarray) -> SimpleNamespace:
        assert len(pixels) <= frames.spec.batch_size
        return SimpleNamespace(result=lambda: features(pixels))

    frames, changed = model.runtime.frame_encoder, replace(model)
    changed.__dict__["runtime"] = SimpleNamespace(frame_encoder=frames, submit=submit)
    return changed


def slow(model: Model, seconds: float) -> Model:
    def features(pixels: np.ndarray) -> Tensor:
        time.sleep(seconds)
        return model.runtime.submit(pixels).result()

    return with_encoder(model, features)


def expected_probabilities(model: Model, pixels: np.ndarray) -> np.ndarray:
    return model.checkpoint.labeller.predict([model.runtime.submit(pixels).result()])


def label_all(session: LiveSession, **options: float) -> list[LiveLabel]:
    return [label for labels in session.labels(**options) for label in labels]


def test_a_growing_file_gets_the_labels_of_the_finished_file(model, tmp_path, stop):
    finished = write_other_container(tmp_path / "clip.mkv", "libx264")
    growing = tmp_path / "growing.mkv"
    growing.touch()

    def record() -> None:
        content = finished.read_bytes()
        with growing.open("ab", buffering=0) as file:
            for start in range(0, len(content), len(content) // 12):
                file.write(content[start : start + len(content) // 12])
                time.sleep(0.05)

    recording = Thread(target=record)
    recording.start()
    source = GrowingFile(growing, model.runtime.frame_encoder.preprocess, idle_seconds=0.5)
    session = LiveSession(source, model, stop=stop, buffer_frames=4)
    labels = label_all(session)
    recording.join()
    expected = label_video(finished, model)
    assert [label.frame_index for label in labels] == list(range(len(expected.labels)))
    assert [label.label for label in labels] == expected.labels.tolist()
    np.testing.assert_allclose([label.probability for label in labels], expected.probabilities, atol=1e-5)
    np.testing.assert_array_equal([label.seconds for label in labels], expected.pts_seconds)
    assert (session.num_captured, session.num_dropped) == (len(labels), 0)


def test_a_model_of_fewer_frames_per_second_labels_those_alone(model, stop):
    source = Made(60, can_wait=True)
    session = LiveSession(source, model.at_rate(5), stop=stop)
    labels, kept = label_all(session), list(range(0, 60, 5))
    assert [label.frame_index for label in labels] == kept
    assert (session.num_captured, session.num_labelled, session.num_dropped) == (60, 12, 0)
    probabilities = expected_probabilities(model, source.pixels[kept])
    np.testing.assert_allclose([label.probability for label in labels], probabilities.max(1), atol=1e-5)


@pytest.mark.parametrize("buffer_frames", [1, 5])
def test_a_slow_network_gets_the_newest_frames_and_dropped_frames_are_counted(model, stop, buffer_frames):
    begun = Event()
    source = Made(60, go_on=begun)

    def features(pixels: np.ndarray) -> Tensor:
        if pixels.any():  # not the frame of the warm-up
            begun.set()
            assert source.all_made.wait(30)  # all other frames arrive while it encodes the first one
        return model.runtime.submit(pixels).result()

    session = LiveSession(source, with_encoder(model, features), stop=stop, buffer_frames=buffer_frames)
    labels = label_all(session)
    kept = [0, *range(60 - buffer_frames, 60)]
    assert [label.frame_index for label in labels] == kept
    assert [label.seconds for label in labels] == [index / 25 for index in kept]
    assert (session.num_captured, session.num_labelled, session.num_dropped) == (60, len(kept), 59 - buffer_frames)
    probabilities = expected_probabilities(model, source.pixels[kept])
    np.testing.assert_allclose([label.probability for label in labels], probabilities.max(1), atol=1e-5)
    assert [label.label for label in labels] == probabilities.argmax(1).tolist()


def test_a_source_that_can_wait_loses_no_frame_with_a_slow_network(model, stop):
    source = Made(20, can_wait=True)
    session = LiveSession(source, slow(model, 0.02), stop=stop, buffer_frames=3)
    assert [label.frame_index for label in label_all(session)] == list(range(20))
    assert session.num_dropped == 0


def test_the_delay_is_measured_and_its_quantiles_are_those_of_all_labels(model, stop):
    session = LiveSession(Made(12, can_wait=True), slow(model, 0.1), stop=stop, buffer_frames=1)
    delays = np.array([label.delay_seconds for label in label_all(session)])
    assert (delays > 0.099).all()
    for quantile in (0.5, 0.95, 1.0):
        expected = np.quantile(delays, quantile, method="inverted_cdf")
        assert session.delay_seconds(quantile) == pytest.approx(expected, abs=6e-4)
    assert np.isnan(LiveSession(Made(0), model, stop=stop).delay_seconds(0.5))


class Passing(nn.Module):
    """Replaces a labeller: the features are the logits."""

    causal, head, look_ahead = True, "many_to_many", 0

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(1, 1)

    def forward(self, features: Tensor, *, state: LabellerState | None) -> LabellerOutput:
        return LabellerOutput(features, LabellerState(None, None))

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1)


SEGMENTS = SegmentModel(
    first=(0.4, 0.3, 0.3),
    following=((0, 0.9, 0.1), (0.1, 0, 0.9), (0.9, 0.1, 0)),
    log_frames=(1.5, 1.0, 0.5),
    spreads=(0.4, 0.5, 0.6),
)


def labels_that_are_held_back(probabilities: np.ndarray, segments: SegmentModel | None) -> list[int]:
    if segments is not None:
        decoder = CausalDecoder(segments, 2)
        return [label for of_frame in tempered(probabilities, 2.0) for label in decoder.add(of_frame)] + decoder.end()
    smoother = CausalSmoother(3)
    return [label for best in probabilities.argmax(1) for label in smoother.add(int(best))] + smoother.end()


@pytest.mark.parametrize("curve", [None, (0.5, 1.5, 0.25)])
@pytest.mark.parametrize("segments", [None, SEGMENTS])
def test_labels_are_held_back_as_the_checkpoint_says_and_keep_their_probability(model, stop, segments, curve):
    decoding = "viterbi" if segments else "merge"
    labeller = model.spec.labeller.model_copy(update={"min_segment_frames": 3, "decoding": decoding})
    tuned = {"labeller": labeller, "temperature": 2.0, "segments": segments, "confidence": curve}
    spec = model.spec.model_copy(update=tuned)
    holding = replace(model, checkpoint=replace(model.checkpoint, spec=spec, labeller=Passing()))
    probabilities = np.random.default_rng(1).dirichlet(np.ones(3), 256)
    source = Made(40, can_wait=True)
    holding.__dict__["runtime"] = model.runtime
    holding = with_encoder(holding, lambda pixels: torch.from_numpy(np.log(probabilities[pixels[:, 0, 0, 0]])))
    labels = label_all(LiveSession(source, holding, stop=stop))
    of_frames = probabilities[source.pixels[:, 0, 0, 0]]
    expected = labels_that_are_held_back(of_frames, segments)
    assert expected != of_frames.argmax(1).tolist()
    assert [label.label for label in labels] == expected
    assert [label.frame_index for label in labels] == list(range(40))
    chances = tempered(of_frames, 2.0)[range(40), expected]
    chances = calibrate_confidence(chances, curve) if curve else chances
    np.testing.assert_allclose([label.probability for label in labels], chances, atol=1e-6)


@pytest.mark.parametrize("num_frames", [2, 40])
@pytest.mark.parametrize("shortest", [1, 3])
def test_with_a_look_ahead_labels_are_those_of_the_whole_video(num_frames, shortest, tmp_path, stop):
    settings = SETTINGS.model_copy(update={"look_ahead": 5, "min_segment_frames": shortest})
    model = load_model(str(save_video_model(tmp_path / "model", settings=settings, spread=True)), device="cpu")
    source = Made(num_frames, can_wait=True)
    session = LiveSession(source, model, stop=stop)
    labels = label_all(session)
    probabilities = expected_probabilities(model, source.pixels)
    smoother = CausalSmoother(shortest)
    expected = [label for best in probabilities.argmax(1) for label in smoother.add(int(best))] + smoother.end()
    assert [label.frame_index for label in labels] == list(range(num_frames))
    assert [label.label for label in labels] == expected
    chances = probabilities[range(num_frames), expected]
    np.testing.assert_allclose([label.probability for label in labels], chances, atol=1e-5)


def test_a_label_comes_when_the_frames_of_the_look_ahead_were_captured(tmp_path, stop):
    settings = SETTINGS.model_copy(update={"look_ahead": 3})
    model = load_model(str(save_video_model(tmp_path / "model", settings=settings)), device="cpu")
    source = Endless()
    session = LiveSession(source, model, stop=stop, buffer_frames=100)
    for _ in zip(range(30), session.labels(), strict=False):
        assert session.num_labelled <= max(0, session.num_captured - 3)
    assert session.num_labelled


def test_after_a_stop_all_captured_frames_are_labelled(model, stop):
    session = LiveSession(Endless(), slow(model, 0.03), stop=stop, buffer_frames=100)
    labels = []
    for new in session.labels():
        labels += new
        if len(labels) >= 5:
            stop.set()
    assert session.num_captured == len(labels) + session.num_dropped
    assert [label.frame_index for label in labels] == list(range(len(labels)))


def test_labelling_ends_the_requested_seconds_after_the_first_frame(model, stop):
    start = time.monotonic()
    labels = label_all(LiveSession(Endless(), model, stop=stop), seconds=0.5)
    assert labels[-1].seconds > 0.4
    assert labels[-1].seconds < 2
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("error", [VideoError("it broke"), ZeroDivisionError("a defect")])
def test_an_error_in_capturing_is_raised_after_the_labels_before_it(model, stop, error):
    session = LiveSession(Made(10, error=error), model, stop=stop)
    with pytest.raises(type(error), match=str(error)):
        label_all(session)
    assert session.num_labelled + session.num_dropped == 10


@pytest.mark.parametrize("every_seconds", [0.01, 0.6])
def test_capturing_ends_when_the_caller_stops_reading_labels(model, stop, every_seconds):
    before = set(threading.enumerate())  # some may end meanwhile: those of an encoder of another test
    labels = LiveSession(Endless(every_seconds), model, stop=stop).labels()
    while not next(labels):
        pass
    labels.close()
    assert stop.is_set()
    assert set(threading.enumerate()) <= before


def test_closing_the_buffer_releases_a_thread_that_waits_to_put_a_frame():
    buffer, frame = FrameBuffer(1), LiveFrame(np.zeros(1), 0.0, 0.0)
    buffer.put(frame, waits=True)
    putting = Thread(target=buffer.put, args=[frame], kwargs={"waits": True})
    putting.start()
    putting.join(0.05)
    assert putting.is_alive()
    error = VideoError("over")
    buffer.close(error)
    putting.join(10)
    assert not putting.is_alive()
    assert buffer.num_captured == 1
    assert buffer.take(5) == [Captured(0, frame)]
    assert buffer.take(5) is None
    assert buffer.error is error


@pytest.mark.parametrize(
    ("changes", "cause"),
    [({"bidirectional": True}, "both directions"), ({"head": "many_to_one"}, "one label for a whole video")],
)
def test_a_model_that_needs_the_end_of_a_video_is_refused(changes, cause, tmp_path, stop):
    settings = SETTINGS.model_copy(update=changes)
    model = load_model(str(save_video_model(tmp_path / "model", settings=settings)), device="cpu")
    for on_failure in (check_model, lambda model: LiveSession(Made(1), model, stop=stop)):
        with pytest.raises(InputError, match=f"{cause}.*dvc exp run -S labeller=gru"):
            on_failure(model)


def test_a_model_of_ready_features_is_refused(feature_model):
    with pytest.raises(InputError, match="trained on ready features"):
        check_model(load_model(str(feature_model), device="cpu"))


def test_a_model_that_follows_motion_is_refused(video_model):
    model = load_model(str(video_model), device="cpu")
    frames = model.checkpoint.frame_encoder
    spec = frames.spec.model_copy(
        update={"preprocess": frames.spec.preprocess.model_copy(update={"follow_motion": True})}
    )
    checkpoint = replace(model.checkpoint, frame_encoder=replace(frames, spec=spec))
    with pytest.raises(InputError, match="reads the whole video first"):
        check_model(replace(model, checkpoint=checkpoint))


def test_rows_can_be_read_immediately_and_an_earlier_file_is_kept(tmp_path):
    def rows(path: Path) -> list[list[str]]:
        with path.open(newline="") as file:
            return list(csv.reader(file))

    header = ["frame", "time_seconds", "label", "probability"]
    for name in ("cam.live.csv", "cam-2.live.csv", "cam-3.live.csv"):
        with LiveFile(tmp_path, "cam", LabelSpace(CLASSES)) as file:
            assert file.path == tmp_path / name
            assert rows(file.path) == [header]
            file.append([LiveLabel(3, 0.125, 1, 0.5, 0.01), LiveLabel(7, 1 / 3, 2, 1.0, 0.01)])
            assert rows(file.path) == [
                header,
                ["3", "0.125000", "left", "0.5000"],
                ["7", "0.333333", "right", "1.0000"],
            ]
            file.append([])
    assert len(list(tmp_path.iterdir())) == 3
