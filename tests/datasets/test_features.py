"""Feature files are read in slices, have a fingerprint, and are never half-written."""

import numpy as np
import pytest
import torch

from pipeline.datasets.features import features_fingerprint, read_features, read_pts, write_features


def test_slices_equal_those_of_the_whole_file(tmp_path):
    features = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float16)
    path = tmp_path / "a.safetensors"
    write_features(path, features, np.arange(20) / 25, fingerprint="f")
    assert torch.equal(read_features(path), torch.from_numpy(features).float())
    assert torch.equal(read_features(path, 3, 9), torch.from_numpy(features[3:9]).float())
    assert read_pts(path)[5] == 0.2
    assert features_fingerprint(path) == "f"


def test_a_missing_or_broken_file_has_no_fingerprint(tmp_path):
    path = tmp_path / "a.safetensors"
    assert features_fingerprint(path) is None
    write_features(path, np.zeros((20, 5), np.float16), np.arange(20.0), fingerprint="f")
    path.write_bytes(path.read_bytes()[:100])
    assert features_fingerprint(path) is None


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.safetensors"
    write_features(path, np.zeros((2, 5), np.float16), np.arange(2.0), fingerprint="old")
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever safetensors raises for objects
        write_features(path, np.array([[object()]]), np.arange(1.0), fingerprint="new")
    assert features_fingerprint(path) == "old"
    assert list(tmp_path.iterdir()) == [path]
