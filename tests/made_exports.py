"""Exports of encoders that all tests of a run share: making one takes seconds, reading it takes no time."""

from pathlib import Path

_shared: list[Path] = []


def keep_exports_in(folder: Path) -> None:
    """Set the folder of the shared exports, which other processes of the same run may use too."""
    folder.mkdir(exist_ok=True)
    _shared[:] = [folder]


def share_exports(checkpoint: Path) -> None:
    """Let the exports that are kept beside this checkpoint folder be the shared ones, if none are kept there yet."""
    beside = checkpoint.parent / ".openvino"
    if _shared and not beside.exists():
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.symlink_to(_shared[0])
