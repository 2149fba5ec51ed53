"""What describes a run: its settings, the commit and the experiment that it belongs to, the packages that it needs."""

import os
import subprocess
from collections.abc import Mapping
from importlib.metadata import requires, version
from typing import Any

TRAINING_ONLY = {"dvc", "hydra-core", "omegaconf"}  # a model that only labels does without them


def git_commit() -> str:
    """The commit that is checked out, with `-dirty` where the tree differs from it; `unknown` outside of git."""
    try:
        command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def dvc_experiment() -> str | None:
    """The DVC experiment that this process belongs to (`dvc exp run` names it); None in `dvc repro` and by hand."""
    return os.environ.get("DVC_EXP_NAME") or None


def flatten_params(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `section.key`."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= flatten_params(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def requirements(encoder: str = "") -> list[str]:
    """The packages that a model needs where it only labels, each with its version, as pip takes them.

    Args:
        encoder: The name of its encoder.
    """
    names = [
        requirement.split(">")[0].split("=")[0]
        for requirement in requires("framescribe") or []
        if ";" not in requirement
    ]
    names += ["timm"] if encoder.startswith("timm/") else []
    return [f"{name}=={version(name).split('+')[0]}" for name in names if name not in TRAINING_ONLY]
