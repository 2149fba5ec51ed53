"""What brings a labeller that reads forward only nearer to one that reads in both directions, setting by setting.

    python benchmarks/causal.py grid_features --root ../shared/data/grid     on frozen features, in minutes
    python benchmarks/causal.py grid --root ../shared/data/grid              with an encoder trained with the labeller

The first row is the bidirectional labeller, and also the teacher of the others. `--seeds` repeats all, `--only` chooses
rows by their names, and `--work` keeps what is made: a row that is finished there is not made again.
The scores are those of quality.py, of files. The columns "live" are of the labels that the same clips get live, which
wait for the look-ahead and for the shortest segment. Features and the model without a recurrent network are made once
for all rows.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from quality import GRID_COLUMNS, Row, Scores, mean, print_table, row, run_stages

from pipeline.datasets.manifest import read_manifest
from pipeline.labelling.live_decisions import live_decisions
from pipeline.labelling.model import load_model
from pipeline.labelling.reading import read_video
from pipeline.metrics.report import evaluate, flatten
from pipeline.stages.paths import LABELLER, PREPARED
from pipeline.video.open import open_scaled

LIVE_COLUMNS = {f"live {name}": GRID_COLUMNS[name] for name in ("F1@50", "spoken frames")}
CAUSAL = ("labeller=gru",)
SHARED = ("data", "models/encoder", "models/baseline")
BURN_IN = ("training.burn_in_frames=20",)
LOOK_AHEAD = ("labeller.look_ahead=5",)
TEACHER, LEARNS = "bidirectional", ("distillation.weight=0.5", "distillation.temperature=2")
ROWS: dict[str, Sequence[str]] = {
    TEACHER: (),
    "causal": CAUSAL,
    "causal, burn-in 20": CAUSAL + BURN_IN,
    "causal, look-ahead 5": CAUSAL + LOOK_AHEAD,
    "causal, distilled": CAUSAL + LEARNS,
    "causal, burn-in 20, distilled": CAUSAL + BURN_IN + LEARNS,
    "causal, look-ahead 5, burn-in 20": CAUSAL + LOOK_AHEAD + BURN_IN,
    "causal, look-ahead 5, distilled": CAUSAL + LOOK_AHEAD + LEARNS,
    "causal, look-ahead 5, burn-in 20, distilled": CAUSAL + LOOK_AHEAD + BURN_IN + LEARNS,
}


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=["grid", "grid_features"])
    parser.add_argument("--root", type=Path, required=True, help="the folder of the data set")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0 on")
    parser.add_argument("--work", type=Path, help="keep what the stages make here")
    parser.add_argument("--only", action="append", metavar="NAME", help="a row; the first one is always made")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of all rows")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="framescribe-causal-") as temporary:
        work = (args.work or Path(temporary)).resolve()
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{work / 'mlflow.db'}"  # the runs of what rows share are found
        table = {}
        for name, settings in ROWS.items():
            if name == TEACHER or not args.only or name in args.only:
                rows = [train(args, work / f"seed{seed}", name, settings, seed=seed) for seed in range(args.seeds)]
                table[name] = mean(rows)
                print(f"{name}: {table[name]}", file=sys.stderr)
        print_table(GRID_COLUMNS | LIVE_COLUMNS, table)


def train(args: argparse.Namespace, work: Path, name: str, settings: Sequence[str], *, seed: int) -> Row:
    """Run the stages for one row, with the teacher of the same seed, and score it; a finished row is read again.

    Args:
        args: The arguments of the command line.
        work: The folder of the seed.
        name: The row.
        settings: Its settings.
        seed: The seed.
    """
    folder = work / name.replace(", ", "_").replace(" ", "_")
    metrics = folder / "results" / "metrics.json"
    if not metrics.exists():
        teacher = work / TEACHER / LABELLER
        if name != TEACHER:
            share(work / TEACHER, folder)
        taught = [f"distillation.teacher={teacher}"] if set(LEARNS) <= set(settings) else []
        run_stages(args.dataset, args.root, folder, [f"seed={seed}", *settings, *taught, *args.set])
    scores: Scores = json.loads(metrics.read_text())
    return [*row(scores["val"], GRID_COLUMNS), *live_scores(folder)]


def live_scores(work: Path) -> Row:
    """Score the labels that the held-out clips get live: None for a labeller that needs whole videos.

    Args:
        work: The folder in which the stages ran.
    """
    model = load_model(str(work / LABELLER), device="auto")
    if not model.checkpoint.labeller.causal:
        return [None] * len(LIVE_COLUMNS)
    manifest, labels = read_manifest(work / PREPARED)
    truth, found = {}, {}
    for source in manifest.of_split("val"):
        reading = read_video(
            Path(source.path), [model], frame_rate=None, partial=False, on_progress=lambda _: None, opening=open_scaled
        )
        decisions = live_decisions(model.spec)
        _, known = decisions.add(reading.probabilities[0])
        truth[source.stem], found[source.stem] = labels[source.stem], np.array([*known, *decisions.end()])
    return row(flatten(evaluate(truth, found, manifest.label_space)), LIVE_COLUMNS)


def share(made: Path, work: Path) -> None:
    """Copy what does not depend on the labeller from one folder in which the stages ran to another."""
    for name in SHARED:
        shutil.copytree(made / name, work / name, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
