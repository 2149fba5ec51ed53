"""Stage prepare_captions: check every captioned image, split them, and put them through the encoder, once."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from pipeline.checkpoint import FrameEncoder, make_frame_encoder, save_encoder
from pipeline.config import Params, load_params
from pipeline.datasets.captions import CaptionManifest, Picture, scan_captions, write_caption_manifest
from pipeline.datasets.manifest import assign_splits
from pipeline.datasets.regions import is_written, plan_files, write_regions
from pipeline.encode import choose_device, encode_images
from pipeline.errors import InputError
from pipeline.stages import run_stage
from pipeline.stages.paths import CAPTIONS
from pipeline.video.image import enlarge, read_image
from pipeline.video.preprocess import Preprocess

SMALLEST_CROP = 0.7  # of the width, and of the height: smaller ones often lose what the captions are about


def main() -> None:
    """Write data/captions: the manifest, the encoder, and the features of every image's regions."""
    params = load_params()
    manifest = prepare_captions(params)
    settings = params.captions.encoder
    torch.manual_seed(params.seed)
    frames = make_frame_encoder(
        settings.name,
        weights=settings.weights,
        grid=settings.grid,
        stride=settings.stride,
        batch_norm="frozen",
        batch_size=settings.batch_size,
        pixels=params.captions.pixels,
    )
    write_caption_manifest(manifest, CAPTIONS)
    save_encoder(CAPTIONS / "encoder", frames)
    pictures = manifest.pictures(mirror=params.captions.mirror, crops=params.captions.crops)
    encode_pictures(manifest, pictures, frames, CAPTIONS, device=choose_device(params.captioner.training.device))


def prepare_captions(params: Params) -> CaptionManifest:
    """Check and split. Raises InputError with every problem that captions.skip_broken does not leave out."""
    settings = params.captions
    scan = scan_captions(settings.root, progress=_progress)
    for problem in scan.refuse_or_skip(skip_broken=settings.skip_broken, section="captions", files="images"):
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


def encode_pictures(
    manifest: CaptionManifest, pictures: Sequence[Picture], frames: FrameEncoder, out: Path, *, device: torch.device
) -> None:
    """Write the features of the pictures that `out` does not hold yet; remove those of others."""
    digests = [_digest(manifest, picture) for picture in pictures]
    files = plan_files(digests, out, encoder_fingerprint=frames.fingerprint())
    for path in (*out.glob("regions_*"), *out.glob(".regions_*.partial*")):
        if path not in files:
            path.unlink()
    due = {path: plan for path, plan in files.items() if not is_written(path, plan.fingerprint)}
    frames.encoder.to(device)
    with tqdm(total=sum(len(plan.images) for plan in due.values()), desc="encoding", unit="image") as bar:
        for path, plan in due.items():
            images = (_read(manifest, pictures[position], frames.preprocess) for position in plan.images)
            batches = encode_images(images, frames.encoder, frames.preprocess, batch_size=frames.spec.batch_size)
            write_regions(path, _counted(batches, bar), fingerprint=plan.fingerprint)


def _digest(manifest: CaptionManifest, picture: Picture) -> str:
    crop = f" crop {picture.crop}" if picture.crop else ""
    return manifest.images[picture.image].sha256 + crop + " mirrored" * picture.mirrored


def _read(manifest: CaptionManifest, picture: Picture, preprocess: Preprocess) -> np.ndarray:
    """uint8 [H, W, 3]; cropped and mirrored within the region of interest, which the result fills as the image did."""
    image = manifest.images[picture.image]
    pixels = read_image(Path(image.path))
    left, top, right, bottom = preprocess.crop_box(width=pixels.shape[1], height=pixels.shape[0])
    region = pixels[top:bottom, left:right].copy()
    if picture.crop:
        region = enlarge(region, *_random_crop(region, seed=[int(image.sha256[:16], 16), picture.crop]))
    pixels[top:bottom, left:right] = region[:, ::-1] if picture.mirrored else region
    return pixels


def _random_crop(pixels: np.ndarray, *, seed: list[int]) -> tuple[slice, slice]:
    """Rows and columns of a part of an image [H, W, 3], the same for the same seed."""
    rng = np.random.default_rng(seed)
    sizes = [max(1, round(side * rng.uniform(SMALLEST_CROP, 1))) for side in pixels.shape[:2]]
    starts = [int(rng.integers(side - size + 1)) for side, size in zip(pixels.shape[:2], sizes, strict=True)]
    rows, columns = (slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
    return rows, columns


def _counted(batches: Iterable[torch.Tensor], bar: tqdm) -> Iterable[torch.Tensor]:
    for batch in batches:
        yield batch
        bar.update(len(batch))


if __name__ == "__main__":
    run_stage(main)
