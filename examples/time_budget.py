"""Label a folder of videos and write how long each behaviour lasts in each of them.

    python examples/time_budget.py recordings/ --model models/labeller --out labels --table time_budget.csv

Videos that were labelled before are not labelled again. Videos that cannot be labelled are named on the terminal.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

import framescribe


def time_budget(labels: Path) -> pd.DataFrame:
    """Return the seconds per video (rows) and class (columns), from the segments that `label_folder` wrote."""
    tables = [
        pd.read_csv(path).assign(video=path.name.removesuffix(".segments.csv"))
        for path in sorted(labels.glob("*.segments.csv"))
    ]
    segments = pd.concat(tables)
    segments["seconds"] = segments["stop_seconds"] - segments["start_seconds"]
    return segments.pivot_table(index="video", columns="label", values="seconds", aggfunc="sum", fill_value=0.0)


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--model", default="models/labeller", help="a checkpoint folder or an MLflow URI")
    parser.add_argument("--out", type=Path, default=Path("labels"))
    parser.add_argument("--table", type=Path, default=Path("time_budget.csv"))
    options = parser.parse_args()

    labeller = framescribe.load_labeller(options.model)
    result = framescribe.label_folder(options.videos, labeller, options.out)
    for failure in result.failures:
        print(failure, file=sys.stderr)
    table = time_budget(options.out)
    table.round(2).to_csv(options.table)
    print(table.round(2).to_string())


if __name__ == "__main__":
    main()
