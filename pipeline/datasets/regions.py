"""Features of the regions of images, on disk: a few large files, written once, read at random.

File number i holds those at i * IMAGES_PER_FILE and on of a list of images: `regions` float16 [n, R, C], and in its
header the fingerprint of what made it (encoder, pixels, images), so that a file of others is never taken for these.
N images, R regions, C channels.
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
    """What one file holds: the positions of its images in the list, and its fingerprint."""

    images: range
    fingerprint: str


def plan_files(image_sha256s: Sequence[str], folder: Path, *, encoder_fingerprint: str) -> dict[Path, FilePlan]:
    """Each file that a list of images goes into."""
    files = {}
    for start in range(0, len(image_sha256s), IMAGES_PER_FILE):
        images = range(start, min(start + IMAGES_PER_FILE, len(image_sha256s)))
        text = " ".join([encoder_fingerprint, *(image_sha256s[i] for i in images)])
        path = folder / f"regions_{start // IMAGES_PER_FILE:03d}{SUFFIX}"
        files[path] = FilePlan(images, hashlib.sha256(text.encode()).hexdigest()[:16])
    return files


def is_written(path: Path, fingerprint: str) -> bool:
    """Whether the file is there, whole, and of this fingerprint."""
    return features_fingerprint(path) == fingerprint


def write_regions(path: Path, regions: Iterable[torch.Tensor], *, fingerprint: str) -> None:
    """Write batches [n, R, C] into one file; never leaves half a file."""
    with replacing(path) as temporary:
        tensor = torch.cat([batch.half().cpu() for batch in regions]).contiguous()
        save_file({"regions": tensor}, temporary, metadata={"fingerprint": fingerprint})


class Regions:
    """The features of all images of a folder of such files. Files are mapped: only what is read takes memory."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob(f"regions_*{SUFFIX}"), key=lambda path: int(path.stem.removeprefix("regions_")))
        self._slices = [safe_open(path, framework="pt").get_slice("regions") for path in paths]

    def read(self, image_indices: Iterable[int]) -> torch.Tensor:
        """float32 [N, R, C] of the images at these positions of the list that was written."""
        return torch.stack([self._row(index) for index in image_indices]).float()

    def _row(self, index: int) -> torch.Tensor:
        return self._slices[index // IMAGES_PER_FILE][index % IMAGES_PER_FILE]
