"""Feature files are read in slices, have a fingerprint, and are never half-written."""

import os

import numpy as np
import pytest
import torch

from pipeline.datasets.features import (
    count_feature_frames,
    features_fingerprint,
    read_feature_file,
    read_features,
    read_pts,
    write_features,
)
from pipeline.datasets.scan import scan_dataset
from pipeline.errors import InputError


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


# Ready features, as others write them

VALUES = np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_floats_of_any_precision_are_features(tmp_path, dtype, order):
    np.save(tmp_path / "v.npy", np.asarray(VALUES.astype(dtype), order=order))
    np.testing.assert_array_equal(read_feature_file(tmp_path / "v.npy"), VALUES.astype(dtype))
    assert count_feature_frames(tmp_path / "v.npy") == 30


@pytest.mark.parametrize(
    ("array", "words"),
    [
        ((VALUES * 10).astype(np.int16), r"got int16 of shape \[30, 16\], .*: save array.astype\('float32'\)"),
        (VALUES > 0, r"got bool of shape .*: save array.astype"),
        (VALUES[None], r"of shape \[1, 30, 16\], .*: leave out the dimensions of size 1, with array.reshape\(30, 16\)"),
        (VALUES[:, :, None, None], r"array.reshape\(30, 16\)"),
        (VALUES.reshape(30, 4, 2, 2), r"of shape \[30, 4, 2, 2\], .*: average over the other dimensions"),
        (VALUES[:, 0], r"of shape \[30\], .*is it one feature for each frame"),
        (VALUES[:0], r"is empty, of shape \[0, 16\]"),
        (np.array([{"v": VALUES}]), "holds Python objects"),
        (np.array(["a"]), "got <U1 of shape"),
    ],
)
def test_features_are_named_for_what_they_are(tmp_path, array, words):
    path = tmp_path / "v.npy"
    np.save(path, array)
    with pytest.raises(InputError, match=rf"v\.npy: {words}" if words[0] in "gih" else words) as caught:
        read_feature_file(path)
    assert "\n" not in str(caught.value)
    assert count_feature_frames(path) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\3\4 and more", "is an archive, such as .npz"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"MATLAB 5.0 MAT-file", "is a MATLAB file"),
        (b"\x80\x04\x95", "is a Python pickle"),
        (b"0.1,0.2\n", "is not a readable .npy array"),
        (b"", "is not a readable .npy array"),
        (b"\x93NUMPY\1\0\x10\0{'descr': 'x' 'y'\n", "is not a readable .npy array"),
    ],
)
def test_other_files_by_the_name_of_an_npy_are_named(tmp_path, content, words):
    path = tmp_path / "v.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_feature_file(path)
    assert count_feature_frames(path) == 0


def test_a_header_that_promises_more_than_the_file_has_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "v.npy"
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 16)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(VALUES.tobytes())
    with pytest.raises(InputError, match=r"of the 64,000,000,000,000 that its header promises\): is it truncated"):
        read_feature_file(path)
    os.remove(path)
    os.mkfifo(path)
    with pytest.raises(InputError, match="is a pipe or a device, expected a file"):
        read_feature_file(path)


@pytest.mark.parametrize("labels", ["csv", "txt"])
def test_transposed_features_are_named_by_their_labels(tmp_path, labels):
    write_features_and_labels(tmp_path, {"a": VALUES.T, "b": VALUES[:20].T}, labels=labels)
    problems = scan_dataset(tmp_path).all_problems()
    assert [problem.path.name for problem in problems] == ["a.npy", "b.npy"]
    for problem, n in zip(problems, (30, 20), strict=True):
        expected = f"is transposed: [16, {n}] for {n} labels, expected [frames, features]: save array.T"
        assert problem.message == expected


def test_transposed_features_are_named_by_their_shapes(tmp_path):
    arrays = {stem: VALUES[:n].T for stem, n in (("a", 30), ("b", 20), ("c", 25))}
    write_features_and_labels(tmp_path, arrays, labels="csv", num_unlabelled=1)
    problems = scan_dataset(tmp_path).all_problems()
    assert [problem.path.name for problem in problems] == ["a.npy", "b.npy", "c.npy"]
    assert all("is transposed: [16, " in problem.message for problem in problems)


def write_features_and_labels(root, arrays, *, labels, num_unlabelled=0):
    for folder in ("features", "labels"):
        (root / folder).mkdir()
    (root / "classes.txt").write_text("rest\n")
    for stem, array in arrays.items():
        np.save(root / "features" / f"{stem}.npy", array)
        stop = array.shape[1] - num_unlabelled
        text = f"start,stop,class\n0,{stop},rest\n" if labels == "csv" else "rest\n" * stop
        (root / "labels" / f"{stem}.{labels}").write_text(text)
