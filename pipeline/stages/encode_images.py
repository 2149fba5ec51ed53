"""Stage encode_images: encode each captioned image once; an interrupted run is resumed."""

from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from tqdm import tqdm

from pipeline.checkpoints.encoder import FrameEncoder, load_encoder
from pipeline.config.params import load_params
from pipeline.datasets.caption_manifest import CaptionManifest, read_caption_manifest
from pipeline.datasets.regions import is_written, plan_files, write_regions
from pipeline.encoding.device import choose_device
from pipeline.encoding.images import encode_images
from pipeline.stages import run_stage
from pipeline.stages.paths import CAPTIONS, IMAGE_ENCODER, REGIONS
from pipeline.video.image import read_image
from pipeline.video.preprocess import Preprocess


def main() -> None:
    """Write data/regions."""
    params = load_params()
    frame_encoder = load_encoder(IMAGE_ENCODER)
    assert frame_encoder is not None, "finetune_image_encoder writes one"
    REGIONS.mkdir(parents=True, exist_ok=True)
    device = choose_device(params.captioner.training.device)
    manifest = read_caption_manifest(CAPTIONS)
    encode_manifest(manifest, frame_encoder, REGIONS, mirror=params.captions.mirror, device=device)


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
    """Read an image, uint8 [H, W, 3]."""
    image = read_image(path)
    return preprocess.mirror(image) if mirrored else image


def _counted(batches: Iterable[torch.Tensor], bar: "tqdm[NoReturn]") -> Iterable[torch.Tensor]:
    for batch in batches:
        yield batch
        bar.update(len(batch))


if __name__ == "__main__":
    run_stage(main)
