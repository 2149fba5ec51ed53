"""What the labeller scores on FERAL's videos of drawn mice, from pixels: six behaviours, some of which overlap.

    python benchmarks/feral.py --root ../shared/data/annotations/feral --work feral

The folder has `labels_multilabel.json` and `videos/`. They become a data set in the layout of
docs/users/data_format.md in `WORK/dataset`, on which the stages of the pipeline run. The videos of the splits `test`
and `inference` are the test split. The results are in docs/results/benchmarks/overlapping_classes.md.

`--set KEY=VALUE` changes a setting, as in benchmarks/quality.py.
"""

import argparse
import csv
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quality import print_table, run_stages

SPLITS = {"train": ("train",), "val": ("val",), "test": ("test", "inference")}  # ours, and those of FERAL
PARTS = {"val": "validation", "test": "test"}


def main() -> None:
    """Make the data set, run the stages and print a table for each split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the folder of labels_multilabel.json and videos/")
    parser.add_argument("--work", type=Path, help="keep the data set and what the stages make here")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as in configs/")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="framescribe-feral-") as temporary:
        work = options.work or Path(temporary)
        classes = make_dataset(options.root, work / "dataset")
        scores = run_stages("feral", work / "dataset", work / "run", options.set)
    for split, name in PARTS.items():
        if split in scores:
            print(f"\n{name}")
            print_scores(classes, scores[split], scores[f"{split}_without_rnn"])


def make_dataset(root: Path, dataset: Path) -> list[str]:
    """Write FERAL's labels in the layout of a data set, with links to the videos.

    Args:
        root: The folder of labels_multilabel.json and videos/.
        dataset: The folder of the data set, which does not exist.

    Returns:
        The names of the classes.
    """
    annotations: dict[str, Any] = json.loads((root / "labels_multilabel.json").read_text())
    classes = [annotations["class_names"][str(index)] for index in range(len(annotations["class_names"]))]
    for folder in ("videos", "labels", "splits"):
        (dataset / folder).mkdir(parents=True)
    (dataset / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    for split, theirs in SPLITS.items():
        videos = [Path(video) for name in theirs for video in annotations["splits"].get(name, ())]
        (dataset / "splits" / f"{split}.txt").write_text("".join(f"{video.stem}\n" for video in videos))
        for video in videos:
            (dataset / "videos" / video.name).symlink_to((root / "videos" / video.name).resolve())
            with (dataset / "labels" / f"{video.stem}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([classes, *annotations["labels"][video.name]])
    return classes


def print_scores(classes: list[str], scores: Mapping[str, float], alone: Mapping[str, float]) -> None:
    """Print average precision and F1 of each class and their means, beside those without a recurrent network."""
    columns = ("average precision", "F1", "average precision without RNN", "F1 without RNN")
    of_class = ("class_average_precision", "class_f1")
    rows = {name: [part.get(f"{score}/{name}") for part in (scores, alone) for score in of_class] for name in classes}
    means = ("mean_average_precision_pooled", "frame_macro_f1_pooled")
    rows["**mean**"] = [part.get(name) for part in (scores, alone) for name in means]
    print_table({column: column for column in columns}, rows)


if __name__ == "__main__":
    main()
