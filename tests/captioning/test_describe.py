"""Captions of images and videos, from Python and from MLflow: results, refused inputs, and memory."""

import math
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from made_models import CAPTION_PREPROCESS, save_caption_model, write_other_container, write_video
from PIL import Image

from pipeline.annotations.layouts import Span
from pipeline.captioning.describe import (
    Caption,
    caption_files,
    caption_images,
    caption_video,
    find_pictures,
    load_caption_model,
    plan_search,
)
from pipeline.captioning.spans import LabelledSpans
from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.encoding import openvino as openvino_runtime
from pipeline.encoding.images import MAX_PARALLEL_BATCHES, RuntimeRegions, encode_images
from pipeline.encoding.openvino import ExportError, OpenVINORuntime
from pipeline.errors import InputError
from pipeline.pyfunc import CaptioningModel, LabellingModel, _load_pyfunc
from pipeline.text.vocabulary import END, START, tokenize
from pipeline.video.image import read_image
from pipeline.video.open import open_video

EXIF_ORIENTATION, QUARTER_TURN = 0x0112, 6
NUM_BYTES_OF_A_PNG_HEAD = 60


@pytest.fixture(scope="module")
def model(caption_model):
    return load_caption_model(str(caption_model), device="cpu")


def save_image(path: Path, *, seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
    """Save an image with two halves of one colour each; `size` is (width, height)."""
    top, bottom = np.random.default_rng(seed).integers(0, 256, (2, 3), dtype=np.uint8)
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    pixels[: size[1] // 2], pixels[size[1] // 2 :] = top, bottom
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return [save_image(folder / f"{index}.png", seed=index) for index in range(11)]


def described(paths, model, search=None) -> list[tuple[Path, list[Caption]]]:
    return list(caption_images(paths, model, search or plan_search(model), on_failure=pytest.fail))


def printed(captions: list[Caption]) -> list[str]:
    return [caption.text for caption in captions]


def assert_same(captions: list[Caption], expected: list[Caption]) -> None:
    assert printed(captions) == printed(expected)
    np.testing.assert_allclose([c.probability for c in captions], [c.probability for c in expected], rtol=1e-3)


def test_images_in_batches_are_described_in_order_like_each_image_alone(model, images):
    search = plan_search(model, num_captions=3)
    together = described(images, model, search)
    assert [path for path, _ in together] == images
    for path, captions in together:
        ((_, alone),) = described([path], model, search)
        assert_same(captions, alone)
    assert len({captions[0].text for _, captions in together}) > 1  # the captions depend on the image


@pytest.mark.parametrize("batch_size", [1, 2, 5, 32])
def test_captions_do_not_depend_on_the_batches(model, images, batch_size):
    spec = model.frame_encoder.spec.model_copy(update={"batch_size": batch_size})
    others = replace(model, frame_encoder=FrameEncoder(spec, model.frame_encoder.encoder))
    search = plan_search(model, num_captions=3)
    for (_, captions), (_, expected) in zip(
        described(images, others, search), described(images, model, search), strict=True
    ):
        assert_same(captions, expected)


@torch.inference_mode()
def test_the_probability_is_that_of_the_words_given_image_and_prefix(model, images):
    encoder, preprocess = model.frame_encoder.encoder, model.frame_encoder.preprocess
    for prefix in ("", "two men"):
        search = plan_search(model, beam_size=4, num_captions=4, prefix=prefix)
        ((_, captions),) = described(images[:1], model, search)
        assert len({caption.text for caption in captions}) == 4
        (regions,) = encode_images([read_image(images[0])], encoder, preprocess, batch_size=1)
        for caption in captions:
            assert caption.text.startswith(prefix)
            tokens = [START, *model.vocabulary.encode(tokenize(caption.text)), END]
            state, log_prob = model.captioner.begin(regions, 1), 0.0
            for position, (token, following) in enumerate(pairwise(tokens)):
                log_probs, state = model.captioner.step(torch.tensor([[token]]), state)
                if position >= len(prefix.split()):
                    log_prob += log_probs[0, 0, following].item()
            assert caption.probability == pytest.approx(math.exp(log_prob), rel=1e-3)


def test_the_search_follows_the_checkpoint_unless_options_are_given(model):
    assert (plan_search(model).beam_size, plan_search(model).max_words) == (3, 6)
    assert plan_search(model, num_captions=5).beam_size == 5
    assert plan_search(model, beam_size=1).beam_size == 1


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        ({"prefix": "Two Zebras, a dog, zebras or yaks"}, ["the model does not know 'zebras', 'or', 'yaks'"]),
        ({"prefix": "?!"}, ["prefix: got '?!', expected words"]),
        ({"prefix": "<end>"}, ["the model does not know 'end'"]),
        ({"beam_size": 2, "num_captions": 3, "prefix": "yak"}, ["captions: got 3, expected 1 to 2", "know 'yak'"]),
        ({"num_captions": 0}, ["captions: got 0"]),
    ],
)
def test_an_impossible_search_is_refused_with_every_problem(model, options, problems):
    with pytest.raises(InputError) as refused:
        plan_search(model, **options)
    sentences = str(refused.value).splitlines()
    assert len(sentences) == len(problems)
    for sentence, problem in zip(sentences, problems, strict=True):
        assert problem in sentence


def test_a_prefix_with_capitals_and_an_ending_is_continued(model, images):
    for _, captions in described(images, model, plan_search(model, prefix="Two DOG's")):
        assert captions[0].text.startswith("two dog's")


def test_every_kind_of_image_is_described_and_a_rotated_image_is_turned_upright(model, tmp_path):
    upright = save_image(tmp_path / "upright.png", seed=3)
    image = Image.open(upright)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = QUARTER_TURN
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    image.save(tmp_path / "photo.jpg")
    image.convert("CMYK").save(tmp_path / "inks.jpg")
    image.convert("RGBA").save(tmp_path / "alpha.webp", lossless=True)
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "pixel.bmp")
    image.save(tmp_path / "moving.gif", save_all=True, append_images=[Image.new("RGB", image.size)])
    found, videos = find_pictures([tmp_path])
    assert (len(found), videos) == (8, [])
    captions = {path.name: captions for path, captions in described(found, model)}
    assert len(captions) == 8
    for name in ("turned.png", "alpha.webp"):
        assert_same(captions[name], captions["upright.png"])


def test_bad_images_are_refused_by_name_and_the_others_are_described(model, images, tmp_path):
    empty = tmp_path / "empty.jpg"
    empty.touch()
    cut = tmp_path / "cut.png"
    cut.write_bytes(images[0].read_bytes()[:NUM_BYTES_OF_A_PNG_HEAD])
    text = tmp_path / "text.txt"
    text.write_text("no image")
    bad = [tmp_path / "gone.jpg", empty, cut, text, tmp_path]
    refused: list[str] = []
    mixed = [images[0], *bad[:3], *images[1:6], *bad[3:]]
    found = list(caption_images(mixed, model, plan_search(model), on_failure=refused.append))
    assert [path for path, _ in found] == images[:6]
    for (_, captions), (_, expected) in zip(found, described(images[:6], model), strict=True):
        assert_same(captions, expected)
    assert [sentence.split(": ")[0] for sentence in refused] == [str(path) for path in bad]
    assert not any("\n" in sentence for sentence in refused)


def test_no_images_give_no_captions(model):
    assert described([], model) == []


def test_an_image_smaller_than_the_region_of_interest_is_refused_by_name(tmp_path):
    preprocess = CAPTION_PREPROCESS.model_copy(update={"crop": (0, 0, 60, 40)})
    model = load_caption_model(str(save_caption_model(tmp_path / "model", preprocess=preprocess)), device="cpu")
    small, large = (save_image(tmp_path / f"{side}.png", size=(side, side)) for side in (50, 70))
    refused: list[str] = []
    found = list(caption_images([small, large], model, plan_search(model), on_failure=refused.append))
    assert [path for path, _ in found] == [large]
    assert [sentence.split(": ")[0] for sentence in refused] == [str(small)]
    video = write_video(tmp_path / "clip.mp4", num_frames=2, size=(48, 48))
    with pytest.raises(InputError, match=f"{video}: crop .* does not lie within a frame 48 wide and 48 high"):
        caption_video(video, model, plan_search(model))


def test_images_are_read_at_most_one_batch_per_thread_plus_one_ahead(model, images):
    num_read = 0

    def paths() -> Iterator[Path]:
        nonlocal num_read
        for index in range(100):
            num_read += 1
            yield images[index % len(images)]

    max_read = (min(torch.get_num_threads(), MAX_PARALLEL_BATCHES) + 1) * model.frame_encoder.spec.batch_size
    captions = caption_images(paths(), model, plan_search(model, beam_size=1), on_failure=pytest.fail)
    next(captions)
    assert num_read <= max_read
    captions.close()


# Videos

TIMES = np.array([0.5, 0.54, 0.58, 1.3, 1.34, 2.0, 2.04, 2.9])  # 25 frames per second, with gaps


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", num_frames=len(TIMES), times=TIMES)


@pytest.fixture(scope="module")
def captions_of_frames(video, model, tmp_path_factory):
    """(time, caption) of each frame, which is saved as an image and captioned as an image."""
    folder = tmp_path_factory.mktemp("frames")
    with open_video(video) as reader:
        (frames,) = reader.read(batch_size=len(TIMES))
    for index, pixels in enumerate(frames.pixels):
        Image.fromarray(pixels).save(folder / f"{index}.png")
    captions = described([folder / f"{index}.png" for index in range(len(TIMES))], model)
    return list(zip(frames.pts_seconds, (best for _, (best, *_) in captions), strict=True))


def test_a_whole_video_whose_packets_have_no_times_is_described(model, tmp_path):
    path = write_other_container(tmp_path / "bare.h264", "libx264", num_frames=50)
    captions = caption_video(path, model, plan_search(model), every_seconds=1.0)
    assert [(caption.start_seconds, caption.stop_seconds) for caption in captions] == [(0, 1), (1, 2)]


@pytest.mark.parametrize("every_seconds", [0.1, 0.7, 1.0, 5.0, 1e6])
def test_spans_of_a_video_are_contiguous_and_described_by_their_middle_frame(
    every_seconds, video, model, captions_of_frames
):
    captions = caption_video(video, model, plan_search(model), every_seconds=every_seconds)
    with open_video(video) as reader:
        last_frame_seconds = float(1 / reader.properties.frame_rate)
    assert captions[0].start_seconds == captions_of_frames[0][0]
    assert captions[-1].stop_seconds == captions_of_frames[-1][0] + last_frame_seconds
    for caption, following in pairwise(captions):
        assert caption.stop_seconds == following.start_seconds
        num_spans = (caption.stop_seconds - caption.start_seconds) / every_seconds
        assert num_spans == pytest.approx(round(num_spans))
        assert every_seconds == 0.1 or round(num_spans) == 1, "only short spans have the same nearest frame"
    assert len(captions) <= len(captions_of_frames)
    if len(captions) > 1 and every_seconds > 0.1:
        assert 0.5 <= (captions[-1].stop_seconds - captions[-1].start_seconds) / every_seconds <= 1.5
    for caption in captions:
        middle = (caption.start_seconds + caption.stop_seconds) / 2
        _, nearest = min(captions_of_frames, key=lambda frame: abs(frame[0] - middle))
        assert_same([Caption(caption.text, caption.probability)], [nearest])
        assert caption.label is None


def test_a_frame_has_at_most_one_caption(model, tmp_path):
    video = write_video(tmp_path / "slow.mp4", num_frames=4, times=np.array([0.0, 1.0, 2.0, 3.0]))
    captions = caption_video(video, model, plan_search(model), every_seconds=0.1)
    assert len(captions) == 4
    assert captions[0].start_seconds == 0
    assert all(one.stop_seconds == after.start_seconds for one, after in pairwise(captions))
    end = captions[-1].stop_seconds
    spans = [Span(0.0, 0.8, "idle"), Span(0.8, 1.2, "left"), Span(1.2, 1.3, "idle"), Span(1.3, end, "right")]
    captions = caption_video(video, model, plan_search(model), spans=LabelledSpans(spans, may_overlap=False))
    assert [Span(*caption[:3]) for caption in captions] == [spans[0], Span(0.8, 1.3, "left"), spans[3]]


def test_given_spans_keep_their_times_and_labels(video, model, captions_of_frames):
    spans = [Span(0.5, 1.3, "idle"), Span(1.3, 2.0, "left"), Span(2.0, 3.1, "idle")]
    progress: list[str] = []
    captions = caption_video(
        video, model, plan_search(model), spans=LabelledSpans(spans, may_overlap=False), on_progress=progress.append
    )
    assert [Span(*caption[:3]) for caption in captions] == spans
    for caption, frame_index in zip(captions, (2, 4, 7), strict=True):
        assert_same([Caption(*caption[3:])], [captions_of_frames[frame_index][1]])
    assert progress == [f"clip.mp4: frame {number} of 8" for number in (3, 5, 8)]


def test_a_video_of_one_frame_has_one_span(model, tmp_path):
    (caption,) = caption_video(write_video(tmp_path / "clip.mp4", num_frames=1), model, plan_search(model))
    assert (caption.start_seconds, caption.stop_seconds) == (0, pytest.approx(0.04))


@pytest.mark.parametrize("stop_seconds", [1.0, 7.0])
def test_segments_of_another_video_are_refused(stop_seconds, video, model):
    with pytest.raises(InputError, match=rf"clip\.mp4: ends at 2\.94 s, its segments at {stop_seconds:.2f} s"):
        caption_video(
            video, model, plan_search(model), spans=LabelledSpans([Span(0.5, stop_seconds, "idle")], may_overlap=False)
        )


def files_of(images: list[Path], videos: list[Path], model, out: Path, refused: list[str], labels: Path | None = None):
    search = plan_search(model, beam_size=1)
    return list(
        caption_files(images, videos, model, search, labels=labels, every_seconds=5, out=out, on_failure=refused.append)
    )


def test_videos_that_cannot_be_described_are_named_and_the_others_are_described(model, images, video, tmp_path):
    cut, twin = tmp_path / "cut.mp4", tmp_path / "other" / "clip.mp4"
    cut.write_bytes(video.read_bytes()[:-100])
    twin.parent.mkdir()
    twin.write_bytes(video.read_bytes())
    refused: list[str] = []
    rows = files_of(images[:1], [cut, video, twin], model, tmp_path, refused)
    assert [[row.path for row in of_file] for of_file in rows] == [[str(images[0])], [str(video)]]
    assert rows[0][0][1:4] == (None, None, None)
    assert refused[0].startswith(f"{cut}: is cut short")
    assert refused[1].startswith(f"{twin}: its captions would replace those of {video}")
    written = sorted(path.name for path in tmp_path.glob("*.*.*"))
    assert written == ["clip.captions.srt", "clip.captions.vtt", "clip.summary.txt"]


def test_a_video_without_labels_in_the_folder_is_refused(model, video, tmp_path):
    refused: list[str] = []
    assert files_of([], [video], model, tmp_path, refused, labels=tmp_path) == []
    segments = tmp_path / "clip.segments.csv"
    assert refused[0].startswith(f"{video}: there is no {segments}: write it with `framescribe label`")
    segments.write_text("start,stop\n")
    assert files_of([], [video], model, tmp_path, refused, labels=tmp_path) == []
    assert refused[1].startswith(f"{segments}:1: got the header")


def test_errors_of_the_operating_system_are_reported(model, video, tmp_path, monkeypatch):
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "clip.captions.vtt")

    monkeypatch.setattr("pipeline.captioning.describe.write_video_captions", fail)
    refused: list[str] = []
    assert files_of([], [video], model, tmp_path, refused) == []
    expected = "could not be described: cannot read or write clip.captions.vtt (the disk is full)"
    assert refused == [f"{video}: {expected}"]


def test_images_and_videos_are_distinguished_and_found_once(images, video, tmp_path):
    for name in ("a.JPG", "b.gif", "c.overlay.mp4", "d.Mp4", "e.txt", ".f.png"):
        (tmp_path / name).touch()
    found, videos = find_pictures([tmp_path, tmp_path / "a.JPG", images[0], video, tmp_path / "e.txt"])
    assert found == [tmp_path / "a.JPG", tmp_path / "b.gif", images[0], tmp_path / "e.txt"]
    assert videos == [tmp_path / "d.Mp4", video]
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="none: holds no image and no video"):
        find_pictures([tmp_path / "none"])


# Models


def test_the_encoder_is_exported_once_and_kept_beside_the_checkpoint(caption_model, images, tmp_path, monkeypatch):
    folder = shutil.copytree(caption_model, tmp_path / "captioner")
    before = sorted(folder.iterdir())
    model = load_caption_model(str(folder), device="cpu")
    assert isinstance(model.runtime, OpenVINORuntime)
    assert isinstance(model.regions, RuntimeRegions)
    expected = described(images, model)
    assert sorted(path.suffix for path in (tmp_path / ".openvino").iterdir()) == [".bin", ".xml"]
    assert sorted(folder.iterdir()) == before

    def fail(*arguments: object) -> None:
        raise AssertionError("exported again")

    monkeypatch.setattr(openvino_runtime, "_export", fail)
    again = load_caption_model(str(folder), device="cpu")
    assert isinstance(again.runtime, OpenVINORuntime)
    assert described(images, again) == expected


@pytest.mark.parametrize("why", ["OpenVINO is missing", "the export gives other features"])
def test_without_an_export_torch_encodes_and_the_captions_are_the_same(
    why, caption_model, model, images, tmp_path, monkeypatch, capsys
):
    def fail(*arguments: object) -> None:
        raise ExportError(why)

    if why == "OpenVINO is missing":
        monkeypatch.setitem(sys.modules, "openvino", None)
    else:
        monkeypatch.setattr(openvino_runtime, "_export", fail)
    by_torch = load_caption_model(str(shutil.copytree(caption_model, tmp_path / "captioner")), device="cpu")
    (printed,) = capsys.readouterr().err.splitlines()
    assert printed.startswith("encoding with torch, which is slower: ")
    assert by_torch.runtime is None
    search = plan_search(model, num_captions=3)
    for (_, captions), (_, expected) in zip(
        described(images, by_torch, search), described(images, model, search), strict=True
    ):
        assert_same(captions, expected)


def test_on_a_gpu_torch_encodes_on_the_device_of_the_captioner(caption_model, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.captioning.describe.choose_device", lambda name: torch.device("meta"))  # no CPU
    model = load_caption_model(str(caption_model), device="cuda")
    assert model.runtime is None
    assert model.regions.device == model.captioner.word_bias.device == torch.device("meta")
    assert not capsys.readouterr().err


def test_a_model_of_another_kind_is_refused(video_model):
    with pytest.raises(InputError, match="holds a labeller, expected a captioner"):
        load_caption_model(str(video_model), device="cpu")


def test_pyfunc_returns_the_columns_of_its_signature(caption_model, model, images, tmp_path):
    from pipeline.tracking.models import CAPTIONS_SIGNATURE

    pyfunc = CaptioningModel(caption_model)
    table = pyfunc.predict(pd.DataFrame({"path": list(map(str, images))}))
    expected = described(images, model)
    assert list(table["path"]) == list(map(str, images))
    assert list(table["caption"]) == [best.text for _, (best, *_) in expected]
    np.testing.assert_allclose(table["probability"], [best.probability for _, (best, *_) in expected], rtol=1e-3)
    sent = pd.DataFrame({"path": [path.name for path in images], "content": [path.read_bytes() for path in images]})
    assert list(pyfunc.predict(sent)["caption"]) == list(table["caption"])
    kinds = {"string": "OU", "double": "f"}
    for some in (table, pyfunc.predict(pd.DataFrame({"path": []}))):
        assert list(some.columns) == CAPTIONS_SIGNATURE.outputs.input_names()
        for column in CAPTIONS_SIGNATURE.outputs.inputs:
            assert some[column.name].dtype.kind in kinds[column.type.name]
    gone = tmp_path / "gone.jpg"
    with pytest.raises(InputError, match=str(gone)):
        pyfunc.predict(pd.DataFrame({"path": [*map(str, images), str(gone)]}))


def test_pyfunc_accepts_the_kind_of_model_in_the_checkpoint(caption_model, video_model, tmp_path):
    assert isinstance(_load_pyfunc(str(caption_model)), CaptioningModel)
    assert isinstance(_load_pyfunc(str(video_model)), LabellingModel)
    with pytest.raises(InputError, match="is not a checkpoint"):
        _load_pyfunc(str(tmp_path))
