"""Annotation files of other programs, placed on the frames of the videos on this machine."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pipeline.annotations.foreign.document import Document, Loss, Media, Recording
from pipeline.annotations.foreign.placing import (
    EACH,
    NamedEvent,
    PlacedSegment,
    class_name,
    frames_of,
    join_segments,
    name_events,
    place_events,
    plain_name,
)
from pipeline.annotations.problems import AnnotationError, Problem, did_you_mean
from pipeline.errors import InputError
from pipeline.files import canonical
from pipeline.interchange.deciding import NOT_SCORED, decide
from pipeline.interchange.imported import Imported, ImportedVideo, ImportOptions, ScoredFrames
from pipeline.interchange.label_spaces import ClassOrder
from pipeline.interchange.media import NO_MEDIA, MediaFinder
from pipeline.interchange.recognition import ForeignFile
from pipeline.interchange.videos import TimedVideo, VideoFolder

LABELLED_TWICE = "recordings of a video that another recording labels are left out (see --recording)"
TOGETHER = "recordings of a video that another recording labels count together with it (see --recording)"
OTHER_RECORDINGS = "recordings that were not asked for are left out"
OTHER_SPLIT = "recordings are of a video that is in another split already, and stays there"
# The end of a stem with which its label file would have the name of a file of another kind.
KINDS_OF_FILES = (".frames", ".segments", ".live")
NAMES_OF_FILES = ("classes", "labels", "scored", "groups", "decode_report")


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
        InputError: No label is left, and why; a recording or a subject that is asked for is in no file; or a name is
            not allowed as that of a class.
    """
    work = _Work(videos, options)
    problems: list[Problem] = []
    for file in progress(files):
        try:
            work.add(file.read(), names_video=file.layout.names_video)
        except AnnotationError as error:
            problems += error.problems
    if problems:
        raise AnnotationError(problems)
    return work.finish()


class _Work:
    """The import of one file after the other: only what becomes a label is kept of each."""

    def __init__(self, videos: VideoFolder, options: ImportOptions) -> None:
        self._options = options
        self._imported = Imported()
        self._media = MediaFinder(videos, self._imported.notes, from_first=options.from_first)
        self._stems: dict[Path, str] = {}
        self._order = ClassOrder()
        self._may_overlap: set[bool | None] = set()
        self._subjects: dict[str, None] = {}
        self._recordings: dict[str, None] = {}
        self._labels: set[str] = set()  # all behaviours, in the form of the class map

    def add(self, document: Document, *, names_video: bool) -> None:
        """Place the recordings of a file; one that does not name its only video is named after it."""
        imported, choices = self._imported, self._options.choices
        imported.losses.add(document.path, "", document.losses)
        imported.notes += [f"{document.path}: {note}" for note in document.notes]
        self._may_overlap.add(document.may_overlap)
        names = (class_name(label, choices) for label in document.labels())
        imported.declared = list(dict.fromkeys([*imported.declared, *(name for name in names if name)]))
        self._labels |= {plain_name(label) for label in document.labels()}
        self._recordings |= dict.fromkeys(recording.name for recording in document.recordings)
        is_named_after = not names_video and len(document.recordings) == 1
        for recording in document.recordings:
            self._subjects |= dict.fromkeys(event.subject for event in recording.events if event.subject)
            if self._options.recordings and recording.name not in self._options.recordings:
                imported.losses.add(document.path, recording.name, [Loss(OTHER_RECORDINGS, recording.name)])
                continue
            if is_named_after:
                recording = self._media.named_after(document.path, recording)
            self._add_recording(document, recording)

    def _add_recording(self, document: Document, recording: Recording) -> None:
        losses: list[Loss] = []
        if not recording.media:
            losses.append(Loss(NO_MEDIA, recording.name))
        recording, found = self._media.find_all(recording, losses)
        if any(found):
            events = list(name_events(recording, self._options.choices, losses))
            for event in events:
                self._order.add(event.name, event.group, class_name(event.event.label, self._options.choices))
            times = [video and video.times for video in found]
            placed = place_events(events, recording, times, losses)
            for media, video, segments in zip(recording.media, found, placed, strict=True):
                if video is not None and self._may_label(media, recording, video, losses):
                    scored = self._scored_frames(recording, media, video, events)
                    if scored == [] and not segments:
                        losses.append(Loss(NOT_SCORED, media.name))
                    else:
                        self._keep(document, recording, video, segments, scored, losses)
        self._imported.losses.add(document.path, recording.name, losses)

    def _may_label(self, media: Media, recording: Recording, video: TimedVideo, losses: list[Loss]) -> bool:
        """Return whether a recording may label a video, perhaps beside others: events may be of another subject."""
        stem = self._stems.get(video.path)
        if stem is None:
            return True
        path, name = self._imported.videos[stem].source
        is_whole = recording.num_frames is not None  # such labels are those of another annotator
        losses.append(Loss(LABELLED_TWICE if is_whole else TOGETHER, media.name, f"{name!r} of {path.name} labels it"))
        return not is_whole

    def _keep(
        self,
        document: Document,
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
            if recording.split not in (None, before.split):
                losses.append(Loss(OTHER_SPLIT, video.path.name, f"{before.split}, and here {recording.split}"))
            return
        stem = self._free_stem(video.path)
        if stem != video.path.stem:
            self._imported.notes.append(f"{video.path}: is called {stem}{video.path.suffix} in the data set")
        self._stems[video.path] = stem
        self._imported.videos[stem] = ImportedVideo(
            video.path,
            stem,
            video.times.num_frames,
            segments,
            scored,
            recording.split,
            (document.path, recording.name),
            self._background_of(document),
        )

    def _background_of(self, document: Document) -> str | None:
        """Return the class that stands for none of the others; None where the caller gives it another name."""
        if document.background is None:
            return None
        name, chosen = class_name(document.background, self._options.choices), self._options.choices.class_map
        return name if chosen is None or name not in chosen.values() else None

    def _free_stem(self, video: Path) -> str:
        """Return the name of a video in the data set: its stem, after its folder's name where that is taken."""
        taken = {canonical(stem).casefold() for stem in self._stems.values()}
        stem = video.stem
        if stem.endswith(KINDS_OF_FILES) or stem in NAMES_OF_FILES:
            stem = f"{stem.replace('.', '_')}_video"
        names = [stem, f"{video.parent.name}_{stem}"]
        names += [f"{names[1]}_{number}" for number in range(2, len(taken) + 3)]
        return next(name for name in names if canonical(name).casefold() not in taken)

    def _scored_frames(
        self, recording: Recording, media: Media, video: TimedVideo, events: Sequence[NamedEvent]
    ) -> list[ScoredFrames] | None:
        """Return at which frames of a media file people looked; None for all."""
        if recording.scored is None:
            return None
        names: dict[str, dict[str, None]] = {}
        for event in events:
            names.setdefault(event.event.label, {})[event.name] = None
        found: list[ScoredFrames] = []
        for start, stop, label in recording.scored:
            frames = frames_of((start - media.start, stop - media.start), recording, video.times)
            if frames[0] < frames[1]:
                # A behaviour without any event here may be one of another video.
                of_label = [None] if label is None else [*names.get(label, [class_name(label, self._options.choices)])]
                found += [ScoredFrames(*frames, name) for name in of_label if name != ""]
        return found

    def finish(self) -> Imported:
        """Decide which classes there are and whether they overlap, after the last file."""
        self._check_asked()
        decide(self._imported, self._order, self._options, self._may_overlap)
        return self._imported

    def _check_asked(self) -> None:
        """Check that what is asked for by name is there."""
        subject, known = self._options.choices.subject, [*self._subjects]
        if subject not in (None, EACH) and subject not in self._subjects:
            hint = did_you_mean(subject, known) if known else ": no event has a subject"
            raise InputError(f"no event is of the subject {subject!r}{hint}")
        for name in self._options.recordings:
            if name not in self._recordings:
                raise InputError(f"there is no recording {name!r}{did_you_mean(name, [*self._recordings])}")
        class_map = self._options.choices.class_map or {}
        unused = [old for old in class_map if old not in self._labels]
        if unused:
            self._imported.notes.append(f"the class map names behaviours that are in no file: {', '.join(unused[:10])}")
