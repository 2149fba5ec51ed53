"""A saved captioner can be loaded, and any other folder is refused with a sentence that names the cause."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from made_models import CAPTION_WORDS, CAPTIONER, LINEAGE
from safetensors.torch import load_file, save_file

from pipeline.checkpoints.captioner import load_captioner, save_captioner
from pipeline.checkpoints.labeller import load_checkpoint
from pipeline.checkpoints.storage import read_kind
from pipeline.errors import InputError
from pipeline.text.vocabulary import SPECIAL_WORDS, START

CPU = torch.device("cpu")


@pytest.fixture
def copy(caption_model, tmp_path) -> Path:
    return Path(shutil.copytree(caption_model, tmp_path / "model"))


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as refused:
        load_captioner(folder, device=CPU)
    return str(refused.value)


def change_spec(folder: Path, **changes: object) -> None:
    spec = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps(spec | changes))


def change_weights(folder: Path, change) -> None:
    tensors = load_file(folder / "weights.safetensors")
    change(tensors)
    save_file(tensors, folder / "weights.safetensors")


def captions_of(model, images: torch.Tensor):
    with torch.inference_mode():
        regions = model.frame_encoder.encoder.regions(images)
        return model.captioner.generate(
            regions, prefix=torch.tensor([START]), beam_size=3, max_words=6, length_penalty=0.7
        )


def test_a_loaded_captioner_gives_the_same_captions(caption_model, tmp_path):
    first = load_captioner(caption_model, device=CPU)
    assert not first.captioner.training
    assert not first.frame_encoder.encoder.training
    assert first.vocabulary.words == first.spec.words == (*SPECIAL_WORDS, *CAPTION_WORDS)
    assert first.spec.captioner == CAPTIONER
    assert first.spec.lineage == LINEAGE
    save_captioner(tmp_path / "again", first.spec, first.captioner, first.frame_encoder)
    second = load_captioner(tmp_path / "again", device=CPU)
    assert second.spec == first.spec
    images = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for one, other in zip(captions_of(first, images), captions_of(second, images), strict=True):
        assert torch.equal(one, other)
    with torch.no_grad():
        for parameter in second.captioner.parameters():
            torch.nn.init.normal_(parameter)
    assert not torch.equal(captions_of(first, images).words, captions_of(second, images).words)


def test_captioners_and_labellers_are_not_mistaken_for_each_other(caption_model, video_model, feature_model):
    assert [read_kind(folder) for folder in (caption_model, video_model, feature_model)] == [
        "captioner",
        "labeller",
        "labeller",
    ]
    for folder in (video_model, feature_model):
        assert refusal(folder) == f"{folder}: holds a labeller, expected a captioner: was another model meant?"
    with pytest.raises(InputError) as refused:
        load_checkpoint(caption_model, device=CPU)
    assert str(refused.value) == f"{caption_model}: holds a captioner, expected a labeller: was another model meant?"


def test_an_old_labeller_without_a_kind_is_recognized_as_a_labeller(video_model, tmp_path):
    old = Path(shutil.copytree(video_model, tmp_path / "old"))
    spec = json.loads((old / "checkpoint.json").read_text())
    del spec["kind"]
    (old / "checkpoint.json").write_text(json.dumps(spec))
    assert read_kind(old) == "labeller"
    assert load_checkpoint(old, device=CPU).spec.kind == "labeller"
    assert "holds a labeller, expected a captioner" in refusal(old)


def test_a_folder_that_is_not_a_checkpoint_is_refused(tmp_path, copy):
    assert refusal(tmp_path / "gone") == f"{tmp_path / 'gone'}: no such folder"
    assert refusal(tmp_path).startswith(f"{tmp_path}: is not a checkpoint, it has no checkpoint.json")
    (copy / "weights.safetensors").unlink()
    assert refusal(copy) == f"{copy / 'weights.safetensors'}: is missing: the checkpoint is not whole"


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["a", "dog"], "a vocabulary begins with"),
        ([], "a vocabulary begins with"),
        ([*SPECIAL_WORDS, "a", "dog", "a"], "a vocabulary has 'a' 2 times"),
        ([*SPECIAL_WORDS, 3], "words.4"),
        ("a dog", "words"),
    ],
)
def test_a_broken_vocabulary_is_refused(copy, words, cause):
    change_spec(copy, words=words)
    printed = refusal(copy)
    assert printed.startswith(f"{copy / 'checkpoint.json'}: ")
    assert cause in printed


def test_a_vocabulary_whose_size_does_not_fit_the_weights_is_refused(copy):
    change_spec(copy, words=[*SPECIAL_WORDS, *CAPTION_WORDS, "yak"])
    printed = refusal(copy)
    assert printed.startswith(f"{copy / 'weights.safetensors'}: does not fit the model that is described beside it")
    assert "expected [15" in printed


@pytest.mark.parametrize(
    "changes", [{"format": 2}, {"classes": ["a"]}, {"captioner": {}}, {"encoder": None}, {"kind": "painter"}]
)
def test_an_impossible_description_is_refused(copy, changes):
    change_spec(copy, **changes)
    assert refusal(copy).startswith(str(copy))
    (copy / "checkpoint.json").write_text("{")
    assert "Invalid JSON" in refusal(copy)


@pytest.mark.parametrize("prefix", ["captioner", "encoder"])
def test_weights_that_do_not_fit_are_refused(copy, prefix):
    weights = copy / "weights.safetensors"
    content = weights.read_bytes()
    name = next(n for n, t in load_file(weights).items() if n.startswith(f"{prefix}.") and t.is_floating_point())
    change_weights(copy, lambda tensors: tensors.pop(name))
    assert refusal(copy).endswith(f"{name} is missing")
    weights.write_bytes(content)
    change_weights(copy, lambda tensors: tensors[name].view(-1)[-1:].fill_(float("nan")))
    assert refusal(copy).endswith(f"{name} holds NaN or infinity")
    weights.write_bytes(content)
    change_weights(copy, lambda tensors: tensors.update({f"{prefix}.more": torch.zeros(5)}))
    assert refusal(copy).endswith(f"{prefix}.more is not part of the model")
    weights.write_bytes(content[: len(content) // 2])
    assert refusal(copy).startswith(f"{weights}: cannot be read")


def test_a_checkpoint_with_the_earlier_name_of_a_setting_still_loads(copy):
    expected = load_captioner(copy, device=CPU).spec
    path = copy / "checkpoint.json"
    text = path.read_text()
    assert '"max_words"' in text
    path.write_text(text.replace('"max_words"', '"most_words"'))
    assert load_captioner(copy, device=CPU).spec == expected
