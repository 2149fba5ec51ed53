"""Stage prepare_captions: check every captioned image, split the images by group, and encode each of them once."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from tqdm import tqdm

from pipeline.checkpoints.encoder import FrameEncoder, make_frame_encoder, save_encoder
from pipeline.config.params import Params, load_params
from pipeline.datasets.caption_manifest import CaptionManifest, write_caption_manifest
from pipeline.datasets.captions import scan_captions
from pipeline.datasets.manifest import assign_splits
from pipeline.datasets.regions import is_written, plan_files, write_regions
from pipeline.encoding.device import choose_device
from pipeline.encoding.images import encode_images
from pipeline.errors import InputError
from pipeline.stages import run_stage
from pipeline.stages.paths import CAPTIONS
from pipeline.video.image import read_image
from pipeline.video.preprocess import Preprocess


def main() -> None:
    """Write data/captions: the manifest, the encoder, and the features of every image's regions."""
    params = load_params()
    manifest = prepare_captions(params)
    settings = params.captions.encoder
    torch.manual_seed(params.seed)
    frame_encoder = make_frame_encoder(
        settings.name,
        weights=settings.weights,
        grid=settings.grid,
        stride=settings.stride,
        batch_norm="frozen",
        batch_size=settings.batch_size,
        pixels=params.captions.pixels,
    )
    write_caption_manifest(manifest, CAPTIONS)
    save_encoder(CAPTIONS / "encoder", frame_encoder)
    device = choose_device(params.captioner.training.device)
    encode_manifest(manifest, frame_encoder, CAPTIONS, mirror=params.captions.mirror, device=device)


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


def encode_manifest(
    manifest: CaptionManifest, frame_encoder: FrameEncoder, out: Path, *, mirror: bool, device: torch.device
) -> None:
    """Write the features of the images that `out` does not contain yet, and remove those of other images.

    Args:
        manifest: The data set.
        frame_encoder: The encoder, which is moved to `device`.
        out: The folder of the features.
        mirror: Whether the images to train on are also encoded mirrored.
        device: The device of the encoder.
    """
    pictures = manifest.pictures(mirror=mirror)
    digests = [manifest.images[index].sha256 + (" mirrored" if mirrored else "") for index, mirrored in pictures]
    files = plan_files(digests, out, encoder_fingerprint=frame_encoder.fingerprint())
    for path in (*out.glob("regions_*"), *out.glob(".regions_*.partial*")):
        if path not in files:
            path.unlink()
    due = {path: plan for path, plan in files.items() if not is_written(path, plan.fingerprint)}
    frame_encoder.encoder.to(device)
    with tqdm(total=sum(len(plan.images) for plan in due.values()), desc="encoding", unit="image") as bar:
        for path, plan in due.items():
            here = (pictures[position] for position in plan.images)
            images = (_read(Path(manifest.images[i].path), frame_encoder.preprocess, mirrored=m) for i, m in here)
            batches = encode_images(
                images, frame_encoder.encoder, frame_encoder.preprocess, batch_size=frame_encoder.spec.batch_size
            )
            write_regions(path, _counted(batches, bar), fingerprint=plan.fingerprint)


def _read(path: Path, preprocess: Preprocess, *, mirrored: bool) -> np.ndarray:
    """Read an image, uint8 [H, W, 3].

    It is mirrored within the region of interest, so that the region remains the same part of the image.
    """
    pixels = read_image(path)
    if mirrored:
        left, _, right, _ = preprocess.crop_box(width=pixels.shape[1], height=pixels.shape[0])
        pixels[:, left:right] = pixels[:, left:right][:, ::-1].copy()
    return pixels


def _counted(batches: Iterable[torch.Tensor], bar: "tqdm[NoReturn]") -> Iterable[torch.Tensor]:
    for batch in batches:
        yield batch
        bar.update(len(batch))


if __name__ == "__main__":
    run_stage(main)
