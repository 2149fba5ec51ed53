"""The process that labels videos for the studio: `python -m pipeline.studio.models.predicting MODEL FOLDER`.

It loads the model once. Each line of its input is a video, {"id", "path"}; each line of its output is an event of
`predictions`. It ends when its input does: so nothing is left behind by a studio that ends in any way.
"""

import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from pipeline.errors import InputError, describe_failure, name_failure
from pipeline.files import version_of
from pipeline.labelling.location import find_checkpoint
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.report import describe_model
from pipeline.labelling.video import label_video
from pipeline.studio.models.prediction_files import KnownModel, find_fresh, stamp_of, write_prediction
from pipeline.studio.places import Video

SECONDS_BETWEEN_EVENTS = 0.5
NICENESS = 5  # the page that somebody looks at goes first
Job = dict[str, str]


def main(location: str, folder: Path, given: TextIO, events: TextIO) -> None:
    """Label the videos that are asked for, until there are no more.

    Args:
        location: The model.
        folder: The folder of all predictions.
        given: The videos, as lines of JSON.
        events: Where the events are written, as lines of JSON.
    """

    def tell(event: str, **content: Any) -> None:
        events.write(json.dumps({"event": event, **content}) + "\n")
        events.flush()

    jobs: queue.Queue[Job | None] = queue.Queue()
    threading.Thread(target=_read_jobs, args=(given, jobs), daemon=True).start()
    try:
        model = load_model(location, device="auto")
        known = describe(model, location)
        known.write(folder / known.key)
    except Exception as error:  # a library may raise anything: the page says it
        tell("no_model", message=describe_failure(error, folder))
        return
    tell("model", key=known.key)
    while (job := jobs.get()) is not None:
        video = Video(job["id"], Path(job["path"]))
        try:
            _label(video, model, folder / known.key, tell)
        except Exception as error:
            tell("failed", id=video.id, message=_failure(video, error, folder))


def _failure(video: Video, error: Exception, folder: Path) -> str:
    message = name_failure(video.path, "could not be labelled", error, folder)
    return message.replace(f"{video.path}: ", "").replace(str(video.path), video.path.name)


def describe(model: Model, location: str) -> KnownModel:
    """Describe a model as the studio keeps it."""
    space = model.spec.label_space
    checkpoint = find_checkpoint(location)
    stamp = stamp_of(checkpoint)
    return KnownModel(
        key=model.fingerprint,
        name=Path(location).name or location,
        created=(checkpoint / stamp[0][0]).stat().st_mtime,
        classes=space.classes,
        background=space.background,
        groups=space.groups,
        thresholds=() if space.is_exclusive else tuple(each.threshold for each in model.spec.class_decisions),
        stamp=stamp,
        about=describe_model(model),
    )


def _label(video: Video, model: Model, folder: Path, tell: Any) -> None:
    """Label a video, unless that is done already."""
    if find_fresh(folder, video) is None:
        version = version_of(video.path)
        if version is None:
            raise InputError(f"{video.path}: is not there any more")
        told = time.monotonic()

        def on_progress(num_frames: int) -> None:
            nonlocal told
            if time.monotonic() - told >= SECONDS_BETWEEN_EVENTS:
                told = time.monotonic()
                tell("frames", id=video.id, frames=num_frames)

        found = label_video(video.path, model, partial=True, on_progress=on_progress)
        write_prediction(
            folder / f"{video.id}.npz",
            labels=found.labels,
            probabilities=found.class_probabilities,
            pts_seconds=found.pts_seconds,
            version=version,
        )
    tell("done", id=video.id)


def _read_jobs(given: TextIO, jobs: "queue.Queue[Job | None]") -> None:
    """Pass on the videos; when the studio is gone, or has cancelled, end at once, whatever is under way."""
    for line in given:
        job = json.loads(line)
        jobs.put(job if job.get("id") else None)
    os._exit(0)


if __name__ == "__main__":
    # Whatever a library prints must not be between the events.
    _events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.nice(NICENESS)
    main(sys.argv[1], Path(sys.argv[2]), sys.stdin, _events)
