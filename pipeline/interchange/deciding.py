"""What is decided after the last file of an import: the classes, which of them overlap, and frames in no event."""

from collections.abc import Sequence

import numpy as np

from pipeline.annotations.foreign.document import Loss
from pipeline.annotations.foreign.placing import EACH, OTHER_SUBJECTS, OUTSIDE, POINTS, SHORT, UNMAPPED, PlacedSegment
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segments import segments_from_frames
from pipeline.errors import InputError
from pipeline.interchange.imported import Imported, ImportedVideo, ImportOptions
from pipeline.interchange.label_spaces import ClassOrder, find_overlap, make_label_space
from pipeline.interchange.media import NO_MEDIA, NO_START, NOT_FOUND, NOT_READ, OTHER_LENGTH
from pipeline.text.wording import counted, listed

NOT_SCORED = "videos at which nobody looked are left out"
WITHOUT_EVENT = "videos in which no frame is labelled are left out"
BACKGROUND = (
    "segments of the class that stands for none of the others are left out: where classes overlap, it is no class"
)
# Why no label may be left, the likeliest first.
CAUSES = (
    NOT_FOUND,
    NOT_READ,
    OTHER_LENGTH,
    NO_START,
    OTHER_SUBJECTS,
    UNMAPPED,
    POINTS,
    SHORT,
    OUTSIDE,
    BACKGROUND,
    NO_MEDIA,
)
MAX_SHOWN = 10  # names of classes in a sentence


def decide(imported: Imported, order: ClassOrder, options: ImportOptions, declared_overlap: set[bool | None]) -> None:
    """Decide which classes there are and whether they overlap.

    Args:
        imported: The labels of all videos; the rest is filled in.
        order: The order of the classes.
        options: What the caller decides.
        declared_overlap: What files say on whether their classes overlap, see `Document.may_overlap`.

    Raises:
        InputError: No label is left, and why; or a name is not allowed as that of a class.
    """
    videos = list(imported.videos.values())
    may_overlap = options.independent or True in declared_overlap
    if any(video.segments for video in videos):
        if _label_space(videos, order, imported, may_overlap=may_overlap).is_exclusive:
            _finish_exclusive(imported, options)
        else:
            _finish_overlapping(imported, options)
    if not any(video.segments for video in imported.videos.values()):
        raise InputError(_describe_nothing(imported))
    videos = list(imported.videos.values())
    imported.label_space = _label_space(videos, order, imported, may_overlap=may_overlap)
    if not may_overlap:
        _note_overlap(imported, is_contradiction=False in declared_overlap)
    for video in videos:
        if video.scored is not None:
            video.scored = [span for span in video.scored if span.name in (None, *imported.label_space.classes)]
            if not video.scored and not video.segments:
                imported.losses.add(*video.source, [Loss(NOT_SCORED, video.path.name)])
                del imported.videos[video.stem]
    used = {segment.name for video in videos for segment in video.segments}
    backgrounds = {video.background for video in videos}
    unused = [name for name in imported.declared if name not in used | backgrounds]
    if unused and options.choices.subject != EACH:
        classes = counted(len(unused), "class", "classes")
        imported.notes.append(f"{classes} without any event: {listed(unused, MAX_SHOWN)}")


def _label_space(
    videos: Sequence[ImportedVideo], order: ClassOrder, imported: Imported, *, may_overlap: bool
) -> LabelSpace:
    used = dict.fromkeys(segment.name for video in videos for segment in video.segments)
    names = order.sort(used, imported.declared)
    return make_label_space(names, order.groups, (video.segments for video in videos), may_overlap=may_overlap)


def _note_overlap(imported: Imported, *, is_contradiction: bool) -> None:
    """Say why classes may overlap, where nobody said so: perhaps two events only meet by mistake."""
    found = [(video, pair) for video in imported.videos.values() if (pair := find_overlap(video.segments))]
    if not found or imported.label_space.is_exclusive:
        return
    video, (one, two) = found[0]
    stop = min(one.stop, two.stop)
    although = "although the file says that classes exclude each other, " if is_contradiction else ""
    imported.notes.append(
        f"{although}classes may overlap, as {one.name!r} and {two.name!r} do in frames {two.start} to {stop - 1} of"
        f" {video.path.name}{f', and others in {len(found) - 1} more videos' if len(found) > 1 else ''}"
    )


def _finish_exclusive(imported: Imported, options: ImportOptions) -> None:
    """Give frames in no event the background, where it is asked for, and leave out videos without a label."""
    num_frames = num_labelled = 0
    for video in list(imported.videos.values()):
        if options.background is not None:
            video.segments = _filled(video, options.background)
        video.scored = None  # frames in no row are unlabelled
        if not video.segments:
            imported.losses.add(*video.source, [Loss(WITHOUT_EVENT, video.path.name)])
            del imported.videos[video.stem]
        num_frames += video.num_frames
        num_labelled += sum(segment.stop - segment.start for segment in video.segments)
    imported.unlabelled_share = 1 - num_labelled / num_frames if num_frames else 0.0


def fill_background(imported: Imported, background: str) -> bool:
    """Give frames in no event a class of their own, where people looked; return whether there are such frames."""
    is_any = False
    for video in imported.videos.values():
        filled = _filled(video, background)
        is_any |= len(filled) > len(video.segments)
        video.segments = filled
    return is_any


def _filled(video: ImportedVideo, background: str) -> list[PlacedSegment]:
    """Return the segments of a video with those of the background between them, where people looked."""
    is_free = np.ones(video.num_frames, dtype=bool)
    if video.scored is not None:
        is_free[:] = False
        for start, stop, _ in video.scored:
            is_free[start:stop] = True
    for segment in video.segments:
        is_free[segment.start : segment.stop] = False
    runs = segments_from_frames(is_free.astype(np.int64))
    return sorted(
        [*video.segments, *(PlacedSegment(run.start, run.stop, background) for run in runs if run.class_index)]
    )


def _finish_overlapping(imported: Imported, options: ImportOptions) -> None:
    """Leave out the class that stands for none of the others: where classes overlap, that is no class."""
    if options.background is not None:
        imported.notes.append(
            "classes may overlap, so that frames in no event have none of them: --background has no effect"
        )
    for video in imported.videos.values():
        kept = [segment for segment in video.segments if segment.name != video.background]
        losses = [Loss(BACKGROUND, video.path.name, str(video.background))] * (len(video.segments) - len(kept))
        imported.losses.add(*video.source, losses)
        video.segments = kept


def _describe_nothing(imported: Imported) -> str:
    """Describe why no label is left, by the likeliest cause."""
    kinds = imported.losses.by_kind()
    found = next((kinds[kind] for kind in CAUSES if kind in kinds), None)
    if found is None:
        return "there is nothing to import: the files have no event"
    return f"there is nothing to import: {found.kind} ({found.count:,}; the first: {found.describe_first()})"
