"""Stage evaluate_captioner: scores of the captioner on each held-out split, samples, and their attention."""

import base64
import csv
import io
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from pipeline.captioning.describe import generate_captions, plan_search
from pipeline.checkpoints.captioner import CaptionCheckpoint, load_captioner
from pipeline.config.params import load_params
from pipeline.datasets.caption_manifest import CaptionedImage, CaptionManifest, read_caption_manifest
from pipeline.datasets.regions import Regions
from pipeline.datasets.scenes.write import image_fact
from pipeline.drawing.page import make_page
from pipeline.drawing.plots import plot_attention
from pipeline.encoding.device import choose_device
from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.metrics.captions import score_captions
from pipeline.stages import run_stage
from pipeline.stages.paths import CAPTION_RESULTS, CAPTIONER, CAPTIONS, REGIONS, RESULTS, SCENES
from pipeline.text.vocabulary import START, tokenize
from pipeline.tracking import store
from pipeline.tracking.searches import runs_of_model
from pipeline.video.image import read_image

HELD_OUT = ("val", "test")
BATCH_IMAGES = 64


class Described(NamedTuple):
    """An image with the best caption of the model.

    Attributes:
        image: The image.
        caption: The caption.
        probability: The probability of the caption.
    """

    image: CaptionedImage
    caption: str
    probability: float


def main() -> None:
    """Write results/captions and results/caption_metrics.json, and log them into the model's MLflow run."""
    params = load_params()
    manifest = read_caption_manifest(CAPTIONS)
    model = load_captioner(CAPTIONER, device=choose_device(params.captioner.training.device))
    if not any(manifest.of_split(split) for split in HELD_OUT):
        raise InputError("no image is held out to evaluate on: set captions.test_fraction, or write splits/test.txt")
    shutil.rmtree(CAPTION_RESULTS, ignore_errors=True)
    metrics = {}
    for split in HELD_OUT:
        if not manifest.of_split(split):
            continue
        described = describe(model, manifest, split)
        metrics[split] = _scores(described, from_scenes=params.captions.root == SCENES)
        _write_captions(CAPTION_RESULTS / f"{split}.csv", described)
        samples = described[: params.num_samples]
        _draw_attention(model, samples, CAPTION_RESULTS / split)
        _write_samples(CAPTION_RESULTS / f"{split}.html", split, samples)
    with replacing(RESULTS / "caption_metrics.json") as path:
        path.write_text(json.dumps(metrics, indent=1) + "\n")
    _track(metrics, model, search=params.search)


def describe(model: CaptionCheckpoint, manifest: CaptionManifest, split: str) -> list[Described]:
    """Find the best caption of each image of a split, from its cached features.

    Args:
        model: The captioner, whose checkpoint has the settings of the search.
        manifest: The data set.
        split: The name of the split.
    """
    regions, search, device = Regions(REGIONS), plan_search(model), model.captioner.word_bias.device
    images = manifest.indices_of_split(split)
    described = []
    for start in tqdm(range(0, len(images), BATCH_IMAGES), desc=f"captioning {split}", unit="batch"):
        here = images[start : start + BATCH_IMAGES]
        for index, (best, *_) in zip(
            here, generate_captions(regions.read(here).to(device), model, search), strict=True
        ):
            described.append(Described(manifest.images[index], *best))
    return described


def _scores(described: list[Described], *, from_scenes: bool) -> dict[str, float]:
    """Compute scores in percent.

    `right`, for the embedded images, is the share of captions that name both shapes, both colours and the relation.
    """
    captions = {d.image.stem: d.caption for d in described}
    scores = score_captions(captions, {d.image.stem: d.image.captions for d in described})
    if from_scenes:
        right = [image_fact(d.caption) == image_fact(d.image.captions[0]) for d in described]
        scores["right"] = 100 * sum(right) / len(right)
    return scores


def _write_captions(path: Path, described: list[Described]) -> None:
    num_captions = max(len(d.image.captions) for d in described)
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption", "probability", *(f"reference_{i + 1}" for i in range(num_captions))])
        for d in described:
            writer.writerow([Path(d.image.path).name, d.caption, f"{d.probability:.6g}", *d.image.captions])


def _draw_attention(model: CaptionCheckpoint, samples: list[Described], out: Path) -> None:
    """Draw a picture for each sample: the image, and where the captioner looked for each word."""
    out.mkdir(parents=True, exist_ok=True)
    preprocess = model.frame_encoder.preprocess
    for sample in samples:
        pixels = read_image(Path(sample.image.path))
        left, top, right, bottom = preprocess.crop_box(width=pixels.shape[1], height=pixels.shape[0])
        words = tokenize(sample.caption)
        attention = _attention(model, preprocess(pixels[None]), words)
        figure = plot_attention(pixels[top:bottom, left:right], words, attention, title=sample.caption)
        figure.savefig(out / f"{sample.image.stem}.png", dpi=120)


@torch.inference_mode()
def _attention(model: CaptionCheckpoint, image: torch.Tensor, words: list[str]) -> np.ndarray:
    """Return the attention [T, R + 1] of the captioner over R regions and the sentinel, for each of its T words."""
    device = model.captioner.word_bias.device
    regions = model.frame_encoder.encoder.regions(image.to(device))
    read = torch.tensor([[[START, *model.vocabulary.encode(words)[:-1]]]], device=device)
    lengths = torch.tensor([[read.shape[2]]], device=device)
    return model.captioner.attention(regions, read, lengths)[0, 0].cpu().numpy()


def _write_samples(path: Path, split: str, samples: list[Described]) -> None:
    """Write a page that MLflow shows: the image of each sample, its caption, and the captions that people wrote."""
    shown = [
        {
            "picture": _thumbnail(Path(sample.image.path)),
            "name": Path(sample.image.path).name,
            "caption": sample.caption,
            "probability": sample.probability,
            "references": sample.image.captions,
        }
        for sample in samples
    ]
    with replacing(path) as partial:
        partial.write_text("".join(make_page("captions.html", split=split, samples=shown)), encoding="utf-8")


def _thumbnail(path: Path) -> str:
    """Return a small picture of an image as a data URL."""
    thumbnail = Image.fromarray(read_image(path))
    thumbnail.thumbnail((240, 240))
    file = io.BytesIO()
    thumbnail.save(file, "JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _track(metrics: dict[str, dict[str, float]], model: CaptionCheckpoint, *, search: str | None) -> None:
    """Log the scores of caption_metrics.json, the pages and pictures into the run that trained the model.

    They are also logged into `search`, if there is one.
    """
    for run_id in runs_of_model(model.spec.lineage.run_id, search, results=RESULTS):
        with store.open_run(run_id):
            store.log_scores({f"{split}/{name}": s for split, scores in metrics.items() for name, s in scores.items()})
            store.log_folder(CAPTION_RESULTS, "captions")


if __name__ == "__main__":
    run_stage(main)
