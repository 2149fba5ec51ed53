"""Features of the regions of images on disk: a few large files, which are written once and read in any order.

File number i contains the features of the images from position i * IMAGES_PER_FILE of a list: `regions` float16
[n, R, C], and in its header the fingerprint of its origin (encoder, pixels, images), so that a file of other features
is never mistaken for it.

Shapes: n or N images, R regions, C channels.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pipeline.datasets.features import SUFFIX, features_fingerprint
from pipeline.files import replacing

IMAGES_PER_FILE = 1024


class FilePlan(NamedTuple):
    """The content of one file.

    Attributes:
        images: The positions of its images in the list.
        fingerprint: The digest of the origin of its features.
    """

    images: range
    fingerprint: str


def plan_files(image_sha256s: Sequence[str], folder: Path, *, encoder_fingerprint: str) -> dict[Path, FilePlan]:
    """Plan the files for a list of images.

    Args:
        image_sha256s: The digest of each image, in the order of the list.
        folder: The folder of the files.
        encoder_fingerprint: The digest of the encoder and its preprocessing.

    Returns:
        Each file with its content.
    """
    files = {}
    for start in range(0, len(image_sha256s), IMAGES_PER_FILE):
        images = range(start, min(start + IMAGES_PER_FILE, len(image_sha256s)))
        text = " ".join([encoder_fingerprint, *(image_sha256s[i] for i in images)])
        path = folder / f"regions_{start // IMAGES_PER_FILE:03d}{SUFFIX}"
        files[path] = FilePlan(images, hashlib.sha256(text.encode()).hexdigest()[:16])
    return files


def is_written(path: Path, fingerprint: str) -> bool:
    """Return whether the file exists, is complete, and has this fingerprint."""
    return features_fingerprint(path) == fingerprint


def write_regions(path: Path, regions: Iterable[torch.Tensor], *, fingerprint: str) -> None:
    """Write a file of regions, completely or not at all.

    Args:
        path: The file.
        regions: Batches [n, R, C]; the file contains them as float16, one after the other.
        fingerprint: The digest of the origin of the features.
    """
    with replacing(path) as temporary:
        tensor = torch.cat([batch.half().cpu() for batch in regions]).contiguous()
        save_file({"regions": tensor}, temporary, metadata={"fingerprint": fingerprint})


class Regions:
    """The features of all images in a folder of such files.

    The files are mapped into memory: only the parts that are read take memory.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob(f"regions_*{SUFFIX}"), key=lambda path: int(path.stem.removeprefix("regions_")))
        self._slices = [safe_open(path, framework="pt").get_slice("regions") for path in paths]

    def read(self, image_indices: Iterable[int]) -> torch.Tensor:
        """Read the features float32 [N, R, C] of the images at these positions of the list that was written."""
        return torch.stack([self._row(index) for index in image_indices]).float()

    def _row(self, index: int) -> torch.Tensor:
        return self._slices[index // IMAGES_PER_FILE][index % IMAGES_PER_FILE]
