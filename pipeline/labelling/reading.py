"""What a network computes from a video: its frames are decoded and encoded, and the models read the features.

n frames that were chosen of T, F features, K classes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.datasets.features import describe_transposed, read_feature_file
from pipeline.encoding.types import Runtime
from pipeline.encoding.video import EncodedFrames, encode_video
from pipeline.errors import InputError
from pipeline.files import InputFile
from pipeline.labelling.model import Model
from pipeline.models.ensemble import predict_each
from pipeline.models.labeller import of_equal_length
from pipeline.text.wording import counted
from pipeline.video.frame_choice import FrameChoice, choose_frames
from pipeline.video.preprocess import Preprocess
from pipeline.video.types import (
    DamagedVideoError,
    DecodeReport,
    OpenScaled,
    ReaderName,
    ScaledReader,
    VideoError,
    reads_in_part,
    scaling_reader,
)

if TYPE_CHECKING:
    from pipeline.video.types import VideoIndex

FEATURE_SUFFIX = ".npy"
BLOCK_FRAMES = 64


@dataclass(frozen=True)
class Reading:
    """A video as the models with one encoder read it.

    Attributes:
        probabilities: float32 [n, K], from each model, of the frames that were chosen.
        choice: The frames that were chosen, n of T.
        frame_seconds: How long the last frame is shown.
        num_encoded: The number of frames that were encoded.
        report: What became of the frames.
        index: The index of the file.
        novelty: float32 [n], how unlike the training frames these frames are, by the first model; None where it does
            not know.
    """

    probabilities: list[np.ndarray]
    choice: FrameChoice
    frame_seconds: float
    num_encoded: int
    report: DecodeReport
    index: "VideoIndex"
    novelty: np.ndarray | None


def read_video(
    path: InputFile,
    members: Sequence[Model],
    *,
    frame_rate: float | None,
    partial: bool,
    on_progress: Callable[[int], None],
    opening: OpenScaled,
) -> Reading:
    """Decode and encode a video once, for all models that share an encoder.

    Args:
        path: The video.
        members: The models.
        frame_rate: See `Model.frame_rate`.
        partial: See `label_video`, as for the other arguments and for what is raised.
        on_progress: It is called with the number of frames that are done.
        opening: How the video is opened.
    """
    runtime, name = members[0].runtime, scaling_reader(members[0].reader)
    assert runtime is not None, "a model of videos"
    preprocess = runtime.frame_encoder.preprocess
    # A video that cannot be read as its packets promise is surveyed below, so that it can be labelled in part.
    surveyed = False if reads_in_part(name) else None
    try:
        with opening(path, preprocess, surveyed=surveyed, reader=name) as reader:
            return _predict_frames(reader, members, runtime, frame_rate, on_progress)
    except VideoError as error:
        if not reads_in_part(name):
            raise _unreadable(path, error, name) from error
        with _open_surveyed(path, preprocess, error, opening, partial=partial) as reader:
            return _predict_frames(reader, members, runtime, frame_rate, on_progress)


def _predict_frames(
    reader: ScaledReader,
    members: Sequence[Model],
    runtime: Runtime,
    frame_rate: float | None,
    on_progress: Callable[[int], None],
) -> Reading:
    index, frame_seconds = reader.index, float(1 / reader.properties.frame_rate)
    choice = choose_frames(index.pts_seconds, frame_rate, frame_seconds=frame_seconds, is_lost=index.is_lost)
    encoding = _Encoding(choice.positions, len(index.pts_seconds), on_progress)
    static_threshold = members[0].static_threshold
    chunks = encode_video(reader, runtime, positions=choice.positions, static_threshold=static_threshold)
    with closing(chunks):
        probabilities, novelty = predict(reader.properties.path, members, encoding.features(chunks))
    return Reading(probabilities, choice, frame_seconds, encoding.num_encoded, reader.report(), index, novelty)


def predict(
    source: InputFile | str, members: Sequence[Model], chunks: Iterable[torch.Tensor]
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Compute the probabilities of a video by each model, from features of all, and its novelty by the first one.

    Args:
        source: The video, for messages.
        members: The models, which share an encoder.
        chunks: [t, F], the features, in order.

    Returns:
        float32 [n, K], from each model; and float32 [n], or None where the first one does not know its training frames.

    Raises:
        InputError: They are not numbers.
    """
    meter = NoveltyMeter(members[0])
    with _own_stream(members[0].device):
        found = predict_each([member.checkpoint.labeller for member in members], meter.watch(chunks))
        novelty = meter.found()
    for probabilities in found:
        check_numbers(source, probabilities)
    return found, novelty


class NoveltyMeter:
    """Measures how unlike the training frames the frames of one video are, while their features pass by.

    Args:
        model: The model that has seen the training frames.
    """

    def __init__(self, model: Model) -> None:
        self._novelty, self._spec = model.checkpoint.novelty, model.spec.novelty
        self._distances: list[torch.Tensor] = []

    def watch(self, chunks: Iterable[torch.Tensor]) -> Iterable[torch.Tensor]:
        """Return the same frames, [t, F] each."""
        return chunks if self._novelty is None else self._watch(chunks)

    @torch.inference_mode()
    def _watch(self, chunks: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        assert self._novelty is not None
        device = self._novelty.mean.device
        # In blocks of one length: a product of matrices differs in its last digits by the number of its rows.
        for block in of_equal_length(chunks, BLOCK_FRAMES):
            self._distances.append(self._novelty(block.to(device, torch.float32)))
            yield block

    def found(self) -> np.ndarray | None:
        """Return the novelty float32 [n] of all frames; None where the model does not know its training frames."""
        if self._spec is None:
            return None
        return (torch.cat(self._distances) / self._spec.limit).cpu().numpy()


def read_given_features(path: InputFile, model: Model) -> torch.Tensor:
    """Read a file of ready features, float32 [T, F], for a model that was trained on such.

    Raises:
        InputError: The file is another one, or of another encoder.
    """
    if not isinstance(path, Path):
        raise InputError(f"{path}: ready features are read from files only: copy it to this machine")
    if path.suffix.lower() != FEATURE_SUFFIX:
        raise InputError(f"{path}: the model was trained on ready features, expected a {FEATURE_SUFFIX} file")
    features = read_feature_file(path)
    if features.shape[1] != model.spec.num_features:
        if features.shape[0] == model.spec.num_features:
            expected = f"a model of {model.spec.num_features} features"
            raise InputError(f"{path}: {describe_transposed(features.shape, expected)}")
        raise InputError(
            f"{path}: has {features.shape[1]} features a frame, the model was trained on {model.spec.num_features}"
        )
    return torch.from_numpy(features.astype(np.float32))


def check_numbers(source: InputFile | str, probabilities: np.ndarray) -> None:
    """Raise InputError where the network computed something else than numbers, which smoothing would make labels of."""
    if not np.isfinite(probabilities).all():
        raise InputError(f"{source}: the model computes NaN for it: were its weights or its preprocessing changed?")


def _own_stream(device: torch.device) -> AbstractContextManager[object]:
    """Return a CUDA stream of this thread, whose many small steps go before the large ones of other threads."""
    return nullcontext() if device.type == "cpu" else torch.cuda.stream(torch.cuda.Stream(device, priority=-1))


def _open_surveyed(
    path: InputFile, preprocess: Preprocess, error: VideoError, opening: OpenScaled, *, partial: bool
) -> ScaledReader:
    """Open a video with the frames that can be decoded, after `error` was raised while it was read."""
    try:
        reader = opening(path, preprocess, surveyed=True)
    except VideoError:
        raise _unreadable(path, error, "pyav") from error
    try:
        report = reader.report()
    except VideoError:  # the process that decodes it has ended
        reader.close()
        raise _unreadable(path, error, "pyav") from error
    if report.problems and not partial:
        reader.close()
        num_frames = counted(report.decoded_frames, "frame")
        problems = "; ".join(report.problems)  # a survey's, whose words do not depend on FFmpeg's threads
        raise DamagedVideoError(
            f"{path}: {problems} ({num_frames} can be decoded: --on-error partial labels those)", report
        ) from error
    return reader


def _unreadable(path: InputFile, error: VideoError, reader: ReaderName) -> DamagedVideoError:
    report = DecodeReport.of_unreadable(str(error).removeprefix(f"{path}: "), reader)
    return DamagedVideoError(str(error), report)


class _Encoding:
    """Follows the encoding of a video, and counts the frames that are encoded.

    Args:
        positions: int64 [n], the frames that are wanted.
        num_frames: T, the number of all frames.
        on_progress: See `label_video`.
    """

    def __init__(self, positions: np.ndarray, num_frames: int, on_progress: Callable[[int], None]) -> None:
        self.num_encoded = 0
        self._positions, self._stops = positions, np.append(positions[1:], num_frames)
        self._on_progress = on_progress

    def features(self, chunks: Iterable[EncodedFrames]) -> Iterator[torch.Tensor]:
        """Yield the features of each chunk [t, F]."""
        for chunk in chunks:
            yield chunk.features
            self.num_encoded += chunk.num_encoded
            self._on_progress(int(self._stops[np.searchsorted(self._positions, chunk.index[-1])]))
