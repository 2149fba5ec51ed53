"""Features on disk: one file per video, which is written once and read in slices.

A file contains `features` [n, F] of the n frames that were encoded, by default all of them (float16 from an encoder;
ready features keep their type), `pts_seconds` float64 [T] of all frames, and in its header the fingerprint of its
origin (encoder, pixels, video, frame rate), so that a file that another encoder left is never mistaken for one of this
encoder.

Ready features are .npy files that other programs wrote; what is wrong with one is said by what it is.

Shapes: T frames, F features.
"""

import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pipeline.errors import InputError
from pipeline.files import describe_absence, replacing

SUFFIX = ".safetensors"
EXPECTED = ", expected floats of shape [frames, features]"
# The first bytes of files that are often given the name of an .npy.
OTHER_KINDS = {
    b"PK": "an archive, such as .npz or .pt, by the name of an .npy: save the array itself with numpy.save",
    b"\x89HDF": "an HDF5 file, as MATLAB writes it too, by the name of an .npy: save the array with numpy.save",
    b"MATLAB": "a MATLAB file by the name of an .npy: save the array with numpy.save",
    b"\x80": "a Python pickle by the name of an .npy: save the array with numpy.save",
}


def write_features(path: Path, features: np.ndarray, pts_seconds: np.ndarray, *, fingerprint: str) -> None:
    """Write a feature file, completely or not at all.

    Args:
        path: The file.
        features: float16 or float32 [n, F], of the frames that were encoded.
        pts_seconds: float64 [T], the presentation time of each frame of the video.
        fingerprint: The digest of the origin of the features.
    """
    arrays = {"features": np.ascontiguousarray(features), "pts_seconds": np.asarray(pts_seconds, dtype=np.float64)}
    with replacing(path) as temporary:
        save_file(arrays, temporary, metadata={"fingerprint": fingerprint})


def features_fingerprint(path: Path) -> str | None:
    """Return the fingerprint in a feature file's header; None where there is no complete file."""
    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("fingerprint")
    except (FileNotFoundError, SafetensorError):
        return None


def read_features(path: Path, start: int = 0, stop: int | None = None) -> torch.Tensor:
    """Read the encoded frames [start, stop) of a feature file, and nothing else of it.

    Args:
        path: The file.
        start: The first of them.
        stop: The one after the last one; None for the end of the video.

    Returns:
        float32 [T, F].
    """
    with safe_open(path, framework="pt") as file:
        return file.get_slice("features")[start:stop].float()


def read_pts(path: Path) -> np.ndarray:
    """Read the presentation time of each frame of the video, float64 [T], in seconds."""
    with safe_open(path, framework="numpy") as file:
        return file.get_tensor("pts_seconds")


class _Header(NamedTuple):
    """What an .npy file promises."""

    shape: tuple[int, ...]
    dtype: np.dtype


def read_feature_file(path: Path) -> np.ndarray:
    """Read the ready features of one video from a .npy file.

    Returns:
        float [T, F].

    Raises:
        InputError: The file cannot be read, is shorter than its header promises, or does not contain finite floats of
            this shape.
    """
    header = _read_header(path)
    if problem := _describe_header(header):
        raise InputError(f"{path}: {problem}")
    try:
        features = np.load(path, allow_pickle=False)
    except MemoryError:
        raise InputError(f"{path}: has the shape {list(header.shape)}, which does not fit the memory") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: is not a readable .npy array ({error}): is it truncated?") from None
    if not np.isfinite(features).all():
        raise InputError(f"{path}: holds NaN or infinite values")
    return features


def count_feature_frames(path: Path) -> int:
    """Return the number of frames of a file of ready features by its header; 0 where it cannot be read."""
    try:
        header = _read_header(path)
    except InputError:
        return 0
    return 0 if _describe_header(header) else header.shape[0]


def describe_transposed(shape: Sequence[int], expected: str) -> str:
    """Describe features [F, T].

    Args:
        shape: Their shape.
        expected: The number that the other side of the array should be, in words.
    """
    return f"is transposed: {list(shape)} for {expected}, expected [frames, features]: save array.T"


def _read_header(path: Path) -> _Header:
    if absence := describe_absence(path):
        raise InputError(f"{path}: {absence}")
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: is a folder, expected an .npy array")
        with path.open("rb") as file:
            start = file.read(8)
            if kind := next((kind for magic, kind in OTHER_KINDS.items() if start.startswith(magic)), None):
                raise InputError(f"{path}: is {kind}")
            file.seek(0)
            header = _parse_header(file)
            promised = math.prod(header.shape) * header.dtype.itemsize
            found = os.fstat(file.fileno()).st_size - file.tell()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except InputError:
        raise
    except Exception as error:  # a damaged header is evaluated as Python: SyntaxError, TypeError, KeyError ...
        raise InputError(f"{path}: is not a readable .npy array ({error}): is it truncated?") from None
    if not header.dtype.hasobject and found < promised:
        got = f"{found:,} bytes of the {promised:,} that its header promises"
        raise InputError(f"{path}: is not a readable .npy array (got {got}): is it truncated?")
    return header


def _parse_header(file: BinaryIO) -> _Header:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return _Header(shape, dtype)


def _describe_header(header: _Header) -> str | None:
    """Describe why an array does not have the form of features; None where it has."""
    shape, dtype = list(header.shape), header.dtype
    if dtype.hasobject:
        return f"holds Python objects{EXPECTED}: save an array of floats, one file for each video"
    if any(size < 1 for size in shape):
        return f"is empty, of shape {shape}{EXPECTED}"
    got = f"got {dtype} of shape {shape}{EXPECTED}"
    if not np.issubdtype(dtype, np.floating):
        is_number = np.issubdtype(dtype, np.number) or dtype == np.bool_
        return got + (": save array.astype('float32')" if is_number else "")
    if len(shape) == 2:
        return None
    squeezed = [size for size in shape if size > 1]
    if len(shape) > 2 and len(squeezed) == 2:
        return f"{got}: leave out the dimensions of size 1, with array.reshape({squeezed[0]}, {squeezed[1]})"
    if len(shape) > 2:
        return f"{got}: average over the other dimensions, or reshape it to [frames, features]"
    return f"{got}: is it one feature for each frame? Save array.reshape(-1, 1)"
