"""The manifest of a captioned image set, from which training reads it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.files import replacing


@dataclass(frozen=True)
class CaptionedImage:
    """One image and what people wrote about it.

    Attributes:
        stem: The stem of the file name.
        path: The absolute path of the file.
        group: The group of the image, which is in one split as a whole.
        split: The split of the image; None where no split names it, so that it is left out.
        sha256: The hexadecimal digest of the file.
        captions: The captions.
    """

    stem: str
    path: str
    group: str
    split: str | None
    sha256: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class CaptionManifest:
    """The captioned image set as training sees it.

    Attributes:
        name: The name of the data set.
        images: The images without a problem, each with its split.
    """

    name: str
    images: tuple[CaptionedImage, ...]

    def of_split(self, split: str) -> list[CaptionedImage]:
        """Return the images of a split."""
        return [self.images[index] for index in self.indices_of_split(split)]

    def indices_of_split(self, split: str) -> list[int]:
        """Return the positions of a split's images among all images; their regions are read by these positions."""
        return [index for index, image in enumerate(self.images) if image.split == split]

    def pictures(self, *, mirror: bool) -> list[tuple[int, bool]]:
        """List the pictures to encode, in order.

        Args:
            mirror: Whether the images of the training split are also encoded mirrored, after all others.

        Returns:
            For each picture, the position of its image, and whether it is mirrored.
        """
        as_they_are = [(index, False) for index in range(len(self.images))]
        return as_they_are + [(index, True) for index in self.indices_of_split("train") if mirror]

    def fingerprint(self) -> str:
        """Return a hexadecimal digest of contents, captions and splits; the location of the files does not matter."""
        rows = [(image.stem, image.sha256, image.split, image.captions) for image in self.images]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def write_caption_manifest(manifest: CaptionManifest, folder: Path) -> None:
    """Write the manifest as captions.json into `folder`."""
    with replacing(folder / "captions.json") as path:
        path.write_text(json.dumps(asdict(manifest), indent=1) + "\n")


def read_caption_manifest(folder: Path) -> CaptionManifest:
    """Read the manifest that `write_caption_manifest` wrote into `folder`."""
    fields = json.loads((folder / "captions.json").read_text())
    images = (CaptionedImage(**{**image, "captions": tuple(image["captions"])}) for image in fields["images"])
    return CaptionManifest(fields["name"], tuple(images))
