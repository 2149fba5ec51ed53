"""How well falls are found in UR Fall: activities like those of training, and activities that training never saw.

    python benchmarks/falls.py --root ../shared/data/urfall

The first part has the given splits. For the second part the videos are dealt by the numbers in their names: falls from
23 on and daily life from 31 on are held out, which are activities, and partly rooms, of which training has none.

balanced accuracy, macro F1, F1 of falling   of the frames of the held-out videos, pooled
F1@50, edit                                  of their segments, pooled
falls found       share of the true segments of `falling` that a predicted one meets
false alarms      predicted segments of `falling` that meet no true one, per hour of video
delay             seconds from the begin of a true segment to that of the first one that meets it, median; negative
                  where it begins too early

Each part has the labeller, which reads the video in both directions; the encoder without a recurrent network; and a
labeller that reads forward only (`labeller=gru`), whose alarm comes while the video runs. With several seeds there are
rows of what they score when they label together. `--seeds`, `--set` and `--work` are those of benchmarks/quality.py.
"""

import argparse
import os
import re
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from causal import share
from quality import Row, Scores, mean, print_table, run_stages, score_together

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segments import Segment, segments_from_frames
from pipeline.datasets.manifest import read_manifest
from pipeline.labelling.model import load_model
from pipeline.labelling.video import VideoLabels, label_video
from pipeline.stages.paths import LABELLER, PREPARED

ALARM, FORWARD = "falling", "labeller, forward only"
FIRST_HELD_OUT = {"fall": 23, "adl": 31}
COLUMNS = ("balanced accuracy", "all frames", "macro F1", f"F1 of {ALARM}", "F1@50", "edit")
ALARM_COLUMNS = ("falls found, %", "false alarms per hour", "delay, s")


class Alarms(NamedTuple):
    """What became of the alarms of some videos.

    Attributes:
        delays: Of each true segment that is found, in seconds.
        num_true: The number of true segments.
        num_false: The number of predicted segments that meet no true one.
        hours: The length of the videos.
    """

    delays: list[float]
    num_true: int
    num_false: int
    hours: float


def main() -> None:
    """Run the stages for each part and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the folder of the data set")
    parser.add_argument("--dataset", default="template", help="the name of its settings in configs/dataset")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0 on")
    parser.add_argument("--work", type=Path, help="keep what the stages make here")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as in configs/")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="framescribe-falls-") as temporary:
        work = (args.work or Path(temporary)).resolve()
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{work / 'mlflow.db'}"  # the runs of what rows share are found
        other = deal_by_activity(args.root, work / "by_activity")
        for title, root in {"activities as in training": args.root, "other activities": other}.items():
            rows, alarms = score(args, root, work / root.name)
            print(f"\n{title}\n")
            print_table({name: name for name in COLUMNS}, rows)
            print()
            print_table({name: name for name in ALARM_COLUMNS}, alarms)


def deal_by_activity(root: Path, folder: Path) -> Path:
    """Copy the data set, with the held-out activities as its validation split; `root` and `folder` are the folders."""
    if not folder.exists():
        shutil.copytree(root, folder)
        splits: dict[str, list[str]] = {"train": [], "val": []}
        for path in sorted((folder / "videos").iterdir()):
            kind, number = re.fullmatch(r"([a-z]+)-(\d+)", path.stem).groups()  # type: ignore[union-attr]
            splits["val" if int(number) >= FIRST_HELD_OUT[kind] else "train"].append(path.stem)
        for name, stems in splits.items():
            (folder / "splits" / f"{name}.txt").write_text("\n".join(stems) + "\n")
    return folder


def score(args: argparse.Namespace, root: Path, work: Path) -> tuple[dict[str, Row], dict[str, Row]]:
    """Train on a data set and score its held-out videos: the rows of the two tables.

    Args:
        args: The command line.
        root: The folder of the data set.
        work: The folder in which the stages run.
    """
    rows, alarms = {}, {}
    for name, settings in {"labeller": (), FORWARD: ("labeller=gru",)}.items():
        works = [work / f"seed{seed}" / name for seed in range(args.seeds)]
        scores = []
        for seed, folder in enumerate(works):
            if name == FORWARD:
                share(work / f"seed{seed}" / "labeller", folder)
            scores.append(run_stages(args.dataset, root, folder, [f"seed={seed}", *settings, *args.set]))
        rows[name] = mean([row(of_seed, "val") for of_seed in scores])
        alarms[name] = mean([alarm_row(count_alarms([folder])) for folder in works])
        if len(works) > 1:
            rows[f"{name}, the seeds together"] = row({"val": score_together(works, "val")}, "val")
            alarms[f"{name}, the seeds together"] = alarm_row(count_alarms(works))
        if name != FORWARD:
            rows["encoder alone"] = mean([row(of_seed, "val_without_rnn") for of_seed in scores])
    return rows, alarms


def row(scores: Scores, part: str) -> Row:
    """Return the cells of COLUMNS; `scores` are all of a run, and `part` is the name of those that are wanted."""
    of_part = scores[part]
    recalls = [value for name, value in of_part.items() if name.startswith("class_recall/")]
    names = ("frame_accuracy_pooled", "frame_macro_f1_pooled", f"class_f1/{ALARM}", "f1_at_50_pooled", "edit_pooled")
    return [statistics.mean(recalls), *(of_part.get(name) for name in names)]


def alarm_row(alarms: Alarms) -> Row:
    """Return the cells of ALARM_COLUMNS."""
    found = 100 * len(alarms.delays) / alarms.num_true
    return [found, alarms.num_false / alarms.hours, statistics.median(alarms.delays) if alarms.delays else None]


def count_alarms(works: Sequence[Path]) -> Alarms:
    """Label the held-out videos with the labellers of folders in which the stages ran, and count the alarms."""
    manifest, labels = read_manifest(works[0] / PREPARED)
    model = load_model([str(work / LABELLER) for work in works], device="cpu")
    videos = [(labels[source.stem], label_video(Path(source.path), model)) for source in manifest.of_split("val")]
    counts = [alarms_of(true, found, manifest.label_space) for true, found in videos]
    return Alarms(
        [delay for count in counts for delay in count.delays],
        *(sum(numbers) for numbers in list(zip(*counts, strict=True))[1:]),
    )


def alarms_of(true: np.ndarray, found: VideoLabels, label_space: LabelSpace) -> Alarms:
    """Compare the segments of a video.

    Args:
        true: int64 [T], the true labels. What lies in unlabelled frames alone is neither right nor wrong.
        found: What the model found.
        label_space: The classes.
    """
    given, predicted = (alarm_segments(each, label_space) for each in (true, found.labels))
    first = [next((alarm for alarm in predicted if meet(segment, alarm)), None) for segment in given]
    delays = [
        float(found.pts_seconds[alarm.start] - found.pts_seconds[segment.start])
        for segment, alarm in zip(given, first, strict=True)
        if alarm is not None
    ]
    known = label_space.is_labelled(true)
    false_alarms = [
        alarm
        for alarm in predicted
        if known[alarm.start : alarm.stop].any() and not any(meet(segment, alarm) for segment in given)
    ]
    seconds = float(found.pts_seconds[-1] - found.pts_seconds[0] + found.frame_seconds)
    return Alarms(delays, len(given), len(false_alarms), seconds / 3600)


def alarm_segments(labels: np.ndarray, label_space: LabelSpace) -> list[Segment]:
    """Return the segments of the class ALARM."""
    alarm = label_space.index(ALARM)
    return [segment for segment in segments_from_frames(labels) if segment.class_index == alarm]


def meet(one: Segment, two: Segment) -> bool:
    """Return whether two segments have a frame in common."""
    return one.start < two.stop and two.start < one.stop


if __name__ == "__main__":
    main()
