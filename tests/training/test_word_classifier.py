"""The training of the captioner's encoder on words, on small pictures of coloured squares."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_data import Killed, kill_in, write_caption_dataset, write_params
from made_training import curve, read_history, runs

from pipeline.checkpoints.captioner import load_captioner
from pipeline.checkpoints.encoder import FrameEncoder, load_encoder
from pipeline.config.params import load_params
from pipeline.datasets.caption_manifest import CaptionedImage, CaptionManifest, read_caption_manifest
from pipeline.errors import InputError
from pipeline.stages import encode_images, finetune_image_encoder, prepare_captions, train_captioner
from pipeline.stages.finetune_image_encoder import CLASSIFIER, make_encoder
from pipeline.stages.paths import CAPTIONER, CAPTIONS, IMAGE_ENCODER
from pipeline.text.vocabulary import tokenize
from pipeline.tracking import store
from pipeline.training import loop, word_classifier
from pipeline.training.word_classifier import (
    WordBatch,
    WordClassifier,
    choose_words,
    shares_of,
    train_word_classifier,
)
from pipeline.video.image import read_image

WORDS = ("red", "dog", "runs", "fast", "home")
CAPTIONS_OF_IMAGES = st.lists(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), min_size=1, max_size=3), min_size=1, max_size=8
)


def manifest_of(captions: list[list[list[str]]], *, split: str = "train") -> CaptionManifest:
    images = (
        CaptionedImage(f"i{index}", "x.jpg", f"i{index}", split, "0", tuple(" ".join(words) for words in of_image))
        for index, of_image in enumerate(captions)
    )
    return CaptionManifest("made", tuple(images))


@given(CAPTIONS_OF_IMAGES, st.integers(1, 6))
def test_the_words_are_the_most_frequent_ones_that_tell_images_apart(captions, num_words):
    manifest = manifest_of(captions)
    counts = {word: sum(any(word in c for c in of_image) for of_image in captions) for word in WORDS}
    telling = [word for word in WORDS if 0 < counts[word] <= len(captions) / 2]
    if not telling:
        with pytest.raises(InputError, match="more than half of the training images"):
            choose_words(manifest, num_words)
        return
    chosen = choose_words(manifest, num_words)
    assert len(chosen) == min(num_words, len(telling))
    assert set(chosen) <= set(telling)
    left = set(telling) - set(chosen)
    assert all(counts[word] >= counts[other] for word in chosen for other in left)
    assert [counts[word] for word in chosen] == sorted((counts[word] for word in chosen), reverse=True)


def test_words_of_held_out_images_are_not_learnt():
    train, held_out = manifest_of([[["red"]], [["dog"]]]), manifest_of([[["home"]]], split="val")
    assert choose_words(CaptionManifest("made", train.images + held_out.images), 9) == ("dog", "red")


@given(CAPTIONS_OF_IMAGES)
def test_a_share_says_how_many_captions_of_an_image_have_a_word(captions):
    shares = shares_of(manifest_of(captions), WORDS)
    expected = [[np.mean([word in caption for caption in of_image]) for word in WORDS] for of_image in captions]
    np.testing.assert_allclose(shares.numpy(), expected, atol=1e-6)


@pytest.fixture
def manifest(workspace, monkeypatch) -> CaptionManifest:
    monkeypatch.setattr(store, "log_model", lambda *args, **options: None)
    write_caption_dataset(workspace / "pictures", num_images=24)
    set_params()
    prepare_captions.main()
    return read_caption_manifest(CAPTIONS)


def set_params(**changes: object) -> None:
    settings = {"epochs": 3, "batch_size": 4, "learning_rate": 0.003, "num_words": 20} | changes
    write_params(
        Path(),
        captions__encoder={"training": "word_classifier"},
        captioner__training__epochs=1,
        **{f"captions__encoder__classifier__{name}": value for name, value in settings.items()},
    )


def trained(manifest: CaptionManifest, out: Path) -> FrameEncoder:
    params = load_params()
    frame_encoder = make_encoder(params)
    train_word_classifier(params, manifest, frame_encoder, out)
    return frame_encoder


def classifier_of(manifest: CaptionManifest, frame_encoder: FrameEncoder) -> WordClassifier:
    shares = shares_of(manifest, choose_words(manifest, 20))
    torch.manual_seed(0)
    return WordClassifier(frame_encoder.encoder, shares[manifest.indices_of_split("train")].mean(0), dropout=0.3)


def test_the_loss_is_that_of_torch_and_begins_at_the_frequencies_of_the_words(manifest):
    frame_encoder = make_encoder(load_params())
    classifier = classifier_of(manifest, frame_encoder).eval()
    images = torch.cat([frame_encoder.preprocess(read_image(Path(i.path))[None]) for i in manifest.images[:5]])
    shares = shares_of(manifest, choose_words(manifest, 20))
    torch.testing.assert_close(
        torch.sigmoid(classifier(images)), shares[manifest.indices_of_split("train")].mean(0).expand(5, -1)
    )
    found = word_classifier._losses(classifier, WordBatch(images, shares[:5]), torch.device("cpu"))
    expected = torch.nn.BCEWithLogitsLoss(reduction="sum")(classifier(images), shares[:5])
    torch.testing.assert_close(found.sum(), expected)


def test_the_logit_of_a_word_lies_between_the_mean_and_the_maximum_of_its_logits_in_the_regions(manifest):
    frame_encoder = make_encoder(load_params())
    classifier = classifier_of(manifest, frame_encoder).eval()
    torch.nn.init.normal_(classifier.head.weight)
    image = frame_encoder.preprocess(read_image(Path(manifest.images[0].path))[None])
    of_regions = classifier.head(frame_encoder.encoder.regions(image))[0].double().detach().numpy()
    found = classifier(image)[0].detach().numpy()
    np.testing.assert_allclose(found, np.log(np.mean(np.exp(of_regions), axis=0)), rtol=1e-5)
    assert np.all((of_regions.mean(0) < found) & (found < of_regions.max(0)))


def test_the_encoder_learns_the_words_of_images_that_it_has_not_seen(manifest):
    set_params(epochs=30, learning_rate=0.003)
    trained(manifest, Path("words"))
    history = [float(row["val_loss"]) for row in read_history(Path("words"))]
    assert min(history) < 0.6 * history[0]
    assert history.index(min(history)) > 3


def test_the_run_has_the_curves_and_the_best_weights_are_those_of_the_encoder(manifest):
    frame_encoder = trained(manifest, Path("words"))
    (run,) = runs()
    history = read_history(Path("words"))
    assert run.info.run_name == "word_classifier-squares"
    assert run.info.status == "FINISHED"
    assert run.data.params["captions.encoder.classifier.learning_rate"] == "0.003"
    assert {d.dataset.name for d in run.inputs.dataset_inputs} == {f"squares-{s}" for s in ("train", "val", "test")}
    for name in ("train_loss", "val_loss"):
        assert curve(run.info.run_id, name) == [(int(row["epoch"]), float(row[name])) for row in history]
    best = min(range(3), key=lambda epoch: float(history[epoch]["val_loss"]))
    assert run.data.metrics["best_epoch"] == best
    classifier = classifier_of(manifest, frame_encoder)
    word_classifier.load_weights(Path("words"), {"encoder": frame_encoder.encoder, "head": classifier.head})
    shares = shares_of(manifest, choose_words(manifest, 20))

    read = partial(word_classifier._read, manifest, frame_encoder, shares)
    scores = word_classifier.validate(load_params(), manifest, read, classifier.eval())
    assert scores == {"loss": pytest.approx(float(history[best]["val_loss"]), rel=1e-5)}


def test_mirrored_images_are_mirrored_within_the_region_of_interest(manifest):
    set_params()
    params = load_params()
    pixels = params.captions.pixels.model_copy(update={"crop": (0.5, 0.0, 0.5, 1.0)})
    captions = params.captions.model_copy(update={"pixels": pixels, "mirror": True})
    params = params.model_copy(update={"captions": captions})
    frame_encoder = make_encoder(params)
    read = partial(word_classifier._read, manifest, frame_encoder, torch.zeros(len(manifest.images), 1))
    order = manifest.indices_of_split("train")
    plain = read(order, np.zeros(len(order), dtype=bool)).images
    assert torch.equal(read(order, np.ones(len(order), dtype=bool)).images, plain.flip(3))
    drawn = [mirrored for epoch in range(40) for mirrored in mirrored_in(params, manifest, epoch)]
    assert np.mean(drawn) == pytest.approx(word_classifier.MIRRORED, abs=0.1)


def mirrored_in(params, manifest: CaptionManifest, epoch: int) -> list[bool]:
    """Which images an epoch mirrors; each training image is read once."""
    calls = []

    def read(indices, mirrored) -> WordBatch:
        calls.append((indices, mirrored))
        return WordBatch(torch.zeros(1), torch.zeros(1))

    done = [batch.done for batch in word_classifier.batches(params, manifest, read, epoch)]
    assert done == sorted(done)
    assert sorted(index for indices, _ in calls for index in indices) == manifest.indices_of_split("train")
    return [bool(value) for _, mirrored in calls for value in mirrored]


def test_stages_before_train_from_are_not_trained(manifest):
    write_params(Path(), captions__encoder={"name": "resnet18", "weights": None, "grid": 1})
    before = make_encoder(load_params())
    write_params(
        Path(),
        captions__encoder={
            "name": "resnet18",
            "weights": None,
            "grid": 1,
            "training": "word_classifier",
            "train_from": "layer4",
            "classifier": {"epochs": 1, "batch_size": 8, "learning_rate": 0.001, "weight_decay": 0},
        },
    )
    after = trained(manifest, Path("words"))
    old, new = before.encoder.trunk.state_dict(), after.encoder.trunk.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert all("layer4" in name for name in changed)
    assert not any("running" in name for name in changed), "batch norms are frozen"


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [(word_classifier, "_losses", 8), (store, "log_epoch", 1), (loop.TrainingState, "finish", 0)],
)
def test_a_killed_training_resumes_with_the_same_results(manifest, monkeypatch, module, name, call):
    whole = trained(manifest, Path("whole"))
    with monkeypatch.context() as patch:
        kill_in(patch, module, name, call=call)
        with pytest.raises(Killed):
            trained(manifest, Path("killed"))
    resumed = trained(manifest, Path("killed"))
    assert resumed.fingerprint() == whole.fingerprint()
    assert read_history(Path("killed")) == read_history(Path("whole"))
    assert len(runs()) == 2


def test_without_a_validation_split_the_last_epoch_is_kept(manifest):
    images = tuple(image for image in manifest.images if image.split == "train")
    trained(CaptionManifest("train only", images), Path("words"))
    assert "val_loss" not in read_history(Path("words"))[0]
    assert runs()[0].data.metrics["best_epoch"] == 2


def test_a_loss_that_is_not_finite_is_an_error(manifest):
    set_params(learning_rate=1e30)
    with pytest.raises(InputError, match=r"lower captions\.encoder\.classifier\.learning_rate"):
        trained(manifest, Path("words"))


def test_the_stages_train_the_encoder_once_and_the_captioner_has_it(manifest, capsys):
    def tune() -> FrameEncoder:
        finetune_image_encoder.main()
        frame_encoder = load_encoder(IMAGE_ENCODER)
        assert frame_encoder is not None
        return frame_encoder

    fingerprint = tune().fingerprint()
    assert fingerprint != make_encoder(load_params()).fingerprint()
    assert "already trained" not in capsys.readouterr().out
    assert tune().fingerprint() == fingerprint
    assert "already trained" in capsys.readouterr().out
    encode_images.main()
    train_captioner.main()
    assert load_captioner(CAPTIONER, device=torch.device("cpu")).frame_encoder.fingerprint() == fingerprint
    write_params(Path())
    assert tune().fingerprint() == make_encoder(load_params()).fingerprint(), "frozen again"
    assert not CLASSIFIER.exists()


def test_captions_are_cut_into_words_as_for_the_captioner():
    manifest = manifest_of([[["The", "dog's", "home."]], [["A", "cat"]]])
    assert choose_words(manifest, 9) == ("'s", "a", "cat", "dog", "home", "the")
    assert set(tokenize("The dog's home.")) == {"the", "dog", "'s", "home"}
