"""The Dockerfile: what it copies is there, and both of its variants install the versions of the lock."""

import re
import subprocess
from pathlib import Path

import pytest
from import_graph import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)
LOCK = (ROOT / "requirements.txt").read_text()


def constraints(folder: Path, backend: str) -> subprocess.CompletedProcess[str]:
    """Run the step of the Dockerfile that writes constraints.txt."""
    (folder / "requirements.txt").write_text(LOCK)
    (step,) = re.findall(r"^RUN (case .* esac)$", DOCKERFILE, re.MULTILINE)
    environment = {"BACKEND": backend, "PATH": "/usr/bin:/bin"}
    return subprocess.run(["sh", "-c", step], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_with_cuda_the_lock_is_installed_as_it_is(tmp_path):
    assert constraints(tmp_path, "cuda").returncode == 0
    assert (tmp_path / "constraints.txt").read_text() == LOCK


def test_for_a_cpu_all_versions_are_those_of_the_lock_and_all_hashes_but_those_of_torch(tmp_path):
    assert constraints(tmp_path, "cpu").returncode == 0
    written = (tmp_path / "constraints.txt").read_text()
    assert PIN.findall(written) == PIN.findall(LOCK)
    stanzas = re.split(r"(?m)^(?=[a-z0-9])", written)[1:]
    without_hash = [stanza.split("==")[0] for stanza in stanzas if "--hash" not in stanza]
    assert without_hash == ["torch", "torchvision"]


def test_another_backend_is_refused(tmp_path):
    refused = constraints(tmp_path, "rocm")
    assert refused.returncode != 0
    assert refused.stderr == "BACKEND is rocm, expected cpu or cuda\n"


@pytest.mark.parametrize("copied", re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE))
def test_what_is_copied_is_there_and_sent_to_the_builder(copied):
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    for name in copied.split():
        assert (ROOT / name).exists()
        assert f"!{name}" in sent


def test_the_extras_that_are_installed_exist():
    (extras,) = re.findall(r'"\.\[(.*)\]"', DOCKERFILE)
    named = (ROOT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", named, re.MULTILINE) for extra in extras.split(","))
