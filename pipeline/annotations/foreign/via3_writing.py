"""Writing the CSV and the project of VIA 3.

VIA opens projects only, whose structure https://gitlab.com/vgg/via/-/blob/master/via-3.x.y/CodeDoc.md describes; the
CSV is what it exports.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from pipeline.annotations.foreign.base import LabelledVideo
from pipeline.annotations.foreign.document import Loss
from pipeline.annotations.foreign.unkept import changed_names, close_frames
from pipeline.annotations.foreign.values import distinct_names
from pipeline.files import replacing

HEADER = "metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata"
CREATOR = "VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)"
ATTRIBUTE = "1"
SELECT = 4  # the type of an attribute of which one option is chosen
VIDEO, LOCAL = 4, 1  # the type and the place of a file
DECIMALS = 6  # of a second
NO_ROOM = "videos lose their probabilities, as VIA has no place for them"


def write(path: Path, videos: Sequence[LabelledVideo]) -> list[Loss]:
    """Write the labels of videos: as a project where the name of the file ends in .json, otherwise as CSV.

    Args:
        path: The file.
        videos: The labels.

    Returns:
        What is lost: probabilities; see also `unkept`.
    """
    classes = list(dict.fromkeys(name for video in videos for name in video.label_space.classes))
    attribute = {
        "aname": "TEMPORAL-SEGMENTS",
        "anchor_id": "FILE1_Z2_XY0",
        "type": SELECT,
        "desc": "Temporal segment attribute added by default",
        "options": {str(index): name for index, name in enumerate(classes)},
        "default_option_id": "",
    }
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        if path.suffix.lower() == ".json":
            _write_project(file, path.stem, attribute, videos, classes)
        else:
            _write_csv(file, attribute, videos, classes)
    losses = [Loss(NO_ROOM, video.video.name) for video in videos if video.probabilities is not None]
    names = distinct_names([video.video for video in videos])
    return losses + close_frames(videos, 10.0**-DECIMALS) + changed_names(videos, names)


def _segments(videos: Sequence[LabelledVideo], classes: Sequence[str]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield the identifier of each segment, the index of its video, and what a project says of it."""
    options = {name: str(index) for index, name in enumerate(classes)}
    for index, video in enumerate(videos):
        for number, (segment, ends) in enumerate(video.timed_segments(), start=1):
            label = options[video.label_space.classes[segment.class_index]]
            times = [round(seconds, DECIMALS) for seconds in ends]
            content = {"vid": str(index + 1), "flg": 0, "z": times, "xy": [], "av": {ATTRIBUTE: label}}
            yield f"{index + 1}_{number:08d}", index, content


def _write_csv(
    file: TextIO, attribute: dict[str, Any], videos: Sequence[LabelledVideo], classes: Sequence[str]
) -> None:
    file.write(f"# Exported using {CREATOR}\n# Notes:\n")
    file.write("# - temporal coordinate of [1.349,2.741] denotes a temporal segment from 1.349 sec. to 2.741 sec.\n")
    file.write('# - metadata of {""1"":""3""} indicates attribute with id "1" set to an attribute option with id "3"\n')
    file.write(f"# ATTRIBUTE = {json.dumps({ATTRIBUTE: attribute})}\n# CSV_HEADER = {HEADER}\n")
    names = distinct_names([video.video for video in videos])
    rows = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    for identity, index, content in _segments(videos, classes):
        files = _compact([names[index]])
        rows.writerow([identity, files, 0, _compact(content["z"]), "[]", _compact(content["av"])])


def _write_project(
    file: TextIO, name: str, attribute: dict[str, Any], videos: Sequence[LabelledVideo], classes: Sequence[str]
) -> None:
    keys = [str(index) for index in range(1, len(videos) + 1)]
    files = (
        {"fid": key, "fname": name, "type": VIDEO, "loc": LOCAL, "src": ""}
        for key, name in zip(keys, distinct_names([video.video for video in videos]), strict=True)
    )
    project = {
        "project": {
            "pid": "__VIA_PROJECT_ID__",
            "rev": "__VIA_PROJECT_REV_ID__",
            "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
            "pname": name,
            "creator": CREATOR,
            "created": 0,
            "vid_list": keys,
        },
        "config": {
            "file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}},
            "ui": {
                "file_content_align": "center",
                "file_metadata_editor_visible": True,
                "spatial_metadata_editor_visible": True,
                "temporal_segment_metadata_editor_visible": True,
                "spatial_region_label_attribute_id": "",
                "gtimeline_visible_row_count": "4",
            },
        },
        "attribute": {ATTRIBUTE: attribute},
        "file": dict(zip(keys, files, strict=True)),
        "metadata": {identity: content for identity, _, content in _segments(videos, classes)},
        "view": {key: {"fid_list": [key]} for key in keys},
    }
    json.dump(project, file)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
