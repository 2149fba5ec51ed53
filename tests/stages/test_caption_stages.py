"""The stages of the captioner in the order of dvc.yaml, on small pictures of coloured squares."""

import csv
import json
import math
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_data import write_caption_dataset, write_params
from mlflow import MlflowClient
from PIL import Image

from pipeline.captioning.describe import caption_images, load_caption_model, plan_search
from pipeline.checkpoints.captioner import load_captioner
from pipeline.checkpoints.encoder import load_encoder
from pipeline.config.params import load_params
from pipeline.datasets import regions
from pipeline.datasets.caption_manifest import CaptionedImage, read_caption_manifest
from pipeline.datasets.regions import Regions
from pipeline.errors import InputError
from pipeline.metrics import captions as metrics
from pipeline.stages import (
    encode_images,
    evaluate_captioner,
    finetune_image_encoder,
    prepare_captions,
    run_stage,
    train_captioner,
)
from pipeline.stages.evaluate_captioner import Described
from pipeline.stages.paths import CAPTION_RESULTS, CAPTIONER, CAPTIONS, IMAGE_ENCODER, REGIONS, RESULTS
from pipeline.text.vocabulary import END, START, tokenize
from pipeline.tracking import store
from pipeline.video.image import read_image

NUM_IMAGES = 12
PER_FILE = 5
NO_JAVA = SimpleNamespace(which=lambda name: None)
EVIL = '<script>alert("1 & 2")</script> in a {square}'


@pytest.fixture
def pictures(workspace: Path, monkeypatch) -> Path:
    """A workspace with captioned images, whose regions are in files of five."""
    monkeypatch.setattr(regions, "IMAGES_PER_FILE", PER_FILE)
    write_caption_dataset(workspace / "pictures", num_images=NUM_IMAGES)
    write_params(workspace, num_samples=1)
    return workspace / "pictures"


@pytest.fixture
def trained(pictures: Path, monkeypatch) -> Path:
    monkeypatch.setattr(store, "log_model", lambda *args, **options: None)
    monkeypatch.setattr(metrics, "shutil", NO_JAVA)  # METEOR takes seconds
    with (pictures / "captions.csv").open("a", newline="") as file:
        csv.writer(file).writerows((f"square{i:02}.{'jpg' if i % 2 else 'png'}", EVIL) for i in range(NUM_IMAGES))
    write_params(pictures.parent, num_samples=1, captioner__training__epochs=1)
    encode()
    train_captioner.main()
    return pictures


def encode() -> None:
    """Run the stages that lead to the regions of the images."""
    prepare_captions.main()
    finetune_image_encoder.main()
    encode_images.main()


def region_files() -> dict[str, int]:
    """The time at which each file was written."""
    return {path.name: path.stat().st_mtime_ns for path in REGIONS.glob("regions_*")}


# prepare_captions, finetune_image_encoder, encode_images


def test_an_image_is_encoded_independently_of_the_others(pictures):
    encode()
    manifest, frames = read_caption_manifest(CAPTIONS), load_encoder(IMAGE_ENCODER)
    assert [image.stem for image in manifest.images] == [f"square{index:02}" for index in range(NUM_IMAGES)]
    assert sorted(region_files()) == [f"regions_00{index}.safetensors" for index in range(3)]
    held = Regions(REGIONS).read(range(NUM_IMAGES))
    for image, found in zip(manifest.images, held, strict=True):
        with torch.no_grad():
            expected = frames.encoder.regions(frames.preprocess(read_image(Path(image.path))[None]))[0]
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-5)
    assert not any(path.name.startswith(".") for path in REGIONS.rglob("*"))


def test_training_images_are_also_encoded_mirrored_on_request(pictures, monkeypatch):
    def columns(images, encoder, preprocess, *, batch_size):
        for image in images:
            yield preprocess(image[None]).mean(2).transpose(1, 2)  # each column of pixels as a region

    monkeypatch.setattr(encode_images, "encode_images", columns)
    pixels = {"crop": (0.5, 0.0, 0.5, 1.0), "crop_unit": "fractions", "size": (64, 64), "color": "rgb"}
    write_params(pictures.parent, captions__mirror=True, captions__pixels=pixels)
    encode()
    manifest = read_caption_manifest(CAPTIONS)
    train, everything = manifest.indices_of_split("train"), list(range(NUM_IMAGES))
    assert manifest.pictures(mirror=False) == [(index, False) for index in everything]
    assert manifest.pictures(mirror=True) == [(i, False) for i in everything] + [(i, True) for i in train]
    held = Regions(REGIONS).read(range(NUM_IMAGES + len(train)))
    assert torch.equal(held[NUM_IMAGES:], held[train].flip(1)), "the region of interest is the same part of the image"
    assert not torch.equal(held[NUM_IMAGES:], held[train])

    write_params(pictures.parent, captions__pixels=pixels)
    encode()
    assert len(region_files()) == 3, "files of mirrored images are removed"


def test_images_are_split_by_group(pictures, capsys):
    rows = [f"square{index:02},pair{index // 2}" for index in range(NUM_IMAGES)]
    (pictures / "groups.csv").write_text("\n".join(["stem,group", *rows]) + "\n")
    manifest = prepare_captions.prepare_captions(load_params())
    of_split = {split: {image.group for image in manifest.of_split(split)} for split in ("train", "val", "test")}
    assert [len(groups) for groups in of_split.values()] == [4, 1, 1]
    assert sum(len(groups) for groups in of_split.values()) == len(set.union(*of_split.values()))
    printed = [line.split()[:4:2] + line.split()[1:2] for line in capsys.readouterr().out.splitlines()]
    assert printed == [["train", "images", "8"], ["val", "images", "2"], ["test", "images", "2"]]
    write_params(pictures.parent, seed=1)
    other = prepare_captions.prepare_captions(load_params())
    assert {i.stem: i.split for i in other.images} != {i.stem: i.split for i in manifest.images}


def test_splits_on_disk_are_kept_and_images_in_no_split_are_reported(pictures, capsys):
    (pictures / "splits").mkdir()
    for split, numbers in (("train", range(6)), ("val", range(6, 8)), ("test", range(8, 11))):
        (pictures / "splits" / f"{split}.txt").write_text("".join(f"square{n:02}\n" for n in numbers))
    manifest = prepare_captions.prepare_captions(load_params())
    sizes = [len(manifest.of_split(split)) for split in ("train", "val", "test")]
    assert sizes == [6, 2, 3]
    assert len(manifest.images) == 11
    assert "1 images are named by no split and left out" in capsys.readouterr().out
    (pictures / "splits" / "train.txt").write_text("")
    with pytest.raises(InputError, match="no image to train on"):
        prepare_captions.prepare_captions(load_params())


def test_too_few_groups_are_reported_with_the_settings_of_captions(pictures):
    (pictures / "groups.csv").write_text(
        "stem,group\n" + "".join(f"square{index:02},same\n" for index in range(NUM_IMAGES))
    )
    with pytest.raises(InputError) as refused:
        prepare_captions.prepare_captions(load_params())
    assert "captions.val_fraction" in str(refused.value)
    assert "video" not in str(refused.value)


def break_two(pictures: Path) -> None:
    (pictures / "images" / "square01.jpg").write_bytes(b"")
    Image.new("RGB", (8, 8)).save(pictures / "images" / "cat.png")


def test_all_problems_are_reported_together_and_nothing_is_written(pictures, capsys):
    break_two(pictures)
    with pytest.raises(SystemExit) as ended:
        run_stage(prepare_captions.main)
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    printed = [line for line in lines if line.startswith("pictures/")]
    assert [line.split(":")[0] for line in printed] == ["pictures/images/cat.png", "pictures/images/square01.jpg"]
    assert lines[-1] == "(captions.skip_broken=true leaves these images out)"
    assert not CAPTIONS.exists()


def test_broken_images_are_left_out_on_request(pictures, capsys):
    break_two(pictures)
    write_params(pictures.parent, captions__skip_broken=True)
    prepare_captions.main()
    stems = [image.stem for image in read_caption_manifest(CAPTIONS).images]
    assert stems == [f"square{index:02}" for index in range(NUM_IMAGES) if index != 1]
    assert [line.split(":")[1].strip() for line in capsys.readouterr().err.splitlines() if "left out: " in line] == [
        "pictures/images/cat.png",
        "pictures/images/square01.jpg",
    ]
    (pictures / "captions.csv").write_text("image,caption\nno_such.png,A dog\n")
    with pytest.raises(InputError) as refused:
        prepare_captions.prepare_captions(load_params())
    assert "skip_broken" not in str(refused.value), "problems of the whole data set cannot be left out"


def test_a_second_call_encodes_no_image(pictures, monkeypatch):
    encode()
    before = region_files()
    with monkeypatch.context() as patch:
        patch.setattr(encode_images, "encode_images", lambda *args, **options: pytest.fail("encodes again"))
        encode()
    assert region_files() == before


def test_a_killed_stage_resumes_and_removes_files_of_other_images(pictures):
    encode()
    before, values = region_files(), Regions(REGIONS).read(range(NUM_IMAGES))
    (REGIONS / "regions_000.safetensors").unlink()
    content = (REGIONS / "regions_001.safetensors").read_bytes()
    (REGIONS / "regions_001.safetensors").write_bytes(content[: len(content) // 2])
    (REGIONS / "regions_007.safetensors").write_bytes(content)
    encode()
    after = region_files()
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] == before[name]] == ["regions_002.safetensors"]
    torch.testing.assert_close(Regions(REGIONS).read(range(NUM_IMAGES)), values)


def test_a_partial_file_of_a_killed_call_is_removed(pictures):
    REGIONS.mkdir(parents=True)
    half = REGIONS / ".regions_001.77.partial.safetensors"
    half.write_bytes(b"half of it")
    encode()
    assert not half.exists()


def test_only_changed_images_are_encoded_again(pictures):
    encode()
    before = region_files()
    Image.new("RGB", (30, 30), "white").save(pictures / "images" / "square06.png")
    encode()
    after = region_files()
    assert [name for name in after if after[name] != before[name]] == ["regions_001.safetensors"]
    write_params(pictures.parent, captions__pixels={"color": "grey"})
    encode()
    assert not set(region_files().values()) & set(after.values())


def test_an_image_that_becomes_unreadable_leaves_no_partial_file(pictures, monkeypatch):
    original, num_read = encode_images.read_image, iter(range(100))

    def read(path: Path) -> np.ndarray:
        if next(num_read) == 7:
            raise InputError(f"{path}: no such file")
        return original(path)

    monkeypatch.setattr(encode_images, "read_image", read)
    with pytest.raises(InputError, match=r"square07\.jpg: no such file"):
        encode()
    assert [path.name for path in REGIONS.iterdir()] == ["regions_000.safetensors"]


# evaluate_captioner


class Text(HTMLParser):
    """The texts, the sources of images and the tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_data(self, text: str) -> None:
        self.texts.append(text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.add(tag)
        self.sources += [value for name, value in attributes if name == "src"]


def read_rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture
def evaluated(trained) -> dict[str, dict[str, float]]:
    """The scores that DVC reads after an evaluation, in a folder with the files of an earlier model."""
    (CAPTION_RESULTS / "test").mkdir(parents=True)
    (CAPTION_RESULTS / "test" / "of_an_earlier_model.png").touch()
    evaluate_captioner.main()
    return json.loads((RESULTS / "caption_metrics.json").read_text())


def test_evaluation_gives_dvc_and_mlflow_the_same_scores(evaluated):
    assert evaluated.keys() == {"val", "test"}
    assert evaluated["val"].keys() == {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider"}, (
        "Java is not available"
    )
    run_id = load_captioner(CAPTIONER, device=torch.device("cpu")).spec.lineage.run_id
    run = MlflowClient().get_run(run_id)
    final = {name: value for name, value in run.data.metrics.items() if name.startswith(("val/", "test/"))}
    assert final == {f"{split}/{name}": value for split in evaluated for name, value in evaluated[split].items()}
    assert run.info.status == "FINISHED"
    assert len(MlflowClient().search_runs([run.info.experiment_id])) == 1
    logged = {file.path for file in MlflowClient().list_artifacts(run_id, "captions")}
    assert logged >= {f"captions/{split}{suffix}" for split in evaluated for suffix in ("", ".csv", ".html")}


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_table_has_the_scored_captions_which_are_those_of_the_command(evaluated, split):
    model = load_caption_model(str(CAPTIONER), device="cpu")
    images = read_caption_manifest(CAPTIONS).of_split(split)
    header, *rows = read_rows(CAPTION_RESULTS / f"{split}.csv")
    max_references = max(len(image.captions) for image in images)
    assert header == ["image", "caption", "probability", *(f"reference_{i + 1}" for i in range(max_references))]
    assert [row[0] for row in rows] == [Path(image.path).name for image in images]
    paths = [Path(image.path) for image in images]
    described = caption_images(paths, model, plan_search(model), on_failure=pytest.fail)
    for row, image, (_, (best, *_)) in zip(rows, images, described, strict=True):
        assert row[3:] == list(image.captions)
        assert math.isclose(float(row[2]), best.probability, rel_tol=0.02), "features were kept in half precision"
        assert row[1] == best.text
    captions, references = {row[0]: row[1] for row in rows}, {row[0]: row[3:] for row in rows}
    assert evaluated[split] == pytest.approx(metrics.score_captions(captions, references, with_meteor=False))


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_page_shows_samples_of_the_current_model_only(evaluated, split):
    images = read_caption_manifest(CAPTIONS).of_split(split)
    _, first, *_ = read_rows(CAPTION_RESULTS / f"{split}.csv")
    (picture,) = (CAPTION_RESULTS / split).iterdir()
    assert picture.name == f"{images[0].stem}.png"
    with Image.open(picture) as image:
        assert image.width > 100
        assert image.height > 100
    page = Text((CAPTION_RESULTS / f"{split}.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    shown = [text.strip() for text in page.texts]
    assert {Path(images[0].path).name, first[1], *images[0].captions, EVIL} <= set(shown)
    assert not any(image.captions[0] in shown and image.stem in "".join(shown) for image in images[1:])
    assert len(page.sources) == 1, "num_samples"
    assert page.sources[0].startswith("data:image/jpeg;base64,")


def test_a_model_whose_run_is_missing_in_the_store_is_evaluated(trained, capsys):
    run_id = load_captioner(CAPTIONER, device=torch.device("cpu")).spec.lineage.run_id
    MlflowClient().delete_run(run_id)
    evaluate_captioner.main()
    assert (RESULTS / "caption_metrics.json").exists()
    assert f"MLflow has no run {run_id}" in capsys.readouterr().out


def test_evaluation_is_refused_if_no_image_is_held_out(trained):
    write_params(trained.parent, captions__val_fraction=0.0, captions__test_fraction=0.0)
    prepare_captions.main()
    with pytest.raises(InputError, match="no image is held out"):
        evaluate_captioner.main()
    assert not RESULTS.exists()


def test_a_caption_without_a_word_is_also_written_and_drawn(trained, monkeypatch):
    model = load_captioner(CAPTIONER, device=torch.device("cpu"))
    with torch.no_grad():
        model.captioner.word_bias[END] = 1e4
    monkeypatch.setattr(evaluate_captioner, "load_captioner", lambda *args, **options: model)
    evaluate_captioner.main()
    for split in ("val", "test"):
        _, *rows = read_rows(CAPTION_RESULTS / f"{split}.csv")
        assert {row[1] for row in rows} == {""}
        assert len(list((CAPTION_RESULTS / split).iterdir())) == 1
    printed = json.loads((RESULTS / "caption_metrics.json").read_text())
    assert printed["test"]["cider"] == 0


def test_the_drawn_attention_is_that_of_the_generated_words(trained, monkeypatch):
    """The attention that is drawn for a word is that after START and the words before it."""
    manifest = read_caption_manifest(CAPTIONS)
    model = load_captioner(CAPTIONER, device=torch.device("cpu"))
    (sample, *_) = evaluate_captioner.describe(model, manifest, "test")
    drawn = []
    original = evaluate_captioner.plot_attention
    monkeypatch.setattr(
        evaluate_captioner,
        "plot_attention",
        lambda pixels, words, attention, *, title: (
            drawn.append((pixels, words, attention, title)) or original(pixels, words, attention, title=title)
        ),
    )
    evaluate_captioner._draw_attention(model, [sample], Path("drawn"))
    ((pixels, words, attention, title),) = drawn
    assert words == tokenize(sample.caption)
    assert title == sample.caption
    assert attention.shape == (len(words), 5)
    np.testing.assert_allclose(attention.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(pixels, read_image(Path(sample.image.path)))
    regions_of_it = model.frame_encoder.encoder.regions(model.frame_encoder.preprocess(pixels[None]))
    said = [START, *model.vocabulary.encode(words)]
    with torch.inference_mode():
        for position, row in enumerate(attention, 1):
            read = torch.tensor([[said[:position]]])
            alone = model.captioner.attention(regions_of_it, read, torch.tensor([[position]]))[0, 0, -1]
            np.testing.assert_allclose(row, alone.numpy(), rtol=1e-3, atol=1e-6)


def made(caption: str, *references: str) -> Described:
    image = CaptionedImage(f"i{len(caption)}", "x.jpg", "g", "test", "0", references)
    return Described(image, caption, 0.5)


def test_captions_of_the_embedded_images_are_counted_as_right_or_wrong():
    described = [
        made("a red star above a blue circle", "below a red star is a blue circle", "there is ..."),
        made("a red star below a blue circle", "a red star above a blue circle"),
        made("a red star", "a red star above a blue circle"),
        made("a white star is to the left of a red square", "a red square is to the right of a white star"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "shutil", NO_JAVA)
        assert evaluate_captioner._scores(described, from_scenes=True)["right"] == 50
        assert "right" not in evaluate_captioner._scores(described, from_scenes=False)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="METEOR runs on java")
def test_meteor_is_reported_if_java_is_available(trained, monkeypatch):
    monkeypatch.setattr(metrics, "shutil", shutil)
    evaluate_captioner.main()
    assert 0 <= json.loads((RESULTS / "caption_metrics.json").read_text())["test"]["meteor"] <= 100
