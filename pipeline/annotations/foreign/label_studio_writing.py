"""Writing the JSON that Label Studio imports.

The labelling interface of the project needs tags of these names, with the frame rate of the videos:

    <View>
      <TimelineLabels name="videoLabels" toName="video"><Label value="..."/></TimelineLabels>
      <Video name="video" value="$video" frameRate="$fps"/>
    </View>
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.annotations.foreign.base import LabelledVideo
from pipeline.annotations.foreign.document import Loss
from pipeline.annotations.foreign.unkept import changed_names
from pipeline.annotations.foreign.values import distinct_names
from pipeline.annotations.layouts import PROBABILITY_DECIMALS, mean_probability
from pipeline.annotations.segments import Segment, segments_from_frames
from pipeline.files import replacing

CONTROL, OBJECT = "videoLabels", "video"  # the names of the tags
LOCAL_FILES = "/data/local-files/?d="


def write(path: Path, videos: Sequence[LabelledVideo]) -> list[Loss]:
    """Write the labels of videos as tasks with pre-annotated timelines.

    Frames are those of the file, counted from 1, with the end in the range. Where probabilities are known, the regions
    are a prediction with its scores, otherwise an annotation.

    Args:
        path: The file.
        videos: The labels.

    Returns:
        What is lost: see `unkept`.
    """
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write("[")
        names = distinct_names([video.video for video in videos])
        for index, (video, name) in enumerate(zip(videos, names, strict=True)):
            file.write(",\n" if index else "\n")
            json.dump(_task(video, name), file)
        file.write("\n]\n")
    return changed_names(videos, names)


def _task(video: LabelledVideo, name: str) -> dict[str, Any]:
    address = LOCAL_FILES + quote(name, errors="surrogateescape")
    data = {"video": address, "fps": round(video.frame_rate, 6)}
    regions = [_region(video, number, segment) for number, segment in enumerate(segments_from_frames(video.labels), 1)]
    if video.probabilities is None:
        return {"data": data, "annotations": [{"result": regions}], "predictions": []}
    scores = [region["score"] for region in regions]
    score = round(sum(scores) / len(scores), PROBABILITY_DECIMALS) if scores else 0.0
    prediction = {"model_version": "framescribe", "score": score, "result": regions}
    return {"data": data, "annotations": [], "predictions": [prediction]}


def _region(video: LabelledVideo, number: int, segment: Segment) -> dict[str, Any]:
    region: dict[str, Any] = {
        "id": f"region{number}",
        "type": "timelinelabels",
        "from_name": CONTROL,
        "to_name": OBJECT,
        "value": {
            "ranges": [{"start": segment.start + 1, "end": segment.stop}],
            "timelinelabels": [video.label_space.classes[segment.class_index]],
        },
    }
    if video.probabilities is not None:
        region["score"] = round(mean_probability(segment, video.probabilities), PROBABILITY_DECIMALS)
    return region
