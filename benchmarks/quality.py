"""What the labeller scores on real data, beside published numbers: runs the pipeline's stages and reads their scores.

    python benchmarks/quality.py gtea --root ../shared/data/gtea     the four folds, split1 .. split4
    python benchmarks/quality.py grid --root ../shared/data/grid     the held-out clips

`--set labeller=bilstm` changes a setting as `dvc exp run -S` does; `--work` keeps what the stages make, checkpoints and
reports, which else lie in a temporary folder. docs/benchmarks.md holds what was measured.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

REPOSITORY = Path(__file__).resolve().parents[1]
STAGES = (
    "prepare",
    "finetune_encoder",
    "extract_features",
    "train_labeller",
    "train_baseline",
    "evaluate_labeller",
)
FOLDS = (1, 2, 3, 4)
Row = Sequence[float | None]

# Averaged over videos, background left out of edit and F1 but not of accuracy, as the published scores are.
GTEA_COLUMNS = {
    "F1@10": "f1_at_10_per_video_without_background",
    "F1@25": "f1_at_25_per_video_without_background",
    "F1@50": "f1_at_50_per_video_without_background",
    "edit": "edit_per_video_without_background",
    "accuracy": "frame_accuracy_per_video",
}
GTEA_PUBLISHED = {  # on the same features
    "published: Bi-LSTM": (66.5, 59.0, 43.6, None, 55.5),
    "published: ED-TCN": (72.2, 69.3, 56.0, None, 64.0),
    "published: TDRN": (79.2, 74.4, 62.7, None, 70.1),
}
GRID_COLUMNS = {
    "F1@50": "f1_at_50_per_video_without_background",
    "edit": "edit_per_video_without_background",
    "spoken frames": "frame_accuracy_pooled_without_background",
    "all frames": "frame_accuracy_pooled",
}
GRID_PRIOR = {"the most frequent class at each position, no pixel looked at": (2.2, 17.1, 9.2, 53.5)}


def main() -> None:
    """Run the stages and print the table."""
    args = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="framescribe-quality-") as temporary:
        work = args.work or Path(temporary)
        if args.dataset == "gtea":
            folds = [run_stages("gtea", args.root / f"split{i}", work / f"split{i}", args.set) for i in FOLDS]
            rows = {f"fold {i}": row(fold["test"], GTEA_COLUMNS) for i, fold in zip(FOLDS, folds, strict=True)}
            alone = mean([row(fold["test_without_rnn"], GTEA_COLUMNS) for fold in folds])
            rows |= {"mean of the folds": mean([*rows.values()]), "the same without RNN": alone}
            print_table(GTEA_COLUMNS, rows | GTEA_PUBLISHED)
        else:
            scores = run_stages("grid", args.root, work / "grid", args.set)
            rows = {"labeller": row(scores["val"], GRID_COLUMNS)}
            rows["the same without RNN"] = row(scores["val_without_rnn"], GRID_COLUMNS)
            print_table(GRID_COLUMNS, rows | GRID_PRIOR)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=["gtea", "grid"])
    parser.add_argument("--root", type=Path, required=True, help="its folder; of gtea: the one of split1 .. split4")
    parser.add_argument("--work", type=Path, help="keep what the stages make here")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as in configs/")
    return parser.parse_args()


def run_stages(dataset: str, root: Path, work: Path, overrides: Sequence[str]) -> dict[str, dict[str, float]]:
    """results/metrics.json of the stages of dvc.yaml, run in the folder `work` with a params.yaml of its own."""
    work.mkdir(parents=True, exist_ok=True)
    with initialize_config_dir(str(REPOSITORY / "configs"), version_base=None):
        params = compose("config", [f"dataset={dataset}", f"dataset.root={root.resolve()}", *overrides])
    OmegaConf.save(params, work / "params.yaml", resolve=True)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    for stage in STAGES:
        print(f"{work.name}: {stage}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", f"pipeline.stages.{stage}"], cwd=work, env=environment, check=True)
    scores: dict[str, dict[str, float]] = json.loads((work / "results" / "metrics.json").read_text())
    return scores


def row(scores: Mapping[str, float], columns: Mapping[str, str]) -> Row:
    return [scores[name] for name in columns.values()]


def mean(rows: Sequence[Row]) -> Row:
    """Of each column; these rows have no empty cell."""
    return [sum(cell for cell in column if cell is not None) / len(rows) for column in zip(*rows, strict=True)]


def print_table(columns: Mapping[str, str], rows: Mapping[str, Row]) -> None:
    """Markdown, in percent, as docs/benchmarks.md has it."""
    print("| | " + " | ".join(columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join("-" if cell is None else f"{cell:.1f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
