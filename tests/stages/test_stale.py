"""DVC runs a stage again, and a model is trained again, only after edits of code that it imports."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from import_graph import ROOT

from pipeline.imports import SourceTree

CODE_OF_TRAININGS = ("pipeline.training.labeller", "pipeline.training.captioner")
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
COMMENTS = {".py": "\n# a remark\n", ".md": "\nA remark.\n"}
A_PAGE = min((ROOT / "docs").glob("*.md")).relative_to(ROOT).as_posix()
NOT_OF_A_MODEL = ("pipeline/cli/label.py", "pipeline/labelling/review_page.py", A_PAGE)
LOSSES = "pipeline/training/losses.py"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Path]:
    """A copy of the project as the current folder. All outputs exist, so that DVC assumes that all stages ran."""
    folder = tmp_path_factory.mktemp("stale") / "project"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    for stage in STAGES.values():
        for entry in stage["outs"] + stage.get("metrics", []):
            out = folder / (entry if isinstance(entry, str) else next(iter(entry)))
            out.parent.mkdir(parents=True, exist_ok=True)
            if not out.exists():
                out.write_text("made\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DVC_SITE_CACHE_DIR", str(folder.with_name("site_cache")))
        with Repo() as repo:
            repo.commit(force=True)
        yield folder


@pytest.fixture
def edit(project) -> Iterator[Callable[[str], None]]:
    """Append a comment to a file of the project. The change is undone when the test ends."""
    before: dict[Path, bytes] = {}

    def append(name: str) -> None:
        path = project / name
        before[path] = path.read_bytes()
        path.write_bytes(before[path] + COMMENTS[path.suffix].encode())

    yield append
    for path, content in before.items():
        path.write_bytes(content)


def stale_stages() -> set[str]:
    """The stages that `dvc status` names, found by the code of DVC."""
    with Repo() as repo:
        return set(repo.status())


def code_fingerprints(project: Path) -> list[str]:
    tree = SourceTree(project)
    return [tree.fingerprint_of(module) for module in CODE_OF_TRAININGS]


@pytest.mark.parametrize("name", NOT_OF_A_MODEL)
def test_an_edit_of_code_that_no_stage_imports_makes_no_stage_stale(project, edit, name):
    lock, code = (project / "dvc.lock").read_bytes(), code_fingerprints(project)
    edit(name)
    assert stale_stages() == set()
    assert (project / "dvc.lock").read_bytes() == lock
    assert code_fingerprints(project) == code


def test_an_edit_of_the_losses_makes_only_the_training_stages_stale(project, edit):
    labeller, captioner = code_fingerprints(project)
    edit(LOSSES)
    assert stale_stages() == {"finetune_encoder", "train_labeller", "train_baseline"}
    after, captioner_after = code_fingerprints(project)
    assert after != labeller
    assert captioner_after == captioner, "it has its own loss"
