"""The code that each stage of dvc.yaml depends on.

`python -m pipeline.stages.dependencies` writes it into dvc.yaml; run it when the imports of a stage have changed.
"""

import re
from collections.abc import Set
from pathlib import Path

from pipeline.imports import PACKAGE, ROOT, SourceTree

_DEPS = r"^  {stage}:\n(?:(?:    .*)?\n)*?    deps:\n(?P<deps>(?:      .*\n)+)"


def code_of_stage(tree: SourceTree, stage: str) -> list[str]:
    """Find the smallest set of paths that covers the files of which the code of a stage consists.

    Args:
        tree: The source of the package.
        stage: The name of the stage, which is also that of its module in `pipeline.stages`.

    Returns:
        Sorted paths below the tree's root: a folder where every file in it is needed, otherwise single files.
    """
    needed = tree.files_of(f"{PACKAGE}.stages.{stage}")
    everything = {*tree.modules.values(), *tree.data_files}
    return sorted(path.relative_to(tree.root).as_posix() for path in _cover(tree.root / PACKAGE, needed, everything))


def _cover(folder: Path, needed: Set[Path], everything: Set[Path]) -> list[Path]:
    """Return `folder` itself where all files in it are needed; else its needed files, and the covers of its folders."""
    inside = {path for path in everything if path.is_relative_to(folder)}
    if inside <= needed:
        return [folder]
    files = [path for path in inside & needed if path.parent == folder]
    folders = {folder / path.relative_to(folder).parts[0] for path in inside & needed} - set(files)
    return files + [path for child in folders for path in _cover(child, needed, everything)]


def with_code_dependencies(text: str, tree: SourceTree) -> str:
    """Update the text of dvc.yaml so that each stage lists the code that it depends on.

    Args:
        text: The text of dvc.yaml.
        tree: The source of the package.

    Returns:
        The new text; everything else in it stays as it is.

    Raises:
        ValueError: A stage has no list of dependencies in the expected layout.
    """
    stages = re.findall(r"^  (\w+):\n    cmd: python -m pipeline\.stages\.\1$", text, re.MULTILINE)
    for stage in stages:
        listed = re.search(_DEPS.format(stage=stage), text, re.MULTILINE)
        if listed is None:
            raise ValueError(f"dvc.yaml: stage {stage!r} has no list of deps, one a line, each after six spaces")
        kept = [line for line in listed["deps"].splitlines() if not line.startswith(f"      - {PACKAGE}/")]
        code = [f"      - {path}" for path in code_of_stage(tree, stage)]
        deps = "".join(f"{line}\n" for line in kept + code)
        text = text[: listed.start("deps")] + deps + text[listed.end("deps") :]
    return text


def main() -> None:
    """Rewrite the dvc.yaml of the project that contains this code, and print whether that changed it."""
    path = ROOT / "dvc.yaml"
    before = path.read_text()
    after = with_code_dependencies(before, SourceTree())
    path.write_text(after)
    print("dvc.yaml: up to date" if after == before else "dvc.yaml: dependencies rewritten")


if __name__ == "__main__":
    main()
