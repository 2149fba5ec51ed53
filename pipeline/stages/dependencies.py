"""What code each stage of dvc.yaml depends on.

`python -m pipeline.stages.dependencies` writes it into dvc.yaml, and is due when what a stage imports has changed.
"""

import re
from collections.abc import Set
from pathlib import Path

from pipeline.imports import PACKAGE, ROOT, SourceTree

_DEPS = r"^  {stage}:\n(?:(?:    .*)?\n)*?    deps:\n(?P<deps>(?:      .*\n)+)"


def code_of_stage(tree: SourceTree, stage: str) -> list[str]:
    """The smallest cover of the files that the code of a stage consists of.

    Args:
        tree: The source of the package.
        stage: The name of the stage, which is that of its module in `pipeline.stages`.

    Returns:
        Sorted paths below the tree's root: a folder where every file in it is needed, else single files.
    """
    needed = tree.files_of(f"{PACKAGE}.stages.{stage}")
    everything = {*tree.modules.values(), *tree.data_files}
    return sorted(path.relative_to(tree.root).as_posix() for path in _cover(tree.root / PACKAGE, needed, everything))


def _cover(folder: Path, needed: Set[Path], everything: Set[Path]) -> list[Path]:
    """`folder` itself where all that lies in it is needed; else its files that are, and covers of its folders."""
    inside = {path for path in everything if path.is_relative_to(folder)}
    if inside <= needed:
        return [folder]
    files = [path for path in inside & needed if path.parent == folder]
    folders = {folder / path.relative_to(folder).parts[0] for path in inside & needed} - set(files)
    return files + [path for child in folders for path in _cover(child, needed, everything)]


def with_code_dependencies(text: str, tree: SourceTree) -> str:
    """The text of dvc.yaml where each stage lists the code that it depends on; everything else stays as it is."""
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
    """Rewrite dvc.yaml of the project that this code lies in, and say whether that changed it."""
    path = ROOT / "dvc.yaml"
    before = path.read_text()
    after = with_code_dependencies(before, SourceTree())
    path.write_text(after)
    print("dvc.yaml: up to date" if after == before else "dvc.yaml: dependencies rewritten")


if __name__ == "__main__":
    main()
