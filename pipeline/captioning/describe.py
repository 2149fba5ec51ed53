"""A captioner from a checkpoint describes images and videos, given their paths, in sentences.

Memory is bounded by a few batches of images or frames.

Shapes: N images, R regions, C channels, H x W pixels, T frames, S spans of a video.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from pipeline.captioning.files import CaptionRow, write_video_captions
from pipeline.captioning.spans import LabelledSpans, check_end, even_spans, place_spans, spans_beside
from pipeline.captioning.summary import VideoCaption
from pipeline.checkpoints.captioner import CaptionCheckpoint, load_captioner
from pipeline.encoding.device import choose_device
from pipeline.encoding.images import RegionEncoder, RuntimeRegions, TorchRegions, describe_images
from pipeline.encoding.runtime import open_compiled
from pipeline.encoding.types import Runtime
from pipeline.errors import InputError, name_failure
from pipeline.files import check_name, find_files, read_unchanged
from pipeline.labelling.location import find_checkpoint, find_exports
from pipeline.text.vocabulary import START, detokenize, tokenize
from pipeline.video.image import IMAGE_SUFFIXES, read_image
from pipeline.video.open import open_indexed
from pipeline.video.preprocess import Preprocess
from pipeline.video.survey import index_video
from pipeline.video.types import VIDEO_SUFFIXES, Backend, VideoReader

EVERY_SECONDS = 5.0
UNDESCRIBED = "could not be described"


@dataclass(frozen=True)
class Search:
    """The settings of the search for captions; `plan_search` makes them.

    Attributes:
        beam_size: The number of beams.
        num_captions: The maximum number of captions of an image.
        max_words: The maximum number of words of a caption, after the prefix.
        length_penalty: See `beam_search`.
        prefix: The words that each caption begins with, all of them in the model's vocabulary.
    """

    beam_size: int
    num_captions: int
    max_words: int
    length_penalty: float
    prefix: tuple[str, ...]


class Caption(NamedTuple):
    """A sentence, and its probability given the image and the prefix."""

    text: str
    probability: float


@dataclass(frozen=True)
class CaptionModel(CaptionCheckpoint):
    """A captioner that is ready to describe images, with the runtime of its encoder.

    Attributes:
        runtime: The encoder exported for a CPU; None where torch encodes. Torch encodes on a GPU, as the captioner
            reads the features there and a `Runtime` would copy them to the CPU, and where the encoder cannot be
            exported.
    """

    runtime: Runtime | None

    @property
    def regions(self) -> RegionEncoder:
        """The encoder of the images."""
        if self.runtime is None:
            return TorchRegions(self.frame_encoder.encoder, self.frame_encoder.preprocess)
        return RuntimeRegions(self.runtime)


def load_caption_model(location: str, *, device: str) -> CaptionModel:
    """Load a captioner.

    For a CPU its encoder is exported at the first use, and the export is kept beside the checkpoint folder.

    Args:
        location: A checkpoint folder, or an MLflow URI (models:/name/1, runs:/<id>/model).
        device: See `choose_device`.

    Raises:
        InputError: There is no captioner, or the device is absent.
    """
    place = choose_device(device)
    checkpoint = load_captioner(find_checkpoint(location), device=place)
    runtime = None
    if place.type == "cpu":  # images come one at a time
        runtime = open_compiled(checkpoint.frame_encoder, exports=find_exports(location), batch_frames=1)
    return CaptionModel(**vars(checkpoint), runtime=runtime)


def plan_search(
    model: CaptionCheckpoint, *, beam_size: int | None = None, num_captions: int = 1, prefix: str = ""
) -> Search:
    """Plan a search for captions.

    Args:
        model: The captioner.
        beam_size: The number of beams. None: the checkpoint's, or `num_captions` if that is larger.
        num_captions: The maximum number of captions of an image.
        prefix: The words that each caption begins with.

    Raises:
        InputError: There are fewer beams than captions, or the prefix has words that are not in the model's vocabulary:
            the model could not continue a word that it never read.
    """
    decoding = model.spec.captioner.decoding
    beam_size = max(decoding.beam_size, num_captions) if beam_size is None else beam_size
    words = tuple(tokenize(prefix))
    unknown = ", ".join(repr(word) for word in dict.fromkeys(words) if word not in model.vocabulary)
    problems = []
    if not 1 <= num_captions <= beam_size:
        problems.append(f"captions: got {num_captions}, expected 1 to {beam_size}, as many as there are beams")
    if prefix.strip() and not words:
        problems.append(f"prefix: got {prefix!r}, expected words")
    if unknown:
        problems.append(f"prefix: the model does not know {unknown}: no caption that it was trained on has such words")
    if problems:
        raise InputError("\n".join(problems))
    return Search(beam_size, num_captions, decoding.max_words, decoding.length_penalty, words)


def find_pictures(
    paths: Sequence[Path], *, on_note: Callable[[str], None] = lambda note: None
) -> tuple[list[Path], list[Path]]:
    """Find images and videos; a GIF is an image.

    Args:
        paths: Files and folders. A file without the suffix of a video counts as an image, and its content decides.
        on_note: It is called with one sentence for each folder with files of other kinds.

    Returns:
        The images and the videos, each once.

    Raises:
        InputError: A folder holds neither.
    """
    found = find_files(paths, IMAGE_SUFFIXES | VIDEO_SUFFIXES, kind="image and no video", on_note=on_note)
    images = [path for path in found if path.suffix.lower() not in VIDEO_SUFFIXES - IMAGE_SUFFIXES]
    videos = [path for path in found if path.suffix.lower() in VIDEO_SUFFIXES - IMAGE_SUFFIXES]
    return images, videos


def caption_images(
    paths: Iterable[Path],
    model: CaptionModel,
    search: Search,
    *,
    on_failure: Callable[[str], None],
    log_folder: Path | None = None,
) -> Iterator[tuple[Path, list[Caption]]]:
    """Yield the captions of each image, in order.

    Args:
        paths: The images. They are read some batches before their captions are yielded.
        model: The captioner.
        search: The settings of the search.
        on_failure: It is called with one sentence for each image that cannot be read or is smaller than the model's
            region of interest; the other images are still described.
        log_folder: Where it is given, whatever else an image raises is also reported to `on_failure`, and its traceback
            goes to a log file in this folder.

    Yields:
        Each image with its captions, the best first: one or more, and fewer than `search` allows if the search finds
        no more.
    """
    preprocess = model.frame_encoder.preprocess
    waiting: deque[Path] = deque()  # images that are read and not yet described

    def read() -> Iterator[np.ndarray]:
        for path in paths:
            try:
                check_name(path)
                pixels = read_image(path)
                _check_size(path, preprocess, width=pixels.shape[1], height=pixels.shape[0])
            except Exception as error:
                if log_folder is None and not isinstance(error, InputError):
                    raise
                on_failure(name_failure(path, UNDESCRIBED, error, log_folder or Path()))
                continue
            waiting.append(path)
            yield pixels

    paths, failed = iter(paths), True
    while failed:
        failed = False
        try:
            for captions in _describe(read(), model, search):
                yield waiting.popleft(), captions
        except Exception as error:
            # All images before those that wait are described. None waits where `on_failure` itself raised.
            if log_folder is None or not waiting:
                raise
            failed, again = True, list(waiting)
            waiting.clear()
            if len(again) == 1:
                on_failure(name_failure(again[0], UNDESCRIBED, error, log_folder))
                continue
            for path in again:  # each by itself, as it is not known which of them it was
                yield from caption_images([path], model, search, on_failure=on_failure, log_folder=log_folder)


def caption_video(
    path: Path,
    model: CaptionModel,
    search: Search,
    *,
    spans: LabelledSpans | None = None,
    every_seconds: float = EVERY_SECONDS,
    reader: Backend = "auto",
    on_progress: Callable[[str], None] = lambda progress: None,
) -> list[VideoCaption]:
    """Describe each span of a video, in order of time, by the frame nearest to its middle.

    Without `spans` they last about `every_seconds`: the last one, half to one and a half times as long, ends with the
    video. Spans with the same nearest frame become one, so that each frame has at most one caption; but where classes
    overlap each keeps its own, and what is between them is described too. `reader` decodes it, as the backend of
    `open_video`. `on_progress` is given the progress in words.

    Raises:
        InputError: The video cannot be read or is smaller than the model's region of interest, or the spans do not end
            where the video ends.
    """
    index = index_video(path)
    times, properties = index.pts_seconds, index.properties
    duration = float(1 / properties.frame_rate)
    stop_seconds = float(times[-1]) + duration
    if spans is None:
        spans = even_spans(float(times[0]), stop_seconds, every_seconds)
    check_end(path, spans, stop_seconds)
    _check_size(path, model.frame_encoder.preprocess, width=properties.width, height=properties.height)
    described, positions = place_spans(spans, times, frame_seconds=duration)
    frames_read, of_span = np.unique(positions, return_inverse=True)
    with open_indexed(index, backend=reader) as opened:
        frames = _frames(opened, frames_read, on_progress)
        captions = [best for best, *_ in _describe(frames, model, search)]
    return [VideoCaption(*span, *captions[position]) for span, position in zip(described, of_span, strict=True)]


def caption_files(
    images: Sequence[Path],
    videos: Sequence[Path],
    model: CaptionModel,
    search: Search,
    *,
    labels: Path | None,
    every_seconds: float,
    out: Path,
    reader: Backend = "auto",
    on_failure: Callable[[str], None],
    on_progress: Callable[[str], None] = lambda progress: None,
) -> Iterator[list[CaptionRow]]:
    """Yield the rows of each file that can be described: first of the images, then of the videos.

    The subtitles and the summary of each video are written into `out` on the way. `labels`: the folder whose
    <stem>.segments.csv say which spans of a video are described; None: each of `every_seconds`. `reader`: what decodes
    the videos, as the backend of `open_video`. A file that cannot be described is passed to `on_failure` in one
    sentence, and the others are described; what an earlier call wrote for it stays.
    """
    for path, captions in caption_images(images, model, search, on_failure=on_failure, log_folder=out):
        yield [CaptionRow(str(path), None, None, None, *caption) for caption in captions]
    described: dict[str, Path] = {}
    for path in videos:
        try:
            check_name(path)
            _check_is_first(path, described.get(path.stem))
            spans = None if labels is None else spans_beside(path, labels)
            describe = partial(
                caption_video,
                path,
                model,
                search,
                spans=spans,
                every_seconds=every_seconds,
                reader=reader,
                on_progress=on_progress,
            )
            video_captions = read_unchanged(path, describe)
            write_video_captions(out, path.stem, video_captions)
        except Exception as error:  # a decoder or a runtime may raise anything
            on_failure(name_failure(path, UNDESCRIBED, error, out))
            continue
        described[path.stem] = path
        yield [CaptionRow(str(path), *caption) for caption in video_captions]


def generate_captions(regions: torch.Tensor, model: CaptionCheckpoint, search: Search) -> list[list[Caption]]:
    """Generate the captions of images from the features of their regions.

    Args:
        regions: [N, R, C].
        model: The captioner.
        search: The settings of the search.

    Returns:
        The captions of each of the N images, the best first.
    """
    sentences = model.captioner.generate(
        regions,
        prefix=torch.tensor([START, *model.vocabulary.encode(search.prefix)], device=regions.device),
        beam_size=search.beam_size,
        max_words=search.max_words,
        length_penalty=search.length_penalty,
    )
    return [
        [
            Caption(detokenize([*search.prefix, *model.vocabulary.decode(tokens)]), math.exp(log_prob))
            for tokens, log_prob in zip(words[: search.num_captions], log_probs, strict=False)
            if log_prob > -math.inf
        ]
        for words, log_probs in zip(sentences.words.tolist(), sentences.log_probs.tolist(), strict=True)
    ]


def _describe(images: Iterable[np.ndarray], model: CaptionModel, search: Search) -> Iterator[list[Caption]]:
    """Yield the captions of images uint8 [H, W, 3], in order."""
    describe = partial(generate_captions, model=model, search=search)
    batch_size = model.frame_encoder.spec.batch_size
    yield from chain.from_iterable(describe_images(images, model.regions, describe, batch_size=batch_size))


def _check_size(path: Path, preprocess: Preprocess, *, width: int, height: int) -> None:
    try:
        preprocess.crop_box(width=width, height=height)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _check_is_first(path: Path, other: Path | None) -> None:
    if other is not None:
        raise InputError(f"{path}: its captions would replace those of {other}: describe it in a call of its own")


def _frames(reader: VideoReader, positions: np.ndarray, on_progress: Callable[[str], None]) -> Iterator[np.ndarray]:
    """Yield the frames uint8 [H, W, 3] at the positions `positions` [S], ascending; the video is read once."""
    properties = reader.properties
    for batch in reader.read(0, int(positions[-1]) + 1, batch_size=1, positions=positions):
        yield from batch.pixels
        on_progress(f"{properties.path.name}: frame {batch.index[-1] + 1} of {properties.num_frames}")
