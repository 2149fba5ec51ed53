"""A data set that is pushed to a DVC remote on S3, and pulled into another clone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from import_graph import ROOT
from made_data import write_feature_dataset
from made_stores import BUCKET, serving_store

pytestmark = pytest.mark.slow


def run(*command: str, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command of git or DVC, without anybody's settings."""
    environment = os.environ | {
        "HOME": str(folder.with_name("home")),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder.with_name("site_cache")),
        **{f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    if command[0] == "dvc":
        command = (sys.executable, "-m", *command)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=check)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_data_set_is_pushed_to_s3_and_pulled_into_another_clone(tmp_path):
    pytest.importorskip("dvc_s3", reason="needs the extra s3")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    (tmp_path / "home").mkdir()
    run("git", "init", "--quiet", folder=ours)
    shutil.copytree(ROOT / ".dvc", ours / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    dataset = write_feature_dataset(ours / "data" / "mine", num_videos=3)
    with serving_store():
        run("dvc", "add", "data/mine", folder=ours)
        run("dvc", "remote", "add", "--default", "shared", f"s3://{BUCKET}/framescribe", folder=ours)
        run("git", "add", ".", folder=ours)
        run("git", "commit", "--quiet", "-m", "Add a data set and a remote", folder=ours)
        run("git", "clone", "--quiet", str(ours), str(theirs), folder=tmp_path)
        early = run("dvc", "pull", folder=theirs, check=False)
        assert early.returncode != 0, "nothing was pushed yet"
        run("dvc", "push", folder=ours)
        run("dvc", "pull", folder=theirs)
        assert contents(theirs / "data" / "mine") == contents(dataset)
        changed = dataset / "labels" / "clip0.csv"
        changed.write_text(changed.read_text().replace("left", "right"))
        run("dvc", "add", "data/mine", folder=ours)
        run("git", "commit", "--all", "--quiet", "-m", "Correct a label", folder=ours)
        run("dvc", "push", folder=ours)
        run("git", "pull", "--quiet", folder=theirs)
        run("dvc", "pull", folder=theirs)
        assert contents(theirs / "data" / "mine") == contents(dataset)
