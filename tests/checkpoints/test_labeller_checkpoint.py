"""A saved checkpoint can be loaded, and one whose parts do not fit is refused with a sentence that names them."""

import json
import shutil
import stat
from pathlib import Path

import pytest
import torch
from made_models import CLASSES, PREPROCESS
from safetensors.torch import load_file, save_file

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segment_model import SegmentModel
from pipeline.checkpoints.encoder import load_encoder, make_frame_encoder, save_encoder
from pipeline.checkpoints.labeller import Decision, load_checkpoint, set_decisions, set_novelty, set_tuned
from pipeline.checkpoints.storage import load_weights
from pipeline.config.data import Pixels
from pipeline.errors import InputError
from pipeline.models.novelty import fit_novelty

CPU = torch.device("cpu")


@pytest.fixture
def copy(video_model, tmp_path) -> Path:
    return Path(shutil.copytree(video_model, tmp_path / "model"))


def refusal(folder: Path, **options) -> str:
    with pytest.raises(InputError) as refused:
        load_checkpoint(folder, device=CPU, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def change_spec(folder: Path, **changes: object) -> None:
    """Change values of checkpoint.json, named by `section__key`."""
    spec = json.loads((folder / "checkpoint.json").read_text())
    for name, value in changes.items():
        *sections, key = name.split("__")
        target = spec
        for section in sections:
            target = target[section]
        target[key] = value
    (folder / "checkpoint.json").write_text(json.dumps(spec))


def change_weights(folder: Path, change) -> None:
    tensors = load_file(folder / "weights.safetensors")
    change(tensors)
    save_file(tensors, folder / "weights.safetensors")


def test_a_checkpoint_is_loaded_whole_in_eval_mode_and_is_readable_by_others(video_model):
    first = load_checkpoint(video_model, device=CPU, label_space=LabelSpace(CLASSES))
    assert first.spec.classes == CLASSES
    assert not first.labeller.training
    assert not first.frame_encoder.encoder.training
    assert first.frame_encoder.spec.preprocess == PREPROCESS
    saved = load_file(video_model / "weights.safetensors")
    for prefix, module in (("labeller", first.labeller), ("encoder", first.frame_encoder.encoder)):
        for name, tensor in module.state_dict().items():
            torch.testing.assert_close(saved[f"{prefix}.{name}"], tensor, rtol=0, atol=0)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in video_model.iterdir()}
    assert len(modes) == 1  # weights are as readable as the text beside them


def test_a_folder_that_is_not_a_checkpoint_is_refused(tmp_path, copy):
    assert refusal(tmp_path / "gone") == f"{tmp_path / 'gone'}: no such folder"
    assert refusal(tmp_path).startswith(f"{tmp_path}: is not a checkpoint, it has no checkpoint.json")
    file = copy / "checkpoint.json"
    assert refusal(file).startswith(f"{file}: is not a checkpoint")
    (copy / "weights.safetensors").unlink()
    assert refusal(copy) == f"{copy / 'weights.safetensors'}: is missing: the checkpoint is not whole"


@pytest.mark.parametrize(
    ("content", "cause"),
    [(b"", "Invalid JSON"), (b'{"format": 1', "Invalid JSON"), (b"{}", "classes Field required"), (b"\xff", "no text")],
)
def test_a_broken_description_is_refused(copy, content, cause):
    (copy / "checkpoint.json").write_bytes(content)
    printed = refusal(copy)
    assert printed.startswith(f"{copy / 'checkpoint.json'}: is not")
    assert cause.removeprefix("no ") in printed


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"format": 2}, "format"),
        ({"color": "red"}, "color Extra inputs"),
        ({"classes": []}, "classes"),
        ({"classes": ["idle", "idle", "left"]}, "a class is listed twice"),
        ({"background": "nothing"}, "the background class 'nothing' is not a class"),
        ({"encoder__name": "shufflenet"}, "unknown encoder 'shufflenet'; did you mean"),
        ({"encoder__preprocess__std": [0, 1, 1]}, "encoder.preprocess.std.0 "),
        ({"encoder__grid": 5}, "fewer than grid=5 asks for"),
        ({"num_features": 7}, "its encoder gives 96 features per frame, its labeller takes 7"),
    ],
)
def test_an_impossible_description_is_refused(copy, changes, cause):
    change_spec(copy, **changes)
    printed = refusal(copy)
    assert printed.startswith(f"{copy / 'checkpoint.json'}: ")
    assert cause in printed


def test_weights_that_do_not_fit_are_refused(copy):
    weights = copy / "weights.safetensors"
    content = weights.read_bytes()
    name = "labeller.classifier.bias"

    change_weights(copy, lambda tensors: tensors.pop(name))
    assert refusal(copy).endswith(f"{name} is missing")
    weights.write_bytes(content)
    change_weights(copy, lambda tensors: tensors.update({name: torch.zeros(5)}))
    assert refusal(copy).endswith(f"{name} has shape [5], expected [3]")
    weights.write_bytes(content)
    change_weights(copy, lambda tensors: tensors[name].fill_(float("nan")))
    assert refusal(copy).endswith(f"{name} holds NaN or infinity")
    weights.write_bytes(content)
    change_weights(copy, lambda tensors: tensors.update({"labeller.more": torch.zeros(5)}))
    assert refusal(copy).endswith("labeller.more is not part of the model")
    for broken in (content[: len(content) // 2], b"", b"not weights at all, but a few words"):
        weights.write_bytes(broken)
        assert refusal(copy).startswith(f"{weights}: cannot be read")
    weights.write_bytes(content)
    change_spec(copy, classes=["idle", "left"])
    assert "labeller.classifier.bias has shape [3], expected [2]" in refusal(copy)


def test_another_class_list_is_refused_with_the_difference(video_model):
    printed = refusal(video_model, label_space=LabelSpace(("idle", "left", "up")))
    assert printed.startswith(f"{video_model}: was trained on another class list")
    assert "the data lacks right; the data adds up" in printed
    assert "the order differs" in refusal(video_model, label_space=LabelSpace(("left", "idle", "right")))


def test_an_encoder_or_its_absence_is_saved_and_loaded(video_model, tmp_path):
    frames = load_checkpoint(video_model, device=CPU).frame_encoder
    save_encoder(tmp_path / "encoder", frames)
    again = load_encoder(tmp_path / "encoder")
    assert again.spec == frames.spec
    assert again.fingerprint() == frames.fingerprint()
    save_encoder(tmp_path / "none", None)
    assert load_encoder(tmp_path / "none") is None
    with pytest.raises(InputError, match="holds no encoder"):
        load_encoder(tmp_path / "gone")


def test_an_encoder_that_follows_motion_has_two_views_and_another_fingerprint(tmp_path):
    options = {"weights": None, "grid": 2, "batch_norm": "frozen", "batch_size": 4}
    pixels = Pixels(crop=None, crop_unit="fractions", color="rgb", size=(48, 64))
    torch.manual_seed(0)
    plain = make_frame_encoder("small_cnn", pixels=pixels, **options)
    torch.manual_seed(0)
    following = make_frame_encoder("small_cnn", pixels=pixels, follow_motion=True, **options)
    assert following.preprocess.size == (48, 128)
    assert following.fingerprint() != plain.fingerprint()
    assert "follow_motion" not in plain.spec.model_dump_json(), "so that it has the fingerprint of before the choice"
    save_encoder(tmp_path, following)
    assert load_encoder(tmp_path).preprocess == following.preprocess


def test_the_encoder_of_a_whole_checkpoint_can_be_loaded_alone(video_model):
    frames = load_checkpoint(video_model, device=CPU).frame_encoder
    before = frames.fingerprint()
    with torch.no_grad():
        next(frames.encoder.parameters()).zero_()
    assert frames.fingerprint() != before
    load_weights(video_model, {"encoder": frames.encoder})
    assert frames.fingerprint() == before


def test_a_checkpoint_without_recurrent_init_can_be_loaded(copy):
    spec = json.loads((copy / "checkpoint.json").read_text())
    del spec["labeller"]["recurrent_init"]
    (copy / "checkpoint.json").write_text(json.dumps(spec))
    assert load_checkpoint(copy, device=CPU).spec.labeller.recurrent_init == "uniform"


def test_only_a_look_ahead_that_is_one_is_written_so_that_labels_made_before_stay_up_to_date(copy, video_model):
    spec = json.loads((copy / "checkpoint.json").read_text())
    assert "look_ahead" not in spec["labeller"]
    assert load_checkpoint(copy, device=CPU).spec.labeller.look_ahead == 0
    change_spec(copy, labeller__look_ahead=3)
    checkpoint = load_checkpoint(copy, device=CPU)
    assert checkpoint.labeller.look_ahead == 3
    assert json.loads(checkpoint.spec.model_dump_json())["labeller"]["look_ahead"] == 3


# Segments that labels are decoded with

SEGMENTS = {
    "first": [0.5, 0.25, 0.25],
    "following": [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.75, 0.25, 0]],
    "log_frames": [3.0, 2.5, 0.0],
    "spreads": [0.5, 1.0, 0.1],
    "weight": 2.0,
    "kinds": {"shares": [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], "usual": [0.25, 0.5, 0.25], "observation_frames": 9.0},
}


def test_a_checkpoint_keeps_the_segments_that_labels_are_decoded_with(copy):
    change_spec(copy, segments=SEGMENTS, labeller__decoding="viterbi")
    spec = load_checkpoint(copy, device=CPU).spec
    assert json.loads(spec.model_dump_json()) == json.loads((copy / "checkpoint.json").read_text())
    assert spec.segments.following[2] == (0.75, 0.25, 0)


def test_tuning_writes_the_segments_and_the_decoding(copy):
    segments = SegmentModel.model_validate(SEGMENTS)
    set_tuned(copy, temperature=1.5, min_segment_frames=4)
    assert load_checkpoint(copy, device=CPU).spec.segments is None
    curve = (0.5, 1.25, -0.5)
    set_tuned(copy, temperature=1.5, min_segment_frames=None, segments=segments, confidence=curve)
    spec = load_checkpoint(copy, device=CPU).spec
    assert (spec.segments, spec.labeller.decoding, spec.min_segment_frames) == (segments, "viterbi", 4)
    assert spec.confidence == curve
    set_tuned(copy, temperature=1.5, min_segment_frames=None)
    assert load_checkpoint(copy, device=CPU).spec.confidence is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"labeller__decoding": "viterbi"}, "got decoding viterbi and no segments"),
        ({"segments": SEGMENTS}, "got decoding merge and segments"),
        ({"labeller__decoding": "auto"}, "got decoding auto and no segments"),
        ({"segments": SEGMENTS | {"first": [1.0]}, "labeller__decoding": "viterbi"}, r"got values of [1, 3] classes"),
        (
            {
                "segments": SEGMENTS
                | {"kinds": {"shares": [[0.5, 0.5]], "usual": [0.5, 0.5], "observation_frames": 1}},
                "labeller__decoding": "viterbi",
            },
            r"got values of [2, 3] classes",
        ),
        ({"segments": SEGMENTS, "labeller__decoding": "viterbi_by_kind"}, "got decoding viterbi_by_kind and segments"),
        ({"segments": SEGMENTS | {"weight": 0}, "labeller__decoding": "viterbi"}, "weight"),
        ({"segments": SEGMENTS | {"spreads": [0, 1, 1]}, "labeller__decoding": "viterbi"}, "spreads"),
        ({"segments": SEGMENTS | {"log_frames": [1e300] * 3}, "labeller__decoding": "viterbi"}, "log_frames"),
        ({"segments": SEGMENTS, "labeller__decoding": "viterbi", "groups": ["a", "b", "b"]}, "the classes overlap"),
        ({"confidence": [1, 1, 0], "groups": ["a", "b", "b"]}, "confidence: got some, expected none"),
        ({"confidence": [1, -1, 0]}, "confidence"),
        ({"confidence": [1, 1]}, "confidence"),
    ],
    ids=str,
)
def test_segments_that_do_not_fit_are_refused(copy, changes, problem):
    change_spec(copy, **changes)
    assert problem in refusal(copy)


# Classes that overlap


def overlapping(copy: Path, **changes: object) -> None:
    decisions = {
        "idle": {"threshold": 0.5, "min_segment_frames": 1, "temperature": 1.0},
        "left": {"threshold": 0.3, "min_segment_frames": 4, "temperature": 2.0},
        "right": {"threshold": 0.0, "min_segment_frames": 2, "temperature": 2.0},
    }
    change_spec(copy, groups=["a", "b", "b"], decisions=decisions)
    change_spec(copy, **changes)


def test_a_checkpoint_of_exclusive_classes_has_no_field_of_overlapping_ones(video_model):
    spec = load_checkpoint(video_model, device=CPU).spec
    assert spec.label_space.is_exclusive
    fields = json.loads(spec.model_dump_json())
    assert fields == json.loads((video_model / "checkpoint.json").read_text())
    assert not {"groups", "decisions", "segments", "confidence", "novelty"} & fields.keys()
    assert "decoding" not in fields["labeller"], "so that it has the fingerprint of before there was a choice"


def test_a_checkpoint_of_overlapping_classes_is_loaded_with_its_groups_and_decisions(copy):
    overlapping(copy)
    checkpoint = load_checkpoint(copy, device=CPU)
    assert checkpoint.spec.label_space == LabelSpace(CLASSES, "idle", ("a", "b", "b"))
    assert checkpoint.labeller.groups == ((0,), (1, 2))
    assert [decision.threshold for decision in checkpoint.spec.class_decisions] == [0.5, 0.3, 0.0]
    assert json.loads(checkpoint.spec.model_dump_json()) == json.loads((copy / "checkpoint.json").read_text())


def test_without_decisions_all_classes_are_decided_by_default(copy):
    overlapping(copy, decisions=None, labeller__min_segment_frames=5)
    decisions = load_checkpoint(copy, device=CPU).spec.class_decisions
    assert decisions == (Decision(threshold=0.5, min_segment_frames=5, temperature=1.0),) * 3
    set_decisions(copy, dict.fromkeys(CLASSES, Decision(threshold=0.25)))
    assert load_checkpoint(copy, device=CPU).spec.class_decisions == (Decision(threshold=0.25),) * 3


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"groups": ["a", "b"]}, "groups: got 2, expected one for each of 3 classes"),
        ({"groups": None}, "decisions: got some, expected none: the classes exclude each other"),
        ({"decisions": {"idle": {}}}, "decisions: got idle, expected idle, left, right"),
        ({"decisions__left__threshold": 1.5}, "threshold"),
        ({"decisions__left__threshold": float("nan")}, "threshold"),
        ({"decisions__left__min_segment_frames": 0}, "min_segment_frames"),
        ({"decisions__left__temperature": 0}, "temperature"),
        ({"decisions__left__temperature": 3.0}, "got several temperatures for the group of left, right"),
        ({"decisions__left__color": "red"}, "color Extra inputs"),
    ],
)
def test_impossible_groups_and_decisions_are_refused(copy, changes, cause):
    overlapping(copy, **changes)
    printed = refusal(copy)
    assert printed.startswith(f"{copy / 'checkpoint.json'}: ")
    assert cause in printed


def test_the_data_must_have_the_same_groups(copy):
    overlapping(copy)
    assert "each frame has exactly one" in refusal(copy, label_space=LabelSpace(CLASSES))


# How unlike the training frames a frame is


def test_a_checkpoint_keeps_how_unlike_its_training_frames_others_are(copy):
    before = load_checkpoint(copy, device=CPU)
    assert before.novelty is None
    sample = torch.randn(100, before.spec.num_features)
    chosen = torch.arange(before.spec.num_features)
    novelty = fit_novelty(sample, chosen, before.spec.num_features, torch.Generator().manual_seed(0))
    for limit in (1.5, 2.5):  # a training that resumes does it again
        set_novelty(copy, novelty, limit)
    after = load_checkpoint(copy, device=CPU)
    assert after.novelty is not None
    assert after.spec.novelty.limit == 2.5
    torch.testing.assert_close(after.novelty(sample), novelty(sample), rtol=0, atol=0)
    for name, tensor in before.labeller.state_dict().items():
        torch.testing.assert_close(after.labeller.state_dict()[name], tensor, rtol=0, atol=0)
    novelty.chosen[-1] = before.spec.num_features
    set_novelty(copy, novelty, 1.0)
    assert "features that its frames do not have" in refusal(copy)
    change_spec(copy, novelty={"num_read": 4000, "num_directions": 128, "limit": 1.0})
    assert "weights of the novelty" in refusal(copy)
    for broken in ({"limit": 0.0}, {"num_read": 0}, {"num_directions": 10**9}):
        change_spec(copy, novelty={"num_read": 3, "num_directions": 3, "limit": 1.0} | broken)
        assert "novelty" in refusal(copy)
