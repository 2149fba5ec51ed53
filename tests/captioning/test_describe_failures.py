"""What one image or video costs whose description fails, whatever it raises."""

from pathlib import Path

import numpy as np
import pytest
from made_models import write_video
from PIL import Image

from pipeline.captioning import describe
from pipeline.captioning.describe import CaptionModel, caption_files, load_caption_model, plan_search
from pipeline.encoding.images import RuntimeRegions
from pipeline.errors import ERROR_LOG


@pytest.fixture(scope="module")
def model(caption_model):
    return load_caption_model(str(caption_model), device="cpu")


@pytest.fixture
def images(tmp_path):
    """Six images of one grey level each, so that a level identifies an image."""
    paths = [tmp_path / f"{index}.png" for index in range(6)]
    for index, path in enumerate(paths):
        Image.fromarray(np.full((64, 64, 3), 40 * index, np.uint8)).save(path)
    return paths


def described(images: list[Path], videos: list[Path], model: CaptionModel, out: Path) -> tuple[list[str], list[str]]:
    printed: list[str] = []
    out.mkdir(exist_ok=True)
    rows = caption_files(
        images, videos, model, plan_search(model), labels=None, every_seconds=1, out=out, on_failure=printed.append
    )
    return [Path(of_file[0].path).name for of_file in rows], printed


@pytest.mark.parametrize("step", ["begin", "finish"])
def test_whatever_one_image_raises_costs_that_image_alone(images, model, tmp_path, monkeypatch, step):
    begin, finish = RuntimeRegions.begin, RuntimeRegions.finish
    broken: set[int] = set()

    def noting(self: RuntimeRegions, image: np.ndarray):
        if image.max() == 40 * 2 and step == "begin":
            raise RuntimeError("shapes differ")
        begun = begin(self, image)
        if image.max() == 40 * 2:
            broken.add(id(begun))
        kept.append(begun)
        return begun

    def failing(self: RuntimeRegions, begun: list):
        if any(id(pending) in broken for pending in begun):
            raise RuntimeError("shapes differ")
        return finish(self, begun)

    kept: list[object] = []  # so that no id is used twice
    monkeypatch.setattr(RuntimeRegions, "begin", noting)
    monkeypatch.setattr(RuntimeRegions, "finish", failing)
    names, printed = described(images, [], model, tmp_path / "out")
    assert names == [path.name for path in images if path != images[2]]
    log = tmp_path / "out" / ERROR_LOG
    assert printed == [f"{images[2]}: could not be described: RuntimeError: shapes differ (the traceback is in {log})"]


def test_an_image_that_cannot_be_read_for_any_reason_costs_that_image_alone(images, model, tmp_path, monkeypatch):
    whole = describe.read_image

    def fail(path: Path) -> np.ndarray:
        if path == images[0]:
            raise RecursionError
        return whole(path)

    monkeypatch.setattr(describe, "read_image", fail)
    names, printed = described(images, [], model, tmp_path / "out")
    assert names == [path.name for path in images[1:]]
    assert "it is nested too deeply" in printed[0]


def test_whatever_one_video_raises_costs_that_video_alone(images, model, tmp_path, monkeypatch):
    videos = [write_video(tmp_path / f"clip{index}.mp4", num_frames=10) for index in range(2)]
    whole = describe.caption_video

    def fail(path: Path, *arguments, **options):
        if path == videos[0]:
            raise MemoryError
        return whole(path, *arguments, **options)

    monkeypatch.setattr(describe, "caption_video", fail)
    names, printed = described([], videos, model, tmp_path / "out")
    assert names == ["clip1.mp4"]
    assert printed[0].startswith(f"{videos[0]}: could not be described: there was not enough memory")


def test_a_folder_in_the_place_of_subtitles_costs_that_video_alone(model, tmp_path):
    videos = [write_video(tmp_path / f"clip{index}.mp4", num_frames=10) for index in range(2)]
    (tmp_path / "out" / "clip0.captions.vtt").mkdir(parents=True)
    names, printed = described([], videos, model, tmp_path / "out")
    assert names == ["clip1.mp4"]
    assert "clip0.captions.vtt: got a folder, expected a file" in printed[0]
