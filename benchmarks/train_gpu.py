"""How long trainings on real data take on a GPU, and how busy it is.

    python benchmarks/train_gpu.py --out FOLDER --grid ROOT --gtea ROOT --flickr8k ROOT [--seconds 480]
    python benchmarks/train_gpu.py --out FOLDER --grid ROOT --device cpu --set training.epochs=1    # to try it out

Each training is the stages of dvc.yaml that make its model, as separate processes, imports and all. A table is printed,
and written to FOLDER/train_gpu.json after each training. A data set without a root is left out, and one that no time
is left for is named.

grid       GRID end to end: 600 clips, and the validation score at the end
gtea       GTEA: four folds with three seeds, four trainings at a time
flickr8k   the captioner of Flickr8k; without its encoding of the images, which the table shows apart
"""

import argparse
import csv
import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from label_gpu import Utilization
from quality import run_each, write_params

from pipeline.stages.paths import CAPTIONER, LABELLER
from pipeline.text.wording import format_table
from pipeline.training.loop import HISTORY

LABELLER_STAGES = ("prepare", "finetune_encoder", "extract_features", "train_labeller")
CAPTIONER_STAGES = ("prepare_captions", "finetune_image_encoder", "encode_images", "train_captioner")
AT_ONCE = 4  # trainings of GTEA
NUM_SEEDS = 3
SHOWN = ("val_f1_at_50", "val_cider")


def main() -> None:
    """Run the trainings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder of train_gpu.json and of the models")
    for name in ("grid", "gtea", "flickr8k"):
        parser.add_argument(f"--{name}", type=Path, metavar="ROOT", help=f"the folder of {name}")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as in configs/")
    parser.add_argument("--seconds", type=float, default=480, help="no training begins later (default: 480)")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("not measured: no GPU")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name() if options.device == "cuda" else "a CPU"
    print(f"{name}; {os.cpu_count()} cores; torch {torch.__version__}")
    began, rows = time.perf_counter(), []
    header = ["training", "seconds", "GPU", "epochs", "best validation score"]
    for title, measure in trainings(options):
        if time.perf_counter() - began > options.seconds:
            print(f"{title}: left out, no time")
            continue
        with Utilization(options.device) as busy:
            start = time.perf_counter()
            folders = measure()
            seconds = time.perf_counter() - start
        rows.append([title, f"{seconds:.0f}", str(busy), *histories(folders)])
        found = [dict(zip(header, row, strict=True)) for row in rows]
        (options.out / "train_gpu.json").write_text(json.dumps({"gpu": name, "rows": found}, indent=1) + "\n")
    print(format_table([header, *rows], gap="  "))


def trainings(options: argparse.Namespace) -> Iterator[tuple[str, partial[list[Path]]]]:
    """Yield the title of each measurement, and a function that does it and returns the folders of the models."""
    device = f"training.device={options.device}"
    if options.grid:
        settings = ["dataset=grid", f"dataset.root={options.grid.resolve()}", device, *options.set]
        folder = options.out / "grid"
        yield "grid", partial(run, folder, settings, LABELLER_STAGES, LABELLER)
    if options.gtea:
        yield "gtea, all folds and seeds", partial(run_gtea, options.gtea, options.out, [device, *options.set])
    if options.flickr8k:
        device = f"captioner.training.device={options.device}"
        settings = ["captions=flickr8k", f"captions.root={options.flickr8k.resolve()}", device, *options.set]
        for stage in CAPTIONER_STAGES:
            yield f"flickr8k, {stage}", partial(run, options.out / "flickr8k", settings, [stage], CAPTIONER)


def run(folder: Path, settings: Sequence[str], stages: Sequence[str], model: Path) -> list[Path]:
    """Run stages in a folder with its own params.yaml, and return the folder of the model."""
    write_params(folder, settings)
    run_each(folder, stages)
    return [folder / model]


def run_gtea(root: Path, out: Path, settings: Sequence[str]) -> list[Path]:
    """Train on all folds of GTEA with all seeds, AT_ONCE at a time, and return the folders of the models."""
    folders = []
    for fold in sorted(root.glob("split*")):
        for seed in range(NUM_SEEDS):
            folders.append(out / f"gtea_{fold.name}_{seed}")
            own = ["dataset=gtea", f"dataset.root={fold.resolve()}", f"seed={seed}"]
            write_params(folders[-1], [*own, *settings])
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda folder: run_each(folder, LABELLER_STAGES), folders))
    return [folder / LABELLER for folder in folders]


def histories(models: Sequence[Path]) -> list[str]:
    """Return how many epochs were trained, and the best score of validation, each as a mean of the models."""
    epochs, best = [], []
    for model in models:
        if not (model / HISTORY).exists():
            continue
        with (model / HISTORY).open(newline="") as file:
            rows = list(csv.DictReader(file))
        epochs.append(len(rows))
        name = next((name for name in SHOWN if name in rows[0]), None)
        if name:
            best.append(max(float(row[name]) for row in rows))
    if not epochs:
        return ["-", "-"]
    return [f"{sum(epochs) / len(epochs):.0f}", f"{sum(best) / len(best):.1f}" if best else "-"]


if __name__ == "__main__":
    main()
