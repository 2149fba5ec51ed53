"""The manifest of a captioned image set: what training reads of it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.files import replacing


@dataclass(frozen=True)
class CaptionedImage:
    """One image and what people wrote of it."""

    stem: str
    path: str  # absolute
    group: str
    split: str | None  # None: named by no split, left out
    sha256: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class CaptionManifest:
    """The captioned image set as training sees it: the images that are whole, each with its split."""

    name: str
    images: tuple[CaptionedImage, ...]

    def of_split(self, split: str) -> list[CaptionedImage]:
        return [self.images[index] for index in self.indices_of_split(split)]

    def indices_of_split(self, split: str) -> list[int]:
        """The positions of its images among all of them, by which their regions are read."""
        return [index for index, image in enumerate(self.images) if image.split == split]

    def pictures(self, *, mirror: bool) -> list[tuple[int, bool]]:
        """What is encoded, in order: the position of an image, and whether it is mirrored. All images as they are, then
        with `mirror` those to train on.
        """
        as_they_are = [(index, False) for index in range(len(self.images))]
        return as_they_are + [(index, True) for index in self.indices_of_split("train") if mirror]

    def fingerprint(self) -> str:
        """Hex digest over contents, captions and splits; where the files lie does not matter."""
        rows = [(image.stem, image.sha256, image.split, image.captions) for image in self.images]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def write_caption_manifest(manifest: CaptionManifest, folder: Path) -> None:
    """Write captions.json into `folder`."""
    with replacing(folder / "captions.json") as path:
        path.write_text(json.dumps(asdict(manifest), indent=1) + "\n")


def read_caption_manifest(folder: Path) -> CaptionManifest:
    """Read what `write_caption_manifest` wrote."""
    fields = json.loads((folder / "captions.json").read_text())
    images = (CaptionedImage(**{**image, "captions": tuple(image["captions"])}) for image in fields["images"])
    return CaptionManifest(fields["name"], tuple(images))
