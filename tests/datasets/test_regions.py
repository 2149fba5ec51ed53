"""Regions on disk are read image by image in any order, from several files that are never half-written."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets import regions
from pipeline.datasets.regions import FilePlan, Regions, is_written, plan_files, write_regions

PER_FILE = 4


@pytest.fixture
def few_per_file(monkeypatch):
    monkeypatch.setattr(regions, "IMAGES_PER_FILE", PER_FILE)


def digests(num_images: int) -> list[str]:
    return [f"{index:064x}" for index in range(num_images)]


def made(num_images: int) -> torch.Tensor:
    """Make regions [N, 3, 5] of numbers that float16 represents exactly."""
    return torch.arange(num_images * 15).reshape(num_images, 3, 5) / 8


def write_all(folder, values: torch.Tensor, *, batch_size: int = 3) -> dict:
    files = plan_files(digests(len(values)), folder, encoder_fingerprint="e")
    for path, plan in files.items():
        write_regions(
            path, values[plan.images.start : plan.images.stop].split(batch_size), fingerprint=plan.fingerprint
        )
    return files


@pytest.mark.usefixtures("few_per_file")
@pytest.mark.parametrize("num_images", [1, PER_FILE, 2 * PER_FILE, 2 * PER_FILE + 1])
def test_regions_are_read_in_any_order(tmp_path, num_images):
    values = made(num_images)
    files = write_all(tmp_path / "new", values)
    assert len(list((tmp_path / "new").iterdir())) == len(files) == -(-num_images // PER_FILE)
    assert [index for plan in files.values() for index in plan.images] == list(range(num_images))
    assert all(is_written(path, plan.fingerprint) for path, plan in files.items())
    held = Regions(tmp_path / "new")
    for order in (range(num_images), torch.randperm(num_images).tolist(), [num_images - 1, 0, num_images - 1]):
        read = held.read(order)
        assert read.dtype == torch.float32
        assert torch.equal(read, values[list(order)])


def test_more_than_a_thousand_files_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(regions, "IMAGES_PER_FILE", 1)
    values = made(1002)[:, :1, :1]
    write_all(tmp_path, values)
    assert torch.equal(Regions(tmp_path).read(range(1002)), values.half().float())


def test_only_half_precision_is_lost(tmp_path):
    values = torch.randn(7, 3, 5)
    write_all(tmp_path, values)
    assert torch.equal(Regions(tmp_path).read(range(7)), values.half().float())


def fingerprints(images: list[str], encoder: str, folder) -> list[str]:
    return [plan.fingerprint for plan in plan_files(images, folder, encoder_fingerprint=encoder).values()]


@given(changed=st.integers(0, 2 * PER_FILE))
def test_a_fingerprint_covers_the_encoder_and_the_images_of_its_file(tmp_path_factory, changed):
    folder = tmp_path_factory.getbasetemp()
    images = digests(2 * PER_FILE + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "IMAGES_PER_FILE", PER_FILE)
        before = fingerprints(images, "e", folder)
        assert len(set(before)) == len(before)
        assert before == fingerprints(images, "e", folder.parent), "their folder does not matter"
        assert not set(before) & set(fingerprints(images, "f", folder))
        images[changed] = "f" * 64
        after = fingerprints(images, "e", folder)
        assert [a != b for a, b in zip(after, before, strict=True)] == [changed // PER_FILE == i for i in range(3)]
        swapped = digests(PER_FILE)[::-1]
        assert fingerprints(swapped, "e", folder) != before[:1], "their order matters"


def test_a_file_with_another_fingerprint_or_a_partial_file_is_not_accepted(tmp_path):
    ((path, plan),) = plan_files(digests(2), tmp_path, encoder_fingerprint="e").items()
    assert plan == FilePlan(range(2), plan.fingerprint)
    assert not is_written(path, plan.fingerprint)
    write_regions(path, [made(2)], fingerprint="of others")
    assert not is_written(path, plan.fingerprint)
    write_regions(path, [made(2)], fingerprint=plan.fingerprint)
    assert is_written(path, plan.fingerprint)
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_written(path, plan.fingerprint)
    path.write_bytes(b"")
    assert not is_written(path, plan.fingerprint)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    def failing():
        yield made(2)
        raise RuntimeError("the third image")

    path = tmp_path / "regions_000.safetensors"
    with pytest.raises(RuntimeError, match="third"):
        write_regions(path, failing(), fingerprint="new")
    assert list(tmp_path.iterdir()) == []
    write_regions(path, [made(1)], fingerprint="old")
    with pytest.raises(RuntimeError, match="third"):
        write_regions(path, failing(), fingerprint="new")
    assert is_written(path, "old")
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / ".regions_001.77.partial.safetensors").write_bytes(b"half of it, from a process that was killed")
    assert torch.equal(Regions(tmp_path).read([0]), made(1))
