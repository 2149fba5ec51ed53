"""What an epoch costs where classes overlap, against exclusive classes of the same number: one run, taking turns.

    python benchmarks/overlapping.py

The networks, the features and the number of windows are the same; labels and losses are not. A table has the ratio
overlapping / exclusive of the median seconds of an epoch, which should be at most 1.1.
"""

import argparse
from collections.abc import Callable

import torch
from turns import take_turns

from pipeline.annotations.label_space import LabelSpace
from pipeline.checkpoints.labeller import make_labeller
from pipeline.config.labeller import LabellerSettings
from pipeline.config.params import load_params
from pipeline.datasets.windows import Batch
from pipeline.training.labeller_learner import Learner

LIMIT = 1.1
NUM_FEATURES, BATCH_SIZE = 256, 8


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="the epochs of each that count")
    parser.add_argument("--batches", type=int, default=8, help="the batches of an epoch")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as training has it
    print(f"{'cell':6} {'frames':>6} {'classes':>7} {'labels':12} {'ms':>8} {'ratio':>6}")
    for cell, num_frames, num_classes in (("gru", 64, 4), ("gru", 64, 24), ("gru", 1000, 12), ("none", 64, 12)):
        parts = {
            name: _epoch(space, cell, num_frames=num_frames, num_batches=arguments.batches)
            for name, space in _spaces(num_classes).items()
        }
        seconds = take_turns(parts, arguments.rounds)
        for name, taken in seconds.items():
            ratio = taken / seconds["exclusive"]
            too_slow = "  above the limit" if ratio > LIMIT else ""
            print(f"{cell:6} {num_frames:6} {num_classes:7} {name:12} {1000 * taken:8.1f} {ratio:6.3f}{too_slow}")


def _spaces(num_classes: int) -> dict[str, LabelSpace]:
    names = tuple(f"class {index}" for index in range(num_classes))
    return {
        "exclusive": LabelSpace(names),
        "independent": LabelSpace.independent(names),
        "in pairs": LabelSpace(names, groups=tuple(f"group {index // 2}" for index in range(num_classes))),
    }


def _epoch(space: LabelSpace, cell: str, *, num_frames: int, num_batches: int) -> Callable[[], object]:
    """Return a function that trains one epoch on random features and labels."""
    torch.manual_seed(0)
    labeller = make_labeller(
        LabellerSettings.model_validate({"cell": cell, "hidden_size": 64}), space, num_features=NUM_FEATURES
    )
    groups = [{"params": list(labeller.parameters()), "lr": 1e-3}]
    learner = Learner(labeller, groups, space, settings=load_params().training)
    batches = [
        Batch(
            torch.randn(BATCH_SIZE, num_frames, NUM_FEATURES),
            torch.full((BATCH_SIZE,), num_frames),
            _labels(space, num_frames),
        )
        for _ in range(num_batches)
    ]
    return lambda: learner.train_epoch(batches, epoch=0)


def _labels(space: LabelSpace, num_frames: int) -> torch.Tensor:
    if space.is_exclusive:
        return torch.randint(0, space.num_classes, (BATCH_SIZE, num_frames))
    labels = torch.zeros(BATCH_SIZE, num_frames, space.num_classes, dtype=torch.int8)
    for members in space.group_members:
        chosen = torch.randint(0, len(members) + 1, (BATCH_SIZE, num_frames))
        for position, index in enumerate(members):
            labels[..., index] = (chosen == position).to(torch.int8)
    return labels


if __name__ == "__main__":
    main()
