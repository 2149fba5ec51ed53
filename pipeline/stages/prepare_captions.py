"""Stage prepare_captions: check every captioned image, and split the images by group."""

import sys
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from pipeline.config.params import Params, load_params
from pipeline.datasets.caption_manifest import CaptionManifest, write_caption_manifest
from pipeline.datasets.captions import scan_captions
from pipeline.datasets.manifest import assign_splits
from pipeline.errors import InputError
from pipeline.stages import run_stage
from pipeline.stages.paths import CAPTIONS


def main() -> None:
    """Write data/captions."""
    write_caption_manifest(prepare_captions(load_params()), CAPTIONS)


def prepare_captions(params: Params) -> CaptionManifest:
    """Check a captioned image set and split it.

    Raises:
        InputError: The data set has problems that captions.skip_broken does not leave out, or no image to train on.
    """
    settings = params.captions
    scan = scan_captions(settings.root, follow_links=settings.follow_links, progress=_progress)
    for problem in scan.raise_or_skip(skip_broken=settings.skip_broken, section="captions", files="images"):
        print(f"left out: {problem}", file=sys.stderr)
    images = assign_splits(
        [image for stem, image in sorted(scan.images.items()) if stem not in scan.problems],
        seed=params.seed,
        val_fraction=settings.val_fraction,
        test_fraction=settings.test_fraction,
        has_splits=(settings.root / "splits").is_dir(),
        section="captions",
    )
    manifest = CaptionManifest(settings.name, tuple(image for image in images if image.split))
    if not manifest.of_split("train"):
        raise InputError(f"{settings.root}: has no image to train on: is splits/train.txt empty?")
    _summarise(manifest, num_left_out=len(images) - len(manifest.images))
    return manifest


def _progress(paths: list[Path]) -> Iterable[Path]:
    return tqdm(paths, desc="checking", unit="image")


def _summarise(manifest: CaptionManifest, *, num_left_out: int) -> None:
    for split in ("train", "val", "test"):
        images = manifest.of_split(split)
        groups = {image.group for image in images}
        num_captions = sum(len(image.captions) for image in images)
        print(f"{split:5}  {len(images):6} images  {len(groups):6} groups  {num_captions:7} captions")
    if num_left_out:
        print(f"{num_left_out} images are named by no split and left out")


if __name__ == "__main__":
    run_stage(main)
