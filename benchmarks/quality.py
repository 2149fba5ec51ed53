"""What the labeller scores on real data, beside published numbers: runs the pipeline's stages and reads their scores.

    python benchmarks/quality.py gtea --root ../shared/data/gtea     its folds, split1 .. split4
    python benchmarks/quality.py grid --root ../shared/data/grid     the held-out clips, by an encoder trained on them
    python benchmarks/quality.py grid_features --root ../shared/data/grid     the same on frozen features, in minutes

`gtea` takes any data set of ready features in folds, a folder split<n> each, and the other two score test clips too
where there are some. What an epoch takes stands beside the progress bar of the stage train_labeller.

`--seeds 3` repeats it with the seeds 0, 1 and 2 and shows their means, how far the seeds are apart, and what they score
when they label together, which averages their probabilities.
`--set labeller=bilstm` changes a setting as `dvc exp run -S` does; `--work` keeps what the stages make, checkpoints and
reports, which else lie in a temporary folder. The results are in
docs/results/benchmarks/quality_gtea.md and quality_grid.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from across_folds import Calibration, calibrate
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from pipeline.datasets.manifest import read_manifest
from pipeline.labelling.model import load_model
from pipeline.labelling.video import label_video
from pipeline.metrics.report import evaluate, flatten
from pipeline.stages.evaluate_labeller import calibration_of
from pipeline.stages.paths import LABELLER, PREPARED

REPOSITORY = Path(__file__).resolve().parents[1]
STAGES = (
    "prepare",
    "finetune_encoder",
    "extract_features",
    "train_labeller",
    "train_baseline",
    "evaluate_labeller",
)
TEMPERED = "calibration_error_tempered_by_the_other_folds"
BY_CHANCE = "calibration_error_of_right_probabilities"
Row = Sequence[float | None]
Scores = dict[str, dict[str, float]]  # by split and name, as in results/metrics.json

# Averaged over videos, background left out of edit and F1 but not of accuracy, as the published scores are.
GTEA_COLUMNS = {
    "F1@10": "f1_at_10_per_video_without_background",
    "F1@25": "f1_at_25_per_video_without_background",
    "F1@50": "f1_at_50_per_video_without_background",
    "edit": "edit_per_video_without_background",
    "accuracy": "frame_accuracy_per_video",
    "calibration error": "calibration_error",
    "tempered by the other folds": TEMPERED,
    "of exactly right probabilities": BY_CHANCE,
}
GTEA_PUBLISHED = {  # on the same features
    "published: Bi-LSTM": (66.5, 59.0, 43.6, None, 55.5, None, None, None),
    "published: ED-TCN": (72.2, 69.3, 56.0, None, 64.0, None, None, None),
    "published: TDRN": (79.2, 74.4, 62.7, None, 70.1, None, None, None),
}
GRID_COLUMNS = {
    "F1@50": "f1_at_50_per_video_without_background",
    "edit": "edit_per_video_without_background",
    "spoken frames": "frame_accuracy_pooled_without_background",
    "all frames": "frame_accuracy_pooled",
    "calibration error": "calibration_error",
}
GRID_PRIOR = {"the most frequent class at each position, no pixel looked at": (2.2, 17.1, 9.2, 53.5, None)}


def main() -> None:
    """Run the stages and print the table."""
    args = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="framescribe-quality-") as temporary:
        work = args.work or Path(temporary)
        if args.dataset == "gtea":
            roots = sorted(args.root.glob("split*"))
            if not roots:
                sys.exit(f"{args.root}: has no folder split1, split2, ..: is --root the folder that holds them?")
            folds = {root.name: run_seeds("gtea", root, work / root.name, args) for root in roots}
            together = temper_folds(folds, work) if len(folds) > 1 else []
            rows = fold_rows(folds)
            if args.seeds > 1:
                of_folds = [score_together(seed_folders(work / name, args.seeds), "test") for name in folds]
                rows["the seeds together"] = mean([row(scores, GTEA_COLUMNS) for scores in of_folds])
            print_table(GTEA_COLUMNS, rows | (GTEA_PUBLISHED if args.root.name == "gtea" else {}))
            for seed, found in enumerate(together):
                print(
                    f"\nseed {seed}, calibration error of all test videos together: {found.together_as_they_are:.1f},"
                    f" tempered by the other folds {found.together:.1f},"
                    f" of exactly right probabilities {found.together_by_chance:.1f}"
                )
        else:
            seeds = run_seeds(args.dataset, args.root, work / args.dataset, args)
            names = {"val": "labeller", "test": "labeller, test clips"}
            names |= {f"{split}_without_rnn": f"{name}, without RNN" for split, name in names.items()}
            rows = {
                name: mean([row(scores[part], GRID_COLUMNS) for scores in seeds])
                for part, name in names.items()
                if part in seeds[0]
            }
            for part in ("val", "test") if args.seeds > 1 else ():
                if part in seeds[0]:
                    scores = score_together(seed_folders(work / args.dataset, args.seeds), part)
                    rows[f"{names[part]}, the seeds together"] = row(scores, GRID_COLUMNS)
            print_table(GRID_COLUMNS, rows | GRID_PRIOR)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=["gtea", "grid", "grid_features"])
    parser.add_argument("--root", type=Path, required=True, help="its folder; of gtea: the one of split1, split2, ..")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0 on")
    parser.add_argument("--work", type=Path, help="keep what the stages make here")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as in configs/")
    return parser.parse_args()


def run_seeds(dataset: str, root: Path, work: Path, args: argparse.Namespace) -> list[Scores]:
    """Run the stages with each seed and return their scores.

    Args:
        dataset: The name of its settings in configs/.
        root: The folder of the data set.
        work: The folder in which each seed gets its own folder.
        args: The arguments of the command line.
    """
    folders = seed_folders(work, args.seeds)
    return [run_stages(dataset, root, folder, [f"seed={seed}", *args.set]) for seed, folder in enumerate(folders)]


def seed_folders(work: Path, num_seeds: int) -> list[Path]:
    """Return the folder of each seed."""
    return [work / f"seed{seed}" for seed in range(num_seeds)]


def score_together(works: Sequence[Path], split: str) -> dict[str, float]:
    """Score the labels that the labellers of several seeds give together.

    Args:
        works: The folders in which the stages ran, one for each seed.
        split: The name of the split.

    Returns:
        The scores by name, as `results/metrics.json` has them; none where a seed has other videos in the split, which
        the labellers of the other seeds may have been trained on.
    """
    manifest, labels = read_manifest(works[0] / PREPARED)
    sources = manifest.of_split(split)
    if any(read_manifest(work / PREPARED)[0].of_split(split) != sources for work in works):
        return {}
    model = load_model([str(work / LABELLER) for work in works], device="cpu")
    predicted = {source.stem: label_video(Path(source.path), model) for source in sources}
    truth = {stem: labels[stem] for stem in predicted}
    probabilities = {stem: result.class_probabilities for stem, result in predicted.items()}
    found = {stem: result.labels for stem, result in predicted.items()}
    scores = flatten(evaluate(truth, found, manifest.label_space, probabilities))
    return scores | calibration_of(truth, predicted, manifest.label_space)


def run_stages(dataset: str, root: Path, work: Path, overrides: Sequence[str]) -> Scores:
    """Run the stages of dvc.yaml in the folder `work`, with its own params.yaml.

    Args:
        dataset: The name of its settings in configs/.
        root: The folder of the data set.
        work: The folder, which is created.
        overrides: Settings, as for Hydra.

    Returns:
        results/metrics.json.
    """
    write_params(work, [f"dataset={dataset}", f"dataset.root={root.resolve()}", *overrides])
    run_each(work, STAGES)
    scores: Scores = json.loads((work / "results" / "metrics.json").read_text())
    return scores


def write_params(work: Path, overrides: Sequence[str]) -> None:
    """Write the params.yaml of a training into its folder, which is created; `overrides` are as for Hydra."""
    work.mkdir(parents=True, exist_ok=True)
    with initialize_config_dir(str(REPOSITORY / "configs"), version_base=None):
        OmegaConf.save(compose("config", list(overrides)), work / "params.yaml", resolve=True)


def run_each(work: Path, stages: Sequence[str]) -> None:
    """Run stages of dvc.yaml in the folder `work`, one after the other."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    for stage in stages:
        print(f"{work}: {stage}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", f"pipeline.stages.{stage}"], cwd=work, env=environment, check=True)


def temper_folds(folds: Mapping[str, Sequence[Scores]], work: Path) -> list[Calibration]:
    """Add to the test scores their calibration error at the temperature of the other folds.

    Args:
        folds: The scores of each seed, by the name of the fold; those of the test split are changed.
        work: The folder of the folds.

    Returns:
        For each seed, the calibration errors of all folds.
    """
    together = []
    for seed, of_seed in enumerate(zip(*folds.values(), strict=True)):
        together.append(calibrate([work / name / f"seed{seed}" for name in folds]))
        by_chance = together[-1].of_folds_by_chance
        for scores, error, chance in zip(of_seed, together[-1].of_folds, by_chance, strict=True):
            scores["test"] |= {TEMPERED: error, BY_CHANCE: chance}
    return together


def fold_rows(folds: Mapping[str, Sequence[Scores]]) -> dict[str, Row]:
    """Make a row for each fold, the mean over its seeds, and rows for all folds.

    These are the mean of the folds, its standard deviation over seeds, and the mean without the recurrent network.
    """
    rows = {name: mean([row(scores["test"], GTEA_COLUMNS) for scores in seeds]) for name, seeds in folds.items()}
    rows["mean of the folds"] = mean([*rows.values()])
    of_seeds = [
        mean([row(scores["test"], GTEA_COLUMNS) for scores in of_seed]) for of_seed in zip(*folds.values(), strict=True)
    ]
    if len(of_seeds) > 1:
        rows["standard deviation over seeds"] = [statistics.stdev(column) for column in zip(*of_seeds, strict=True)]
    alone = [row(scores["test_without_rnn"], GTEA_COLUMNS) for seeds in folds.values() for scores in seeds]
    return rows | {"the same without RNN": mean(alone)}


def row(scores: Mapping[str, float], columns: Mapping[str, str]) -> Row:
    """Return the scores of each column, None where there is no such score; `columns` has their names by title."""
    return [scores.get(name) for name in columns.values()]


def mean(rows: Sequence[Row]) -> Row:
    """Return the mean of each column; None where a row has no such score."""
    return [None if None in column else statistics.mean(column) for column in zip(*rows, strict=True)]


def print_table(columns: Mapping[str, str], rows: Mapping[str, Row]) -> None:
    """Print a table in Markdown, in percent, as in the pages of docs/results.

    Args:
        columns: The columns by title.
        rows: The rows by title.
    """
    print("| | " + " | ".join(columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join("-" if cell is None else f"{cell:.1f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
