"""A long video that is encoded in ranges, by several workers, and labelled as if it had been encoded at once.

The recurrent network reads the features of all ranges in order. They are the same to the last bit, since ranges end
where batches end: what torch computes for a frame may depend on the other frames of its batch.

n frames that were chosen of T, F features.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import ceil, lcm
from typing import Any, NamedTuple

import numpy as np
import torch

from pipeline.encoding.types import Runtime
from pipeline.encoding.video import encode_video
from pipeline.files import InputFile
from pipeline.labelling.model import Model
from pipeline.labelling.reading import Reading, predict
from pipeline.labelling.report import describe_video
from pipeline.labelling.video import VideoLabels, label_readings
from pipeline.stores.objects import pinned
from pipeline.video.frame_choice import FrameChoice, choose_frames
from pipeline.video.index import estimate_num_frames
from pipeline.video.types import DecodeReport, OpenScaled, VideoIndex, scaling_reader

RANGE_FRAMES = 3000  # two minutes of most cameras: it takes about as long to encode, and loading costs little of that


@dataclass(frozen=True)
class Division:
    """A video that is divided into ranges.

    Attributes:
        video: What `describe_video` said of it.
        index: Its index.
        choice: The frames that are encoded, n of T.
        starts: The index in `choice.positions` of the first frame of each range.
    """

    video: dict[str, Any]
    index: VideoIndex
    choice: FrameChoice
    starts: tuple[int, ...]

    def positions(self, number: int) -> np.ndarray:
        """Return the frames of a range that are encoded."""
        stop = self.starts[number + 1] if number + 1 < len(self.starts) else None
        return self.choice.positions[self.starts[number] : stop]

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the first frame of a range, and the one after its last: ranges have no gap."""
        positions = self.choice.positions
        if number + 1 == len(self.starts):
            return int(positions[self.starts[number]]), len(self.index.pts_seconds)
        return int(positions[self.starts[number]]), int(positions[self.starts[number + 1]])


class EncodedRange(NamedTuple):
    """A range of a video.

    Attributes:
        features: float32 [n, F], of the frames that are encoded, by each encoder of `Model.by_encoder`.
        reports: What became of its frames, as each encoder's reader reported.
    """

    features: list[np.ndarray]
    reports: list[DecodeReport]


class EncodedVideo(NamedTuple):
    """All ranges of a video.

    Attributes:
        division: The division.
        reports: Of each range, what became of its frames, as each encoder's reader reported.
        features: Returns the features of each range by one encoder of `Model.by_encoder`, in order.
    """

    division: Division
    reports: Sequence[Sequence[DecodeReport]]
    features: Callable[[int], Iterable[np.ndarray]]


def divide(path: InputFile, model: Model, *, opening: OpenScaled, range_frames: int = RANGE_FRAMES) -> Division | None:
    """Divide a video; None where it is to be labelled as a whole, as it is short or may be damaged.

    That is also so where frames that show nothing new are not encoded, since each frame is compared with earlier ones,
    where the encoder sees what moves, which is found in the whole video, and for other readers than PyAV, which cannot
    seek exactly.

    Args:
        path: The video.
        model: The labeller.
        opening: How the video is opened.
        range_frames: The number of frames of a range, about.
    """
    if not model.sees_videos or scaling_reader(model.reader) != "pyav" or model.static_threshold is not None:
        return None
    if estimate_num_frames(path) <= range_frames:
        return None
    runtimes = _runtimes(model)
    if any(runtime.frame_encoder.preprocess.follow_motion for runtime in runtimes):
        return None
    preprocess = runtimes[0].frame_encoder.preprocess
    try:
        with pinned(path) as file:
            video = describe_video(file)
            with opening(file, preprocess, surveyed=False, reader="pyav") as reader:
                index, frame_seconds = reader.index, float(1 / reader.properties.frame_rate)
    except Exception:  # reported when it is labelled as a whole
        return None
    choice = choose_frames(index.pts_seconds, model.frame_rate, frame_seconds=frame_seconds)
    batches = [runtime.frame_encoder.spec.batch_size for runtime in runtimes]
    num_chosen, step = len(choice.positions), lcm(*batches)
    length = ceil(range_frames * num_chosen / len(index.pts_seconds) / step) * step
    starts = tuple(range(0, num_chosen, length))
    return Division(video, index, choice, starts) if len(starts) > 1 else None


def encode_range(
    path: InputFile, division: Division, number: int, model: Model, *, opening: OpenScaled
) -> EncodedRange | None:
    """Encode a range of a video.

    Args:
        path: The video.
        division: The division.
        number: The range, from 0.
        model: The labeller.
        opening: How the video is opened.

    Returns:
        None where the range cannot be read by itself, or the video has changed: it is to be labelled as a whole then.
    """
    start, stop = division.bounds(number)
    positions, index = division.positions(number), division.index
    features, reports = [], []
    try:
        for runtime in _runtimes(model):
            region = runtime.frame_encoder.preprocess
            with opening(index.properties.path, region, surveyed=False, reader="pyav", index=index) as reader:
                with closing(encode_video(reader, runtime, start, stop, positions=positions)) as chunks:
                    features.append(np.concatenate([chunk.features.numpy() for chunk in chunks]))
                reports.append(reader.report())
        is_same = describe_video(path) == division.video
    except Exception:  # reported when the video is labelled as a whole
        return None
    return EncodedRange(features, reports) if is_same else None


def label_encoded(path: InputFile, encoded: EncodedVideo, model: Model) -> VideoLabels:
    """Label a video of which all ranges are encoded.

    Raises:
        InputError: The model computes something else than numbers.
        Exception: `EncodedVideo.features` raised it.
    """
    division = encoded.division
    readings = []
    for number, members in enumerate(model.by_encoder):
        probabilities, novelty = predict(path, members, map(torch.tensor, encoded.features(number)))
        report = _joined([reports[number] for reports in encoded.reports])
        num_encoded, index = len(division.choice.positions), division.index
        frame_seconds = float(1 / index.properties.frame_rate)
        readings.append(Reading(probabilities, division.choice, frame_seconds, num_encoded, report, index, novelty))
    return label_readings(readings, model)


def _runtimes(model: Model) -> list[Runtime]:
    """Return the encoders of a model of videos."""
    return [members[0].runtime for members in model.by_encoder if members[0].runtime is not None]


def _joined(reports: Sequence[DecodeReport]) -> DecodeReport:
    """Join the reports of ranges, which differ only in the sizes that their frames have."""
    sizes = dict.fromkeys(size for report in reports for size in report.sizes)
    return replace(reports[0], sizes=tuple(sizes))
