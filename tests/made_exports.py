"""Exports of encoders that all tests of a run share: making one takes seconds, reading it takes a third of a second."""

from pathlib import Path

_shared: Path | None = None


def keep_exports_in(folder: Path) -> None:
    """Set the folder of the shared exports, which other processes of the same run may use too."""
    global _shared
    folder.mkdir(exist_ok=True)
    _shared = folder


def share_exports(checkpoint: Path) -> None:
    """Let the exports that are kept beside this checkpoint folder be the shared ones, if none are kept there yet."""
    from pipeline.encoding.runtime import exports_beside  # OpenVINO and torch, which few tests need

    beside = exports_beside(checkpoint)
    if _shared and not beside.exists():
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.symlink_to(_shared)
