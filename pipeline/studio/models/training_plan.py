"""How the studio trains on its data set: the command of the shell, why it cannot, and what the user should know."""

import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.annotations.classes import CLASSES_WITH_GROUPS
from pipeline.annotations.label_space import LabelSpace
from pipeline.errors import InputError
from pipeline.metrics.budgets import read_groups
from pipeline.studio.listing import Row
from pipeline.studio.places import Places

PROJECT = ("dvc.yaml", ".dvc", "configs")  # what the folder of a project has
CONFIGS = Path("configs/dataset")
TEMPLATE = "template"
STAGES = ("prepare", "finetune_encoder", "extract_features", "train_labeller", "train_baseline", "evaluate_labeller")
LEAST_TO_HOLD_OUT = 3  # groups, or videos: one to train on, one to validate on, one to test on
PLAIN = re.compile(r"(?!(null|true|false|inf|nan)$)[a-z/_][a-z0-9_./+-]*", re.IGNORECASE)  # for Hydra, without quotes
OVERLAPPING = (  # see docs/users/train.md
    "labeller.min_segment_frames=auto",
    "training.monitor=mean_average_precision",
    "training.class_weights=square_root",
)


@dataclass(frozen=True)
class Plan:
    """How a training is started.

    Attributes:
        command: The command as the shell would get it.
        problem: Why nothing can be trained; None where it can.
        notes: What the user should know before.
        holds_out: Whether videos are held out, so that scores say something of other videos.
    """

    command: tuple[str, ...]
    problem: str | None = None
    notes: tuple[str, ...] = ()
    holds_out: bool = True


def make_plan(project: Path, places: Places, rows: Sequence[Row], label_space: LabelSpace) -> Plan:
    """Plan the training on a data set.

    Args:
        project: The current folder.
        places: The folders of the data set.
        rows: The videos.
        label_space: The classes.
    """
    if not places.is_dataset:
        return Plan((), "Label files are only looked at: start the studio with a data set to train.")
    labelled = [row for row in rows if row.labelled > 0 and row.state != "problem"]
    left_out = [row for row in rows if row not in labelled]
    settings, notes = _settings(project, places, labelled, label_space)
    holds_out = not any(setting.startswith("dataset.test_fraction=0") for setting in settings)
    overrides = [part for setting in settings for part in ("-S", setting)]
    command = (find_dvc() or "dvc", "exp", "run", "evaluate_labeller", *overrides)
    if labelled:
        says_what = holds_out and f"dataset={TEMPLATE}" in settings  # a file of the project may hold out none
        notes.insert(0, _amount(len(labelled), len(rows), holds_out=says_what))
    if left_out:
        notes.append(f"Left out, as they have no labels or have problems: {_listed([row.file for row in left_out])}.")
    return Plan(command, _problem(project, places, labelled, rows), tuple(notes), holds_out)


def _amount(num_labelled: int, num_videos: int, *, holds_out: bool) -> str:
    """Say what is trained on, and how long that takes."""
    verb = "is" if num_labelled == 1 else "are"
    text = f"{num_labelled} of {num_videos} videos {verb} labelled."
    if holds_out:
        text += (
            " Some of them are held back: the model does not learn from these, so the scores on them say how good it is"
            " on new videos. The Results view lists them after the training."
        )
    return f"{text} A training takes some minutes, and longer for more video."


def _problem(project: Path, places: Places, labelled: Sequence[Row], rows: Sequence[Row]) -> str | None:
    missing = [name for name in PROJECT if not (project / name).exists()]
    if missing:
        return (
            f"The studio was started in {project.resolve()}, which is no folder of a Framescribe project (it has no"
            f" {', '.join(missing)}): start it in the folder of the project."
        )
    if places.read_only:
        return f"Nothing can be trained: {places.read_only}."
    if shutil.which("git") is None or find_dvc() is None:
        name = "git" if shutil.which("git") is None else "dvc"
        return f"{name} is not installed, or not on the PATH: training needs it."
    if not (project / ".git").exists():
        return f"{project.resolve()} is not a repository of git, which dvc needs: run `git init` there, and commit."
    if not labelled and any(row.state == "reading" for row in rows):
        return "The list of videos is still being read."
    if not labelled:
        return "No video has a label yet: label one first."
    return None


def _settings(
    project: Path, places: Places, labelled: Sequence[Row], label_space: LabelSpace
) -> tuple[list[str], list[str]]:
    """Return the settings of the command, and notes on them."""
    config, root = find_config(project, places.root), places.root.resolve()
    if config is not None:
        settings, notes = [f"dataset={config}"], [f"The settings of {CONFIGS / config}.yaml are used."]
    else:
        where = str(root.relative_to(project.resolve())) if root.is_relative_to(project.resolve()) else str(root)
        settings = [f"dataset={TEMPLATE}", f"dataset.name={quote(root.name)}", f"dataset.root={quote(where)}"]
        notes = []
        if label_space.background is not None:
            settings.append(f"dataset.background={quote(label_space.background)}")
        if not label_space.is_exclusive:
            settings += OVERLAPPING
            if not (root / CLASSES_WITH_GROUPS).exists():
                settings.append("dataset.independent_classes=true")
    settings.append("dataset.skip_broken=true")
    num_groups = _count_groups(root, labelled)
    if num_groups < LEAST_TO_HOLD_OUT and not (root / "splits").is_dir():
        settings += ["dataset.val_fraction=0", "dataset.test_fraction=0"]
        what = f"{num_groups} labelled {'video' if num_groups == 1 else 'videos'}"
        if num_groups != len(labelled):
            what = f"videos of {num_groups} {'group' if num_groups == 1 else 'groups'}"
        notes.append(
            f"With {what}, none can be held back to test on: the scores are of the videos that the model is trained on,"
            f" and prove nothing. From {LEAST_TO_HOLD_OUT} on, one is held back."
        )
    return settings, notes


def _count_groups(root: Path, labelled: Sequence[Row]) -> int:
    stems = [row.stem for row in labelled]
    if not (root / "groups.csv").exists():
        return len(stems)
    try:
        return len(set(read_groups(root / "groups.csv", stems).values()))
    except (InputError, OSError):
        return len(stems)  # the training says what is wrong with it


def find_config(project: Path, root: Path) -> str | None:
    """Return the name of the file in configs/dataset/ that describes a data set; None where there is none."""
    for path in sorted((project / CONFIGS).glob("*.yaml")):
        try:
            content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if not isinstance(content, dict) or path.stem == TEMPLATE:
            continue
        described = content.get("dataset", content)
        place = described.get("root") if isinstance(described, dict) else None
        if isinstance(place, str) and (project / place).resolve() == root.resolve():
            return path.stem
    return None


def find_dvc() -> str | None:
    """Return the path of the command dvc: the one on the PATH, or the one beside this Python."""
    beside = Path(sys.executable).parent / "dvc"
    return shutil.which("dvc") or (str(beside) if beside.exists() else None)


def quote(text: str) -> str:
    r"""Return text as Hydra takes it for the value of a setting.

    >>> quote("data/mine"), quote("my data"), quote("it's")
    ('data/mine', "'my data'", "'it\\'s'")
    """
    if text.isascii() and PLAIN.fullmatch(text):
        return text
    # In quotes, a backslash stands for itself, except before a quote.
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text)
    return f"'{escaped}'"


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
