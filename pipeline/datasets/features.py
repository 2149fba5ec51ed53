"""Features on disk: one file per video, which is written once and read in slices.

A file contains `features` [T, F] (float16 from an encoder; ready features keep their type), `pts_seconds` float64 [T],
and in its header the fingerprint of its origin (encoder, pixels, video), so that a file that another encoder left is
never mistaken for one of this encoder.

Shapes: T frames, F features.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pipeline.errors import InputError
from pipeline.files import describe_absence, replacing

SUFFIX = ".safetensors"


def write_features(path: Path, features: np.ndarray, pts_seconds: np.ndarray, *, fingerprint: str) -> None:
    """Write a feature file, completely or not at all.

    Args:
        path: The file.
        features: float16 or float32 [T, F].
        pts_seconds: float64 [T], the presentation time of each frame.
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
    """Read the frames [start, stop) of a feature file, and nothing else of it.

    Args:
        path: The file.
        start: The first frame.
        stop: The frame after the last one; None for the end of the video.

    Returns:
        float32 [T, F].
    """
    with safe_open(path, framework="pt") as file:
        return file.get_slice("features")[start:stop].float()


def read_pts(path: Path) -> np.ndarray:
    """Read the presentation time of each frame, float64 [T], in seconds."""
    with safe_open(path, framework="numpy") as file:
        return file.get_tensor("pts_seconds")


def read_feature_file(path: Path) -> np.ndarray:
    """Read the ready features of one video from a .npy file.

    Returns:
        float [T, F].

    Raises:
        InputError: The file cannot be read, or does not contain finite floats of this shape.
    """
    if absence := describe_absence(path):
        raise InputError(f"{path}: {absence}")
    try:
        features = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: is not a readable .npy array ({error}): is it truncated?") from None
    if features.ndim != 2 or 0 in features.shape or not np.issubdtype(features.dtype, np.floating):
        got = f"{features.dtype} of shape {list(features.shape)}"
        raise InputError(f"{path}: got {got}, expected floats of shape [frames, features]: is it transposed or empty?")
    if not np.isfinite(features).all():
        raise InputError(f"{path}: holds NaN or infinite values")
    return features
