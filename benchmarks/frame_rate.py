"""What fewer frames per second save and cost: the stages run at each rate, and held-out videos are labelled in turn.

    python benchmarks/frame_rate.py grid_features --root ../shared/data/grid --rates 12.5 5 1
    python benchmarks/frame_rate.py template --root ../shared/data/urfall --rates 15 5 1

The first argument is a file of configs/dataset. A row is a rate, and the first one has every frame.

encoded        share of the frames that are encoded, in percent
speed          frames that get a label per second, as a ratio to the first row; all rates take turns
accuracy       frame accuracy of a model that was trained at the rate
F1@50, edit    of its segments, without the background where there is one
not trained    frame accuracy of the model of every frame, used at the rate (`framescribe label --frame-rate`)

All scores are of every frame of the held-out videos, in percent, pooled. `--set KEY=VALUE` changes a setting and
`--work` keeps what the stages make, as in benchmarks/quality.py.
"""

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from quality import Row, print_table, run_stages
from turns import take_turns

from pipeline.datasets.manifest import Manifest, read_manifest
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.video import VideoLabels, label_video
from pipeline.stages.paths import LABELLER, PREPARED

EVERY = "every frame"
COLUMNS = ("encoded", "speed", "accuracy", "F1@50", "edit", "not trained")


def main() -> None:
    """Train at each rate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="the name of its settings in configs/dataset")
    parser.add_argument("--root", type=Path, required=True, help="its folder")
    parser.add_argument("--rates", type=float, nargs="+", default=[12.5, 5.0, 1.0], help="frames per second")
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often the held-out videos are labelled for the speed"
    )
    parser.add_argument("--videos", type=int, default=10, help="how many of them, at most")
    parser.add_argument("--work", type=Path, help="keep what the stages make here")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as in configs/")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="framescribe-frame-rate-") as temporary:
        print_table({name: name for name in COLUMNS}, make_rows(options, options.work or Path(temporary)))


def make_rows(options: argparse.Namespace, work: Path) -> dict[str, Row]:
    """Train at each rate, and return the row of each.

    Args:
        options: The command line.
        work: The folder in which each rate gets a folder of its own.
    """
    rates: dict[str, float | None] = {EVERY: None, **{f"{rate:g} per second": rate for rate in options.rates}}
    works = {name: work / name.replace(" ", "_") for name in rates}
    scores, models = {}, {}
    for name, rate in rates.items():
        setting = f"dataset.frame_rate={'null' if rate is None else rate}"
        scores[name] = run_stages(options.dataset, options.root, works[name], [setting, *options.set])
        models[name] = load_model(str(works[name] / LABELLER), device="auto")
    manifest, labels = read_manifest(works[EVERY] / PREPARED)
    split = "test" if manifest.of_split("test") else "val"
    paths = [Path(source.path) for source in manifest.of_split(split)]
    some = paths[: options.videos]
    seconds = take_turns({name: partial(label_all, some, model) for name, model in models.items()}, options.rounds)
    rows: dict[str, Row] = {}
    for name, model in models.items():
        found, of_split = label_all(some, model), scores[name][split]
        suffix = "_without_background" if manifest.label_space.background else ""
        untrained = label_all(paths, models[EVERY].at_rate(rates[name]))
        rows[name] = (
            100 * sum(each.num_encoded or 0 for each in found) / sum(len(each.labels) for each in found),
            seconds[EVERY] / seconds[name],
            of_split["frame_accuracy_pooled"],
            of_split.get(f"f1_at_50_pooled{suffix}"),
            of_split.get(f"edit_pooled{suffix}"),
            accuracy(untrained, [labels[path.stem] for path in paths], manifest),
        )
    return rows


def label_all(paths: Sequence[Path], model: Model) -> list[VideoLabels]:
    """Label videos, one after the other."""
    return [label_video(path, model) for path in paths]


def accuracy(found: Sequence[VideoLabels], truth: Sequence[np.ndarray], manifest: Manifest) -> float:
    """Return how many of the labelled frames have the right label, in percent."""
    is_labelled = manifest.label_space.is_labelled
    right = [each.labels[is_labelled(true)] == true[is_labelled(true)] for each, true in zip(found, truth, strict=True)]
    return 100 * float(np.concatenate(right).mean())


if __name__ == "__main__":
    main()
