"""`<stem>.eaf`, `<stem>.TextGrid`, `<stem>.boris`: files of other programs in labels/ of a data set.

Each has the labels of one video. Its subjects count together, its modifiers and point events are left out; with other
wishes, and with files of several videos, `framescribe import` makes a data set of them.

Shapes: T frames, K classes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.annotations.foreign import boris, elan, praat
from pipeline.annotations.foreign.base import ForeignFormat
from pipeline.annotations.foreign.document import Loss, Media, Recording
from pipeline.annotations.foreign.placing import Choices, PlacedSegment, name_events, place_events
from pipeline.annotations.formats.base import AnnotationFormat, VideoFrames, never
from pipeline.annotations.formats.parsing import ASK_WHETHER_INDEPENDENT, raise_problems, unknown_cause
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError, Problem
from pipeline.annotations.segments import Segment, frames_from_segments, presence_from_segments

LAYOUTS = (elan.FORMAT, praat.FORMAT, boris.FORMAT)


def _format(layout: ForeignFormat) -> AnnotationFormat:
    def read(path: Path, label_space: LabelSpace, *, video: VideoFrames, notes: list[Problem]) -> np.ndarray:
        recording, losses = _read_recording(layout, path)
        if video.times is None:
            cause = "ready features have no times, and those of a video are in the video"
            message = f"gives times in seconds, and it is not known at which times the frames are shown: {cause}"
            raise AnnotationError([Problem(path, None, message, fault="times without a video")])
        (segments,) = place_events(name_events(recording, Choices(), losses), recording, [video.times], losses)
        counts = Counter(loss.kind.partition(" (see --")[0] for loss in losses)
        notes += [Problem(path, None, f"{count:,} {kind}", fault=kind) for kind, count in counts.most_common()]
        return _labels(path, segments, label_space, video.times.num_frames)

    def class_names(path: Path) -> set[str]:
        recording, losses = _read_recording(layout, path)
        return {event.name for event in name_events(recording, Choices(), losses)}

    return AnnotationFormat(layout.suffixes[0], read, class_names, has_length=never)


def _read_recording(layout: ForeignFormat, path: Path) -> tuple[Recording, list[Loss]]:
    """Read the only recording of a file, as that of the video after which the file is named, with its losses."""
    assert layout.read is not None, layout.name
    document = layout.read(path)
    recordings = [recording for recording in document.recordings if recording.events] or document.recordings[:1]
    if len(recordings) != 1 or len(recordings[0].media) > 1:
        counts = f"{len(recordings)} recordings with {sum(len(each.media) for each in recordings)} media files"
        message = f"has {counts}, expected the labels of one video: make a data set of it with framescribe import"
        raise AnnotationError([Problem(path, None, message)])
    media = recordings[0].media or (Media(path.stem),)
    return replace(recordings[0], media=media), list(document.losses)


def _labels(path: Path, segments: Sequence[PlacedSegment], label_space: LabelSpace, num_frames: int) -> np.ndarray:
    """Convert segments to labels, int64 [T], or int8 [T, K] where classes overlap."""
    problems: list[Problem] = []
    for name in dict.fromkeys(segment.name for segment in segments):
        if label_space.index(name) is None:
            problems.append(Problem(path, None, f"unknown class {name!r}{unknown_cause(name, label_space)}"))
    raise_problems(problems)
    _check_overlaps(path, segments, label_space)
    found = [Segment(start, stop, label_space.index(name) or 0) for start, stop, name, _ in segments]
    if label_space.is_exclusive:
        return frames_from_segments(found, num_frames)
    return presence_from_segments(found, num_frames, label_space)


def _check_overlaps(path: Path, segments: Sequence[PlacedSegment], label_space: LabelSpace) -> None:
    """Raise an AnnotationError where two segments of one group overlap; exclusive classes are one group."""
    furthest: dict[str, PlacedSegment] = {}
    for segment in segments:
        index = label_space.index(segment.name)
        group = label_space.groups[index] if label_space.groups is not None and index is not None else ""
        other = furthest.setdefault(group, segment)
        if other is not segment and segment.start < other.stop:
            message = f"{segment.name!r} overlaps {other.name!r} at frame {segment.start}: {ASK_WHETHER_INDEPENDENT}"
            raise AnnotationError([Problem(path, None, message, fault="segments overlap")])
        furthest[group] = max(segment, other, key=lambda of_group: of_group.stop)


FORMATS = tuple(_format(layout) for layout in LAYOUTS)
"""The layouts, by the ends of their names."""
