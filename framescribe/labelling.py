"""Labelling videos from Python.

T frames, K classes.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np

from pipeline.annotations.exports import find_format_problems
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import mean_probability, names_of_frame, timed_segments
from pipeline.encoding.types import Precision
from pipeline.errors import InputError
from pipeline.labelling.folder import (
    Progress,
    default_num_parallel,
    label_videos,
    needs_decoder_processes,
)
from pipeline.labelling.inputs import find_everywhere
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.outputs import OnError, OutputOptions
from pipeline.labelling.video import VideoLabels
from pipeline.labelling.video import label_video as _label_video
from pipeline.stores.address import as_place

Labeller = Model


class LabelledSegment(NamedTuple):
    """A run of frames of one class: from frame `start` up to, not including, frame `stop`.

    Where classes overlap, so do segments.

    `start_seconds` and `stop_seconds` are its times in the video, NaN where a model reads ready features. `probability`
    is the mean of its frames' probabilities.
    """

    start: int
    stop: int
    start_seconds: float
    stop_seconds: float
    label: str
    probability: float


@dataclass(frozen=True)
class LabelledVideo:
    """The labels of every frame of a video.

    Attributes:
        class_names: The K classes of the labeller.
        labels: int64 [T], the index of each frame's class; -100 for a frame that could not be decoded. Where classes
            overlap: int8 [T, K], 1 for each class that the frame has and 0 for the others.
        probabilities: float32 [T], the calibrated probability of each frame's label; NaN for a frame that could not be
            decoded. Where classes overlap: `class_probabilities`.
        class_probabilities: float32 [T, K], the calibrated probabilities of all classes; NaN for a frame that could not
            be decoded.
        times_seconds: float64 [T], when each frame is shown, from the file; NaN for ready features.
        frame_seconds: How long the last frame is shown.
        novelty: float32 [T], how unlike the training frames each frame is: above 1, more than 99% of the frames that
            were held out from the training. NaN for a frame that could not be decoded; None where the labeller was
            trained by an earlier version.
        groups: The name of the group of each class, where classes overlap: those of one group exclude each other. None
            where every frame has exactly one class.
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    class_probabilities: np.ndarray
    times_seconds: np.ndarray
    frame_seconds: float
    novelty: np.ndarray | None = None
    groups: tuple[str, ...] | None = None

    @property
    def names(self) -> list[str | None] | list[tuple[str, ...] | None]:
        """The class name of each frame, None for a frame without a label.

        Where classes overlap: the names of all classes that the frame has.
        """
        label_space = LabelSpace(self.class_names, groups=self.groups)
        if label_space.is_exclusive:
            return label_space.names(self.labels)
        return [names_of_frame(label, label_space) for label in self.labels]

    @property
    def segments(self) -> list[LabelledSegment]:
        """The runs of frames of one class, in the order of their starts; frames without a label are in none of them."""
        return [
            LabelledSegment(
                segment.start,
                segment.stop,
                *times,
                self.class_names[segment.class_index],
                mean_probability(segment, self.probabilities),
            )
            for segment, times in timed_segments(self.labels, self.times_seconds, self.frame_seconds)
        ]

    @classmethod
    def _of(cls, result: VideoLabels, label_space: LabelSpace) -> "LabelledVideo":
        return cls(
            label_space.classes,
            result.labels,
            result.probabilities,
            result.class_probabilities,
            result.pts_seconds,
            result.frame_seconds,
            result.novelty,
            label_space.groups,
        )


class FolderResult(NamedTuple):
    """What became of the videos of `label_folder`.

    Attributes:
        num_labelled: How many were labelled in this call, those in part included.
        num_partial: How many of these in part only.
        num_finished_before: How many an earlier call had finished; they were left alone.
        num_failed: How many could not be labelled.
        failures: One sentence for each video that could not be labelled, or only in part.
        notes: One sentence for each video whose output replaced that of another video, or whose overlay was removed.
    """

    num_labelled: int
    num_partial: int
    num_finished_before: int
    num_failed: int
    failures: tuple[str, ...]
    notes: tuple[str, ...] = ()


def load_labeller(
    location: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    device: str = "auto",
    precision: Precision = "full",
    static_threshold: float | None = None,
) -> Labeller:
    """Load a trained labeller, or several that label together.

    Args:
        location: A checkpoint folder, or an MLflow URI (`models:/name/1`, `runs:/<id>/labeller`). Of several, the
            probabilities are averaged, and the settings of the first one decide.
        device: "cpu", "cuda", or "auto", which takes CUDA where there is a device.
        precision: "full" encodes in float32; "reduced" in bfloat16, which is faster and may change some labels.
        static_threshold: For a camera that stands still: a frame of which no part differs by more than so many grey
            levels of 255 from the last encoded one is not encoded again. None encodes every frame.

    Returns:
        The labeller, for `label_video` and `label_folder`. Its class names are `labeller.spec.classes`.

    Raises:
        InputError: There is no such model, the models differ in their classes, or the device is absent or cannot
            compute with the precision.

    Example:
        >>> import framescribe
        >>> labeller = framescribe.load_labeller("models/labeller")
        >>> len(labeller.spec.classes)
        3
    """
    given = [location] if isinstance(location, str | os.PathLike) else location
    locations = [os.fspath(each) for each in given]
    return load_model(locations, device=device, precision=precision, static_threshold=static_threshold)


def label_video(
    path: str | os.PathLike[str],
    labeller: Labeller,
    *,
    partial: bool = False,
    frame_rate: float | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> LabelledVideo:
    """Label every frame of one video; nothing is written.

    Args:
        path: A video file; or a .npy file of features [T, F] for a labeller that was trained on ready features.
        labeller: What `load_labeller` returned.
        partial: Of a damaged video, label the frames that can be decoded. By default a damaged video is refused.
        frame_rate: Encode only so many frames per second, by the times of the video; every frame still gets a label,
            that of the nearest encoded frame. None encodes as many as the labeller was trained on. To a labeller with
            memory, other numbers look like a faster or slower video.
        on_progress: Called on the way with the number of frames that are labelled so far.

    Returns:
        The labels, probabilities and times of all frames.

    Raises:
        InputError: The file cannot be read, is damaged, or is not of the kind that the labeller takes; or ready
            features, which have no times, are given with a frame rate.

    Example:
        >>> import framescribe
        >>> labeller = framescribe.load_labeller("models/labeller")
        >>> result = framescribe.label_video("clip.mp4", labeller)
        >>> result.labels.shape == result.probabilities.shape == result.times_seconds.shape
        True
        >>> first = result.segments[0]
        >>> first.start, first.label in result.class_names
        (0, True)
    """
    result = _label_video(
        Path(path),
        labeller.at_rate(frame_rate),
        partial=partial,
        on_progress=on_progress or (lambda num_frames: None),
    )
    return LabelledVideo._of(result, labeller.spec.label_space)


def label_folder(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    labeller: Labeller,
    out: str | os.PathLike[str],
    *,
    formats: Sequence[str] = ("csv",),
    overlay: bool = False,
    on_error: OnError = "skip",
    overwrite: bool = False,
    jobs: int | None = None,
    frame_rate: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> FolderResult:
    """Label videos and write the files that `framescribe label` writes; finished videos are left alone.

    Args:
        paths: A folder or a file, or several of them.
        labeller: What `load_labeller` returned.
        out: The folder to write into; it is made if it does not exist.
        formats: Some of "csv", "jsonl", "parquet", "vtt", "srt", and of the programs "boris", "elan", "label-studio",
            "praat", "activitynet", "feral".
        overlay: Also write each video with its labels drawn on it.
        on_error: Of a damaged video: "skip" leaves it out, "partial" labels the frames that can be decoded, "stop" ends
            the call.
        overwrite: Label also the videos that an earlier call finished.
        jobs: How many videos are labelled at the same time; None chooses by the machine.
        frame_rate: See `label_video`.
        on_progress: Called on the way with a `Progress`.

    Returns:
        How many videos were labelled and how many were not, with one sentence for each that was not.

    Raises:
        InputError: A folder holds no video, an argument has a value that is not possible, or a format needs the times
            of frames and the labeller reads ready features.

    Example:
        >>> import framescribe
        >>> labeller = framescribe.load_labeller("models/labeller")
        >>> result = framescribe.label_folder("videos", labeller, "labels")
        >>> result.num_labelled, result.failures
        (1, ())
    """
    _check_options(formats, on_error, jobs)
    labeller = labeller.at_rate(frame_rate)
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    outputs = OutputOptions(tuple(formats), overlay, on_error, overwrite)
    failures: list[str] = []
    notes: list[str] = []
    videos = find_everywhere([as_place(os.fspath(path)) for path in given], labeller)
    place = as_place(os.fspath(out))
    if isinstance(place, Path):
        place.mkdir(parents=True, exist_ok=True)
    outcome = label_videos(
        videos,
        labeller,
        place,
        outputs=outputs,
        num_parallel=default_num_parallel(labeller) if jobs is None else jobs,
        decoder_processes=needs_decoder_processes(labeller),
        on_failure=failures.append,
        on_progress=on_progress or (lambda progress: None),
        on_note=notes.append,
    )
    return FolderResult(*outcome, tuple(failures), tuple(notes))


def _check_options(formats: Sequence[str], on_error: OnError, jobs: int | None) -> None:
    """Raise InputError with every problem of the arguments of `label_folder`."""
    problems = [f"formats: {problem}" for problem in find_format_problems(tuple(formats))]
    if on_error not in get_args(OnError):
        problems.append(f"on_error: got {on_error!r}, expected one of {', '.join(get_args(OnError))}")
    if jobs is not None and jobs < 1:
        problems.append(f"jobs: got {jobs}, expected at least 1")
    if problems:
        raise InputError("\n".join(problems))
