"""Writing a BORIS project: one observation for each video, the classes as state events.

The keys are those with which BORIS' own source starts a project and an observation (`boris/config.py`).
"""

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.annotations.foreign.base import LabelledVideo, written_at
from pipeline.annotations.foreign.cells import score_comment
from pipeline.annotations.foreign.document import Loss
from pipeline.annotations.foreign.unkept import changed_names, close_frames
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import mean_probability
from pipeline.errors import InputError
from pipeline.files import replacing

FORMAT_VERSION = "7.0"  # that of BORIS 7 to 9
NUM_PLAYERS = 8
DECIMALS = 3
# A gap of 1 ms between two behaviours is one that BORIS made itself, see `boris`.
SHORTEST_FRAME = 0.002
NO_FRAME_INDEX = "NA"
KEYS = string.ascii_lowercase + string.digits + string.ascii_uppercase
FUNCTION_KEYS = [f"F{number}" for number in range(1, 13)]
UNLABELLED = "videos have frames without a label, which cannot be told from frames without a class"


def write_boris(path: Path, videos: Sequence[LabelledVideo]) -> list[Loss]:
    """Write labels as a BORIS project.

    Times have 3 decimals. The probability of an event is the comment of its start.

    Args:
        path: The project; media files below its folder are named relative to it.
        videos: The videos, all with the same classes.

    Raises:
        InputError: Videos differ in their classes.
    """
    label_space = common_label_space(path, videos)
    names = observation_names([video.video for video in videos])
    observations = {name: _observation(path, video) for name, video in zip(names, videos, strict=True)}
    project = {
        "time_format": "hh:mm:ss",
        "project_date": max((_date(video.video) for video in videos), default=_date(path)),
        "project_name": path.stem,
        "project_description": "",
        "project_format_version": FORMAT_VERSION,
        "subjects_conf": {},
        "behaviors_conf": _ethogram(label_space) if label_space else {},
        "observations": observations,
        "behavioral_categories": [],
        "behavioral_categories_config": {},
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
    with replacing(path) as temporary:
        # BORIS opens a project in the encoding of the system: ASCII is the same in all of them.
        temporary.write_text(json.dumps(project, indent=1) + "\n", encoding="ascii", newline="\n")
    return unlabelled_losses(videos) + close_frames(videos, SHORTEST_FRAME) + changed_names(videos)


def common_label_space(path: Path, videos: Sequence[LabelledVideo]) -> LabelSpace | None:
    """Return the classes of videos that are written into one file; None where there is no video.

    Raises:
        InputError: Videos differ in them.
    """
    spaces = [video.label_space for video in videos]
    for video in videos:
        if video.label_space != spaces[0]:
            pair = f"{videos[0].video.name} and {video.video.name}"
            raise InputError(f"{path}: got different classes of {pair}, expected the same of all videos of a file")
    return spaces[0] if spaces else None


def observation_names(videos: Sequence[Path]) -> list[str]:
    """Return a name for each video, its stem, which a number follows where another one has it.

    >>> observation_names([Path("a/day.mp4"), Path("b/day.mp4")])
    ['day', 'day (2)']
    """
    names: dict[str, None] = {}
    for video in videos:
        name, number = video.stem, 1
        while name in names:
            number += 1
            name = f"{video.stem} ({number})"
        names[name] = None
    return [*names]


def unlabelled_losses(videos: Sequence[LabelledVideo]) -> list[Loss]:
    """Return a loss for each video with frames that have no label, where a file cannot say so."""
    return [
        Loss(UNLABELLED, video.video.name) for video in videos if not video.label_space.is_labelled(video.labels).all()
    ]


def shown_path(video: Path, project: Path) -> str:
    """Return the path of a video as a project names it: relative to the project's folder where it lies below it."""
    absolute, folder = video.absolute(), project.absolute().parent
    return (absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute).as_posix()


def rounded(seconds: float) -> float:
    """Return a time with the decimals of BORIS, half to even, and never a negative zero."""
    return round(seconds, DECIMALS) + 0.0


def _date(video: Path) -> str:
    return written_at(video).isoformat(timespec="seconds")


def _ethogram(label_space: LabelSpace) -> dict[str, Any]:
    keys = _keys(label_space.classes)
    return {
        str(index): {
            "type": "State event",
            "key": key,
            "code": name,
            "description": "",
            "color": "",
            "category": "",
            "modifiers": {},
            "excluded": ",".join(_excluded(index, label_space)),
            "coding map": "",
        }
        for index, (name, key) in enumerate(zip(label_space.classes, keys, strict=True))
    }


def _excluded(index: int, label_space: LabelSpace) -> list[str]:
    """Return the classes that exclude one, so that BORIS stops it when another starts; a comma separates them."""
    groups = label_space.groups or ("",) * label_space.num_classes
    others = [name for name, group in zip(label_space.classes, groups, strict=True) if group == groups[index]]
    return [name for name in others if name != label_space.classes[index] and "," not in name]


def _keys(names: Sequence[str]) -> list[str]:
    """Return a key for each class: a letter of its name where one is free; "" for those after the 74th."""
    free = dict.fromkeys([*KEYS, *FUNCTION_KEYS])
    keys = []
    for name in names:
        key = next((character for character in name.lower() if character in free), next(iter(free), ""))
        free.pop(key, None)
        keys.append(key)
    return keys


def _observation(path: Path, video: LabelledVideo) -> dict[str, Any]:
    name = shown_path(video.video, path)
    return {
        "file": {str(player): [name] if player == 1 else [] for player in range(1, NUM_PLAYERS + 1)},
        "type": "MEDIA",
        "date": _date(video.video),
        "description": "",
        "time offset": 0.0,
        "events": _events(video),
        "observation time interval": [0, 0],
        "independent_variables": {},
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "media_creation_date_as_offset": False,
        "media_scan_sampling_duration": 0,
        "image_display_duration": 1,
        "close_behaviors_between_videos": False,
        "scan_sampling_time": 0,
        "start_from_current_time": False,
        "start_from_current_epoch_time": False,
        "media_info": {
            "length": {name: rounded(video.times.end_seconds)},
            "fps": {name: rounded(video.frame_rate)},
            "hasVideo": {name: True},
            "hasAudio": {name: False},
            "offset": {"1": 0.0},
        },
    }


def _events(video: LabelledVideo) -> list[list[Any]]:
    """Return the rows: two for each segment, in the order of their times, a stop before a start."""
    rows = []
    for segment, (start, stop) in video.timed_segments():
        name = video.label_space.classes[segment.class_index]
        probabilities = video.probabilities
        comment = "" if probabilities is None else score_comment(mean_probability(segment, probabilities))
        rows.append(((rounded(start), 1), [rounded(start), "", name, "", comment, NO_FRAME_INDEX]))
        rows.append(((rounded(stop), 0), [rounded(stop), "", name, "", "", NO_FRAME_INDEX]))
    return [row for _, row in sorted(rows, key=lambda row: row[0])]
