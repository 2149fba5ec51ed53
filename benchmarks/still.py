"""What `framescribe label --static-threshold` saves and costs, level by level.

docs/results/benchmarks/static_camera.md has the results.

    python benchmarks/still.py                          the held-out videos of the data set that was prepared last
    python benchmarks/still.py --video night.mp4 ...    videos without truth

encoded    share of the frames that are encoded
same       share of the frames that have the label which they have without --static-threshold
accuracy   share of the labelled frames that are right, for videos with truth
speed      frames a second, of those without --static-threshold
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.datasets.manifest import read_manifest
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.video import label_video
from pipeline.stages.paths import LABELLER, PREPARED
from pipeline.video.open import open_scaled
from pipeline.video.static_frames import StaticFrames

LEVELS = (None, 1.0, 2.0, 4.0, 8.0, 16.0)


def main() -> None:
    """Print the table of each video."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(LABELLER), help="checkpoint folder, or MLflow URI")
    parser.add_argument("--video", type=Path, nargs="+", help="what to label")
    options = parser.parse_args()
    model = load_model(options.model, device="auto")
    given: list[tuple[str, dict[Path, np.ndarray | None]]] = [(path.name, {path: None}) for path in options.video or ()]
    for name, truths in given or [held_out()]:
        print(name)
        print_levels(model, truths)


def held_out() -> tuple[str, dict[Path, np.ndarray | None]]:
    """Return a title for the test videos of the prepared data set, and the labels int64 [T] of each."""
    manifest, labels = read_manifest(PREPARED)
    sources = manifest.of_split("test")
    return f"{len(sources)} test videos of {manifest.name}", {Path(s.path): labels[s.stem] for s in sources}


def print_levels(model: Model, truths: dict[Path, np.ndarray | None]) -> None:
    """Print a row for each level.

    Args:
        model: The labeller.
        truths: The labels int64 [T] of each video; None where they are unknown.
    """
    label_video(next(iter(truths)), model)  # one turn that does not count
    without: list[np.ndarray] = []
    fastest = 0.0
    for level in LEVELS:
        changed = replace(model, static_threshold=level)
        changed.__dict__["runtime"] = model.runtime  # the same one, which took seconds to open
        start = time.perf_counter()
        labels = [label_video(path, changed).labels for path in truths]
        rate = sum(map(len, labels)) / (time.perf_counter() - start)
        without, fastest = (labels, rate) if level is None else (without, fastest)
        encoded = np.concatenate([new for path in truths for new in new_frames(path, model, level)]).mean()
        same = np.concatenate(labels) == np.concatenate(without)
        is_labelled = model.spec.label_space.is_labelled
        right = [found[is_labelled(true)] == true[is_labelled(true)]
                 for found, true in zip(labels, truths.values(), strict=True) if true is not None]  # fmt: skip
        accuracy = f"accuracy {np.concatenate(right).mean():6.1%}" if right else ""
        print(f"  {level or 'off':>5}  encoded {encoded:6.1%}  same {same.mean():6.1%}  {accuracy}"
              f"  speed {rate / fastest:.2f}")  # fmt: skip


def new_frames(path: Path, model: Model, level: float | None) -> Iterator[np.ndarray]:
    """Yield for each batch of a video, bool [T], whether each frame is encoded at this level; None encodes all."""
    assert model.runtime is not None
    static_frames = None if level is None else StaticFrames(level)
    with open_scaled(path, model.runtime.frame_encoder.preprocess) as reader:
        for batch in reader.read():
            yield np.ones(len(batch.pixels), bool) if static_frames is None else static_frames.are_new(batch.pixels)


if __name__ == "__main__":
    main()
