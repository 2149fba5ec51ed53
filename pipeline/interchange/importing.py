"""Annotation files of other programs, placed on the frames of the videos on this machine."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.annotations.foreign.document import Document, Loss, Media, Recording, Unit
from pipeline.annotations.foreign.placing import (
    EACH,
    NamedEvent,
    PlacedSegment,
    class_name,
    join_segments,
    name_events,
    place_events,
)
from pipeline.annotations.formats.parsing import length_cause
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError, Problem
from pipeline.annotations.segments import segments_from_frames
from pipeline.errors import InputError
from pipeline.files import canonical
from pipeline.interchange.imported import Imported, ImportedVideo, ImportOptions, ScoredFrames
from pipeline.interchange.label_spaces import ClassOrder, find_overlap, make_label_space
from pipeline.interchange.recognition import ForeignFile
from pipeline.interchange.videos import TimedVideo, VideoFolder, read_times
from pipeline.text.wording import counted, listed

NO_MEDIA = "recordings that name no media file are left out"
NOT_FOUND = "media files whose video is not found are left out"
NOT_READ = "media files whose video cannot be read are left out"
OTHER_LENGTH = "recordings whose labels have another number of frames than the video are left out"
LABELLED_TWICE = "recordings of a video that another recording labels are left out (see --recording)"
TOGETHER = "recordings of a video that another recording labels count together with it (see --recording)"
OTHER_RECORDINGS = "recordings that were not asked for are left out"
WITHOUT_EVENT = "videos in which no frame is labelled are left out"
RATE_TOLERANCE = 0.01
MAX_SHOWN = 10  # names of classes in a sentence


def import_files(
    files: Sequence[ForeignFile],
    videos: VideoFolder,
    options: ImportOptions,
    *,
    progress: Callable[[Sequence[ForeignFile]], Iterable[ForeignFile]] = lambda files: files,
) -> Imported:
    """Read annotation files, and place their events on the frames of videos.

    Args:
        files: The files.
        videos: Where the videos are.
        options: What the caller decides.
        progress: Wraps the files, for a progress bar.

    Raises:
        AnnotationError: Files cannot be read; every problem of all of them.
        InputError: No label is left, and why; or a name is not allowed as that of a class.
    """
    work = _Work(videos, options)
    problems: list[Problem] = []
    for file in progress(files):
        try:
            work.add(file.read())
        except AnnotationError as error:
            problems += error.problems
    if problems:
        raise AnnotationError(problems)
    return work.finish()


class _Work:
    """The import of one file after the other: only what becomes a label is kept of each."""

    def __init__(self, videos: VideoFolder, options: ImportOptions) -> None:
        self._videos, self._options = videos, options
        self._imported = Imported()
        self._stems: dict[Path, str] = {}
        self._order = ClassOrder()
        self._declared: list[str] = []
        self._may_overlap: set[bool | None] = set()
        self._backgrounds: set[str] = set()

    def add(self, document: Document) -> None:
        """Place the recordings of a file."""
        self._imported.losses.add(document.path, "", document.losses)
        self._imported.notes += [f"{document.path}: {note}" for note in document.notes]
        self._may_overlap.add(document.may_overlap)
        labels = document.labels()
        for label in labels:
            name = class_name(label, self._options.choices)
            self._declared += [name] if name not in self._declared else []
        if document.background is not None:
            self._backgrounds.add(class_name(document.background, self._options.choices))
        for recording in document.recordings:
            if self._options.recordings and recording.name not in self._options.recordings:
                self._imported.losses.add(document.path, recording.name, [Loss(OTHER_RECORDINGS, recording.name)])
            else:
                self._add_recording(document.path, recording)

    def _add_recording(self, path: Path, recording: Recording) -> None:
        losses: list[Loss] = []
        recording = self._with_media(path, recording)
        if not recording.media:
            losses.append(Loss(NO_MEDIA, recording.name))
        found = [self._find(media, recording, losses) for media in recording.media]
        recording = _with_starts(recording, found)
        if any(found):
            events = list(name_events(recording, self._options.choices, losses))
            for event in events:
                self._order.add(event.name, event.group, event.event.label)
            times = [video and video.times for video in found]
            placed = place_events(events, recording, times, losses)
            for media, video, segments in zip(recording.media, found, placed, strict=True):
                if video is not None:
                    scored = _scored_frames(recording, media, video, events)
                    self._keep(path, recording, video, segments, scored, losses)
        self._imported.losses.add(path, recording.name, losses)

    def _with_media(self, path: Path, recording: Recording) -> Recording:
        """Return a recording that names no video, or that has the name of its file, with the video of its own name.

        Some formats do not name the video. Then the recording has its name, the file, or the folder of the file.
        """
        names = [media.name for media in recording.media]
        if len(names) > 1 or (names and names[0] != recording.name):
            return recording
        candidates = [*names, recording.name, path.stem, path.parent.name]
        name = next((name for name in candidates if name and self._videos.has(name)), None)
        return recording if name is None else replace(recording, media=(Media(name),))

    def _find(self, media: Media, recording: Recording, losses: list[Loss]) -> TimedVideo | None:
        """Find the video of a media file; a Loss where it is not there, does not fit, or has labels already."""
        try:
            video = self._videos.find(media)
        except InputError as error:
            losses.append(Loss(NOT_FOUND, media.name, str(error)))
            return None
        try:
            timed = read_times(video)
        except InputError as error:
            losses.append(Loss(NOT_READ, media.name, str(error)))
            return None
        num_frames = timed.times.num_frames
        if recording.num_frames not in (None, num_frames):
            assert recording.num_frames is not None
            cause = length_cause(recording.num_frames, num_frames)
            what = f"got labels for {recording.num_frames} frames, the video has {num_frames}: {cause}"
            losses.append(Loss(OTHER_LENGTH, media.name, what))
            return None
        if video in self._stems:
            other = self._imported.videos[self._stems[video]].source
            # Labels of all frames are those of another annotator; events may be those of another subject.
            is_whole = recording.num_frames is not None
            what = f"{other[1]!r} of {other[0].name} labels it"
            losses.append(Loss(LABELLED_TWICE if is_whole else TOGETHER, media.name, what))
            if is_whole:
                return None
        self._compare_rates(media, recording, timed)
        return timed

    def _compare_rates(self, media: Media, recording: Recording, video: TimedVideo) -> None:
        rate = media.frame_rate
        if rate is None:
            return
        if recording.unit is Unit.FRAMES and video.is_variable:
            self._imported.notes.append(
                f"{video.path}: its frame rate varies, and the file numbers its frames at {rate:g} per second: compare"
                " some of the imported labels with the video"
            )
        elif abs(rate - video.frame_rate) > RATE_TOLERANCE * video.frame_rate:
            used = "frames" if recording.unit is Unit.FRAMES else "times"
            self._imported.notes.append(
                f"{video.path}: has {video.frame_rate:g} frames per second, and the file says {rate:g}; the {used} of"
                " the file are used as they are"
            )

    def _keep(
        self,
        path: Path,
        recording: Recording,
        video: TimedVideo,
        segments: list[PlacedSegment],
        scored: list[ScoredFrames] | None,
        losses: list[Loss],
    ) -> None:
        """Keep the labels of a video, beside those that another recording gave it."""
        if video.path in self._stems:
            before = self._imported.videos[self._stems[video.path]]
            before.segments = join_segments([*before.segments, *segments], losses)
            before.scored = None if before.scored is None or scored is None else [*before.scored, *scored]
            return
        stem = self._free_stem(video.path)
        self._stems[video.path] = stem
        source = (path, recording.name)
        self._imported.videos[stem] = ImportedVideo(
            video.path, stem, video.times.num_frames, segments, scored, recording.split, source
        )

    def _free_stem(self, video: Path) -> str:
        """Return the name of a video in the data set: its stem, after its folder's name where that is taken."""
        taken = {canonical(stem).casefold() for stem in self._stems.values()}
        names = [video.stem, f"{video.parent.name}_{video.stem}"]
        names += [f"{names[1]}_{number}" for number in range(2, len(taken) + 3)]
        return next(name for name in names if canonical(name).casefold() not in taken)

    def finish(self) -> Imported:
        """Decide which classes there are and whether they overlap, after the last file."""
        imported, options = self._imported, self._options
        videos = list(imported.videos.values())
        if not any(video.segments for video in videos):
            raise InputError(_describe_nothing(imported))
        may_overlap = options.independent or True in self._may_overlap
        self._note_contradiction(videos)
        space = self._label_space(videos, may_overlap=may_overlap)
        if space.is_exclusive:
            self._finish_exclusive(videos)
        else:
            self._drop_backgrounds(videos)
        imported.label_space = self._label_space(list(imported.videos.values()), may_overlap=may_overlap)
        self._note_unused()
        return imported

    def _label_space(self, videos: Sequence[ImportedVideo], *, may_overlap: bool) -> LabelSpace:
        used = dict.fromkeys(segment.name for video in videos for segment in video.segments)
        names = self._order.sort(used, self._declared)
        segments = (video.segments for video in videos)
        return make_label_space(names, self._order.groups, segments, may_overlap=may_overlap)

    def _note_contradiction(self, videos: Sequence[ImportedVideo]) -> None:
        found = ((video, find_overlap(video.segments)) for video in videos)
        video, overlap = next(((video, pair) for video, pair in found if pair), (None, None))
        if video and overlap and False in self._may_overlap:
            self._imported.notes.append(
                f"{video.source[0]}: says that its classes exclude each other, but {overlap[0].name!r} and"
                f" {overlap[1].name!r} overlap in {video.path.name} at frame {overlap[1].start}: they may overlap here"
            )

    def _finish_exclusive(self, videos: Sequence[ImportedVideo]) -> None:
        """Give frames in no event the background, where it is asked for, and leave out videos without a label."""
        num_frames = num_labelled = 0
        for video in videos:
            if self._options.background is not None:
                video.segments = _filled(video, self._options.background)
            if not video.segments:
                self._imported.losses.add(*video.source, [Loss(WITHOUT_EVENT, video.path.name)])
                del self._imported.videos[video.stem]
            num_frames += video.num_frames
            num_labelled += sum(segment.stop - segment.start for segment in video.segments)
        if num_labelled < num_frames:
            self._imported.notes.append(
                f"{(num_frames - num_labelled) / num_frames:.1%} of the frames are in no event and stay unlabelled;"
                " with --background NAME they become a class, with --independent they have none of the classes"
            )

    def _drop_backgrounds(self, videos: Sequence[ImportedVideo]) -> None:
        """Leave out the class that stands for none of the others: where classes overlap, that is no class."""
        for video in videos:
            video.segments = [segment for segment in video.segments if segment.name not in self._backgrounds]

    def _note_unused(self) -> None:
        used = {segment.name for video in self._imported.videos.values() for segment in video.segments}
        unused = [name for name in self._declared if name and name not in used | self._backgrounds]
        if unused and self._options.choices.subject != EACH:
            shown = listed(unused, MAX_SHOWN)
            self._imported.notes.append(f"{counted(len(unused), 'class', 'classes')} without any event: {shown}")


def _filled(video: ImportedVideo, background: str) -> list[PlacedSegment]:
    """Return the segments of a video with those of the background between them, where people looked."""
    is_free = np.ones(video.num_frames, dtype=bool)
    if video.scored is not None:
        is_free[:] = False
        for start, stop, _ in video.scored:
            is_free[start:stop] = True
    for segment in video.segments:
        is_free[segment.start : segment.stop] = False
    added = [
        PlacedSegment(run.start, run.stop, background)
        for run in segments_from_frames(is_free.astype(np.int64))
        if run.class_index
    ]
    return sorted([*video.segments, *added])


def _with_starts(recording: Recording, videos: Sequence[TimedVideo | None]) -> Recording:
    """Return a recording with the starts of its media files, where the file does not state them: by the real lengths.

    Like BORIS, whose tables do not state them, the length of each counts in whole milliseconds.
    """
    if not any(math.isnan(media.start) for media in recording.media):
        return recording
    starts = [0.0]
    for media, video in zip(recording.media, videos, strict=True):
        seconds = video.times.end_seconds if video else media.seconds if media.seconds is not None else math.nan
        starts.append(starts[-1] + (math.floor(1000 * seconds) / 1000 if math.isfinite(seconds) else math.nan))
    media_files = zip(recording.media, starts, strict=False)
    return replace(recording, media=tuple(replace(media, start=start) for media, start in media_files))


def _scored_frames(
    recording: Recording, media: Media, video: TimedVideo, events: Sequence[NamedEvent]
) -> list[ScoredFrames] | None:
    """Return at which frames of a media file people looked; None for all."""
    if recording.scored is None:
        return None
    names: dict[str, list[str]] = {}
    for event in events:
        if event.name not in names.setdefault(event.event.label, []):
            names[event.event.label].append(event.name)
    found = []
    for start, stop, label in recording.scored:
        if recording.unit is Unit.FRAMES:
            frames = max(0, int(start - media.start)), min(video.times.num_frames, int(stop - media.start))
        else:
            frames = video.times.segment(start - media.start, stop - media.start, resolution=recording.resolution)
        if frames[0] < frames[1]:
            of_label: list[str | None] = [None] if label is None else [*names.get(label, [])]
            found += [ScoredFrames(*frames, name) for name in of_label]
    return found


def _describe_nothing(imported: Imported) -> str:
    """Describe why no label is left: that videos are missing, or the commonest loss."""
    kinds = imported.losses.by_kind()
    if not kinds:
        return "there is nothing to import: the files have no event"
    of_videos = [kind for kind in (NOT_FOUND, NO_MEDIA, NOT_READ, OTHER_LENGTH) if kind in kinds]
    found = kinds[of_videos[0]] if of_videos else next(iter(kinds.values()))
    return f"there is nothing to import: {found.kind} ({found.count:,}; the first: {found.describe_first()})"
