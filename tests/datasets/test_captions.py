"""Every fault of captioned images is found with its place; images get the splits of their videos; the manifest."""

import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.datasets.caption_manifest import (
    CaptionedImage,
    CaptionManifest,
    read_caption_manifest,
    write_caption_manifest,
)
from pipeline.datasets.captions import scan_captions
from pipeline.datasets.manifest import assign_splits

NUM_IMAGES = 8
SPLIT_OF = ("train", "train", "val", "test")  # of each pair of images


@pytest.fixture
def dataset(tmp_path) -> Path:
    """Eight images with two captions each, two images per group, and splits that keep groups together."""
    root = tmp_path / "dataset"
    for folder in ("images", "splits"):
        (root / folder).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for index in range(NUM_IMAGES):
        pixels = generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"dog{index}.{'jpg' if index % 2 else 'png'}")
    write_captions(root)
    (root / "groups.csv").write_text("stem,group\n" + "".join(f"dog{i},g{i // 2}\n" for i in range(NUM_IMAGES)))
    for pair, split in enumerate(SPLIT_OF):
        append(root / "splits" / f"{split}.txt", f"dog{2 * pair}\ndog{2 * pair + 1}\n")
    return root


def write_captions(root: Path) -> None:
    with (root / "captions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption"])
        for path in sorted((root / "images").iterdir()):
            writer.writerow([path.name, f'A dog, "{path.stem}", runs .'])
            writer.writerow([path.name, "It runs\nfast ."])


def append(path: Path, text: str) -> None:
    path.write_text((path.read_text() if path.exists() else "") + text)


def swap(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


NUM_LINES = 1 + 3 * NUM_IMAGES  # of captions.csv, where every second caption has two lines

# name of the fault: the change that makes it, and the place and words of each problem that must be found
FAULTS = {
    "empty image": (lambda d: (d / "images/dog0.png").write_bytes(b""), {"images/dog0.png": "is empty"}),
    "cut image": (
        lambda d: (d / "images/dog1.jpg").write_bytes((d / "images/dog1.jpg").read_bytes()[:300]),
        {"images/dog1.jpg": "damaged"},
    ),
    "stray file": (lambda d: (d / "images/notes.md").write_text("x"), {"images/notes.md": "is not one of .apng"}),
    "one stem": (
        lambda d: shutil.copy(d / "images/dog2.png", d / "images/dog2.webp"),
        {"images/dog2.webp": "has the same stem as dog2.png"},
    ),
    "no caption": (
        lambda d: Image.new("RGB", (8, 8)).save(d / "images/cat.png"),
        {"images/cat.png": "has no caption", "groups.csv": "has no row for 'cat'"},
    ),
    "not two cells": (
        lambda d: swap(d / "captions.csv", 'dog3.jpg,"A dog, ""dog3"", runs ."', "dog3.jpg,A dog, runs ."),
        {"captions.csv:11": "got 3 cells"},
    ),
    "no word": (
        lambda d: swap(d / "captions.csv", 'dog4.png,"A dog, ""dog4"", runs ."', 'dog4.png," ..."'),
        {"captions.csv:14": "the caption '...' of dog4.png has no word"},
    ),
    "other suffix": (
        lambda d: swap(d / "captions.csv", "dog5.jpg", "dog5"),
        {
            "captions.csv:17": "'dog5' is not a file of images/: did you mean 'dog5.jpg'?",
            "images/dog5.jpg": "no caption",
        },
    ),
    "stem in two splits": (
        lambda d: append(d / "splits/val.txt", "dog2\n"),
        {"splits/val.txt:3": "'dog2' is already in train.txt, line 3"},
    ),
    "suffix in a split": (
        lambda d: append(d / "splits/test.txt", "dog1.jpg\n"),
        {"splits/test.txt:3": "'dog1.jpg' is not a stem of images/: did you mean 'dog1'?"},
    ),
    "unknown split": (lambda d: (d / "splits/valid.txt").write_text("dog0\n"), {"splits/valid.txt": "is not one of"}),
    "group row of nobody": (lambda d: append(d / "groups.csv", "nobody_7,g9\n"), {"groups.csv:10": "is not a stem"}),
}


def problems_of(dataset: Path) -> list[str]:
    return [str(problem) for problem in scan_captions(dataset).all_problems()]


def test_a_clean_image_set_has_no_problem(dataset):
    scan = scan_captions(dataset)
    assert scan.all_problems() == []
    assert {stem: (image.split, image.group) for stem, image in scan.images.items()} == {
        f"dog{i}": (SPLIT_OF[i // 2], f"g{i // 2}") for i in range(NUM_IMAGES)
    }
    assert scan.images["dog3"].captions == ('A dog, "dog3", runs .', "It runs fast .")
    assert Path(scan.images["dog3"].path) == dataset / "images" / "dog3.jpg"
    assert len({image.sha256 for image in scan.images.values()}) == NUM_IMAGES


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(st.sampled_from(sorted(FAULTS)), min_size=1))
def test_every_fault_is_reported_once_with_its_place_and_nothing_else_is(dataset, tmp_path, names):
    broken = tmp_path / "broken"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(dataset, broken)
    expected = []
    for name in sorted(names):
        inject, problems = FAULTS[name]
        inject(broken)
        expected += [f"{broken}/{place}: .*{re.escape(words)}.*" for place, words in problems.items()]
    printed = problems_of(broken)
    for pattern in expected:
        assert sum(re.fullmatch(pattern, line) is not None for line in printed) == 1, (pattern, printed)
    assert len(printed) == len(expected), printed
    assert all(line.count(str(broken)) == 1 and "\n" not in line for line in printed)


@pytest.mark.parametrize(
    ("remove", "sentence"),
    [
        ("images", "dataset/images: is not a folder"),
        ("captions.csv", "dataset/captions.csv: is missing"),
        (".", "dataset/images: is not a folder"),
    ],
)
def test_a_missing_part_is_one_problem(dataset, remove, sentence):
    path = dataset / remove
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (line,) = problems_of(dataset)
    assert line.startswith(f"{dataset.parent}/{sentence}")


@pytest.mark.parametrize("header", ["", "dog0.png,A dog runs .\n", "image;caption\n"])
def test_captions_without_a_header_are_one_problem(dataset, header):
    (dataset / "captions.csv").write_text(header)
    (line,) = problems_of(dataset)
    assert line == f"{dataset}/captions.csv:1: got the header {header.strip()!r}, expected 'image,caption'"


def test_an_open_quote_is_reported_where_it_begins_without_problems_of_the_rows_within(dataset):
    append(dataset / "captions.csv", 'dog7.jpg,"A dog\n')
    append(dataset / "captions.csv", "dog6.png,A dog\n" * 2)
    (line,) = problems_of(dataset)
    assert line.startswith(f"{dataset}/captions.csv:{NUM_LINES + 1}: is not CSV from here on")


@pytest.mark.parametrize("name", ["captions.csv", "groups.csv", "splits/val.txt"])
def test_text_in_another_encoding_is_reported_and_not_raised(dataset, name):
    (dataset / name).write_bytes("stem,gruppe\nfür,über\n".encode("latin-1"))
    (line,) = problems_of(dataset)
    assert line.startswith(f"{dataset / name}:2: is not UTF-8 text")


def test_a_broken_image_is_reported_together_with_the_faults_of_its_captions(dataset):
    (dataset / "images" / "dog0.png").write_bytes(b"")
    append(dataset / "captions.csv", "dog0.png,\n")
    scan = scan_captions(dataset)
    assert len(scan.problems["dog0"]) == len(scan.all_problems()) == 2
    assert sorted(scan.images) == [f"dog{i}" for i in range(1, NUM_IMAGES)]


@pytest.fixture
def frames_of_videos(tmp_path) -> Path:
    """Two images from each of three videos. Splits and groups name the videos, which may be missing."""
    root = tmp_path / "frames"
    for folder in ("images", "splits", "videos"):
        (root / folder).mkdir(parents=True)
    for video in "abc":
        (root / "videos" / f"run_{video}.mp4").touch()
        for frame in (3, 12):
            Image.new("RGB", (8, 8)).save(root / "images" / f"run_{video}_{frame:04}.png")
    (root / "videos" / "run_without_images.mp4").touch()
    write_captions(root)
    return root


def places_of(root: Path) -> dict[str, tuple[str, str | None]]:
    scan = scan_captions(root)
    assert scan.all_problems() == []
    return {stem: (image.group, image.split) for stem, image in scan.images.items()}


@pytest.mark.parametrize("has_videos", [True, False])
def test_an_image_gets_the_split_and_group_of_its_video(frames_of_videos, has_videos):
    (frames_of_videos / "groups.csv").write_text("stem,group\nrun_a,x\nrun_b,y\nrun_c,z\n")
    (frames_of_videos / "splits" / "train.txt").write_text("run_a\nrun_b\n")
    (frames_of_videos / "splits" / "test.txt").write_text("run_c\n")
    if has_videos:
        append(frames_of_videos / "groups.csv", "run_without_images,w\n")
        append(frames_of_videos / "splits" / "train.txt", "run_without_images\n")
    else:
        shutil.rmtree(frames_of_videos / "videos")
    places = {"a": ("x", "train"), "b": ("y", "train"), "c": ("z", "test")}
    assert places_of(frames_of_videos) == {f"run_{v}_{f}": places[v] for v in "abc" for f in ("0003", "0012")}


def test_images_of_one_video_are_one_group_without_groups_csv(frames_of_videos):
    shutil.rmtree(frames_of_videos / "splits")
    assert {group for group, _ in places_of(frames_of_videos).values()} == {"run_a", "run_b", "run_c"}
    shutil.rmtree(frames_of_videos / "videos")  # now no file says that these are frames of videos
    assert all(group == stem for stem, (group, _) in places_of(frames_of_videos).items())


def test_images_outside_the_groups_of_videos_are_their_own_group(frames_of_videos):
    """As in the embedded data set, groups.csv names only videos, and the images come from none of them."""
    images = frames_of_videos / "images"
    for index, path in enumerate(sorted(images.iterdir())):
        path.rename(images / f"still_{index:05}.png")
    write_captions(frames_of_videos)
    (frames_of_videos / "groups.csv").write_text("stem,group\nrun_a,x\nrun_b,x\nrun_c,z\n")
    assert places_of(frames_of_videos) == {f"still_{i:05}": (f"still_{i:05}", None) for i in range(6)}
    append(frames_of_videos / "groups.csv", "still_00001,own\n")
    (line,) = problems_of(frames_of_videos)
    assert line.startswith(f"{frames_of_videos}/groups.csv: has no row for 'still_00000', 'still_00002'")


def test_groups_of_some_videos_do_not_cover_the_frames_of_others(frames_of_videos):
    (frames_of_videos / "groups.csv").write_text("stem,group\nrun_a,x\nrun_b,x\n")
    (line,) = problems_of(frames_of_videos)
    assert line.startswith(f"{frames_of_videos}/groups.csv: has no row for 'run_c_0003', 'run_c_0012'")
    (frames_of_videos / "groups.csv").write_text("stem,group\nrun_without_images,x\n")
    assert {group for group, _ in places_of(frames_of_videos).values()} == {"run_a", "run_b", "run_c"}


def test_groups_of_unknown_stems_are_reported_and_do_not_count_as_those_of_videos(dataset):
    (dataset / "groups.csv").write_text("stem,group\nnobody,x\n")
    printed = problems_of(dataset)
    assert len(printed) == 2
    assert "is not a stem of images/" in printed[0]
    assert "has no row for 'dog0'" in printed[1]
    (dataset / "groups.csv").write_text("stem,group\n")
    (line,) = problems_of(dataset)
    assert "has no row for 'dog0'" in line


def test_the_split_and_group_of_an_image_override_those_of_its_video(frames_of_videos):
    (frames_of_videos / "groups.csv").write_text("stem,group\nrun_a_0003,own\nrun_a,x\nrun_b,y\nrun_c,z\n")
    (frames_of_videos / "splits" / "train.txt").write_text("run_a\nrun_b\n")
    (frames_of_videos / "splits" / "val.txt").write_text("run_a_0003\n")
    places = places_of(frames_of_videos)
    assert places["run_a_0003"] == ("own", "val")
    assert places["run_a_0012"] == ("x", "train")


def test_an_image_in_another_split_than_its_video_is_reported(frames_of_videos):
    (frames_of_videos / "splits" / "train.txt").write_text("run_a\n")
    (frames_of_videos / "splits" / "val.txt").write_text("run_a_0003\n")
    (line,) = problems_of(frames_of_videos)
    assert line.startswith(f"{frames_of_videos}/splits/val.txt:1: 'run_a_0003' is of group 'run_a', as is 'run_a' in")


def make_images() -> tuple[CaptionedImage, ...]:
    return tuple(
        CaptionedImage(f"dog{i}", f"/far/dog{i}.jpg", f"g{i // 2}", None, str(i), ("A dog .", "Ein Hündchen ."))
        for i in range(12)
    )


def test_images_are_split_by_group():
    images = assign_splits(make_images(), seed=0, val_fraction=0.2, test_fraction=0.2, has_splits=False)
    groups = {split: {image.group for image in images if image.split == split} for split in ("train", "val", "test")}
    assert [len(of_split) for of_split in groups.values()] == [4, 1, 1]
    assert len(set.union(*groups.values())) == 6
    assert [replace(image, split=None) for image in images] == list(make_images())


def test_a_written_manifest_can_be_read_back(tmp_path):
    images = assign_splits(make_images(), seed=0, val_fraction=0.2, test_fraction=0.2, has_splits=False)
    manifest = CaptionManifest("dogs", tuple(images))
    write_caption_manifest(manifest, tmp_path / "prepared")
    again = read_caption_manifest(tmp_path / "prepared")
    assert again == manifest
    assert again.fingerprint() == manifest.fingerprint()
    assert again.of_split("val") == [image for image in images if image.split == "val"] != []


def test_the_fingerprint_covers_contents_captions_and_splits_but_not_paths():
    first, *rest = make_images()

    def fingerprint(**changes: object) -> str:
        return CaptionManifest("other", (replace(first, **changes), *rest)).fingerprint()

    assert fingerprint(path="elsewhere/dog0.jpg") == CaptionManifest("dogs", make_images()).fingerprint()
    others = [fingerprint(sha256="x"), fingerprint(split="test"), fingerprint(captions=("A cat .",))]
    assert len({fingerprint(), *others}) == 4


@pytest.mark.slow
def test_the_real_image_set_has_no_problem(real_data):
    scan = scan_captions(real_data / "flickr8k")
    assert scan.all_problems() == []
    assert len(scan.images) == 7000
