"""An invalid params.yaml is refused with all its problems in one error."""

import pytest
import yaml
from import_graph import ROOT

from pipeline.config.params import load_params
from pipeline.errors import InputError


@pytest.fixture
def params() -> dict:
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def refuse(tmp_path, params) -> str:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    with pytest.raises(InputError) as caught:
        load_params(path)
    return str(caught.value)


def test_all_problems_are_reported_together(tmp_path, params):
    params["labeller"]["cell"] = "transformer"
    params["training"]["epochs"] = 0
    params["training"]["epoch"] = 3
    message = refuse(tmp_path, params)
    assert len(message.splitlines()) == 3
    assert "labeller.cell" in message
    assert "'transformer'" in message
    assert "training.epochs" in message
    assert "training.epoch:" in message


def test_given_features_cannot_be_trained_end_to_end(tmp_path, params):
    params["encoder"] |= {"name": "given", "weights": None, "grid": 1, "training": "end_to_end"}
    assert "encodes nothing" in refuse(tmp_path, params)


@pytest.mark.parametrize("settings", ["encoder", "captions"])
def test_a_frozen_encoder_has_no_stage_that_is_trained(tmp_path, params, settings):
    encoder = params["encoder"] if settings == "encoder" else params["captions"]["encoder"]
    encoder |= {"training": "frozen", "train_from": "blocks.10"}
    assert "no stage that is trained: got train_from blocks.10" in refuse(tmp_path, params)


def test_consecutive_windows_need_a_length_and_a_state_to_carry(tmp_path, params):
    params["training"] |= {"windows": "consecutive", "window_frames": None}
    assert "window_frames must say" in refuse(tmp_path, params)
    params["training"]["window_frames"] = 64
    params["labeller"]["bidirectional"] = True
    assert "labeller.bidirectional to false" in refuse(tmp_path, params)
    for changes in ({"bidirectional": False}, {"cell": "none", "inputs": "features", "bidirectional": True}):
        path = tmp_path / "fine.yaml"
        path.write_text(yaml.safe_dump(params | {"labeller": params["labeller"] | changes}))
        assert load_params(path).training.windows == "consecutive"


def test_burn_in_needs_windows_that_begin_without_a_history_and_a_memory(tmp_path, params):
    params["training"] |= {"burn_in_frames": 16, "window_frames": 40}
    (tmp_path / "fine.yaml").write_text(yaml.safe_dump(params))
    assert load_params(tmp_path / "fine.yaml").training.burn_in_frames == 16
    for changes in ({"window_frames": None}, {"windows": "consecutive"}):
        message = refuse(tmp_path, params | {"training": params["training"] | changes})
        assert "burn_in_frames 16: expected random windows of some window_frames" in message
    for changes in ({"cell": "none", "inputs": "features"}, {"head": "many_to_one"}):
        message = refuse(tmp_path, params | {"labeller": params["labeller"] | changes})
        assert "training.burn_in_frames 16 gives a recurrent network that labels frames a history" in message
    params["training"]["burn_in_frames"] = 0
    params["encoder"]["classifier"]["burn_in_frames"] = 2
    assert "classifier.burn_in_frames: got 2, expected 0" in refuse(tmp_path, params)


def test_a_teacher_says_what_frames_are(tmp_path, params):
    params["distillation"]["teacher"] = "models/both"
    params["labeller"]["head"] = "many_to_one"
    assert "expected labeller.head many_to_many" in refuse(tmp_path, params)
    del params["distillation"]
    (tmp_path / "fine.yaml").write_text(yaml.safe_dump(params))
    assert load_params(tmp_path / "fine.yaml").distillation.teacher is None, "a file from before there was a teacher"


def test_a_causal_network_reads_no_later_frame(tmp_path, params):
    for changes in ({"normalize": "video"}, {"pool_frames": 2}, {"pool_frames": "auto"}):
        causal = params | {"labeller": params["labeller"] | {"bidirectional": False} | changes}
        assert "a causal network knows no later frame" in refuse(tmp_path, causal)
        path = tmp_path / "fine.yaml"
        path.write_text(yaml.safe_dump(params | {"labeller": params["labeller"] | changes}))
        assert load_params(path).labeller.bidirectional


def test_a_look_ahead_needs_a_network_that_reads_forward_only_and_remembers(tmp_path, params):
    causal = params["labeller"] | {"bidirectional": False, "look_ahead": 5}
    (tmp_path / "fine.yaml").write_text(yaml.safe_dump(params | {"labeller": causal}))
    assert load_params(tmp_path / "fine.yaml").labeller.look_ahead == 5
    wrong = {"bidirectional": True, "cell": "none", "inputs": "features", "head": "many_to_one"}
    message = refuse(tmp_path, params | {"labeller": causal | wrong})
    assert "look_ahead 5: got bidirectional true" in message
    assert "cell none" in message
    assert "head many_to_one" in message
    assert "look_ahead" in refuse(tmp_path, params | {"labeller": causal | {"look_ahead": -1}})


def test_filters_need_a_map_and_spans_ascend(tmp_path, params):
    filters = params["labeller"] | {"map_filters": 8, "inputs": "both", "delta_frames": [1, 4]}
    map_of_4 = params["encoder"] | {"grid": 2}
    (tmp_path / "fine.yaml").write_text(yaml.safe_dump(params | {"labeller": filters, "encoder": map_of_4}))
    labeller = load_params(tmp_path / "fine.yaml").labeller
    assert (labeller.delta_spans, labeller.num_parts) == ((1, 4), 3)
    no_map = refuse(tmp_path, params | {"labeller": filters, "encoder": params["encoder"] | {"grid": 1}})
    assert "labeller.map_filters 8: expected a map to read, got encoder.grid 1" in no_map
    for spans in ([4, 1], [2, 2], [], [0, 1]):
        wrong = params | {"labeller": filters | {"delta_frames": spans}, "encoder": map_of_4}
        assert "delta_frames" in refuse(tmp_path, wrong)


def test_a_fold_must_be_one_of_the_folds(tmp_path, params):
    params["dataset"] |= {"folds": 5, "fold": 5}
    assert "fold: got 5 of 5 folds, expected 0 to 4" in refuse(tmp_path, params)
    params["dataset"] |= {"folds": None, "fold": 2}
    assert "fold: got 2 and folds null: set folds" in refuse(tmp_path, params)
    params["dataset"] |= {"folds": 1, "fold": 0}
    assert "dataset.folds" in refuse(tmp_path, params)
    path = tmp_path / "fine.yaml"
    path.write_text(yaml.safe_dump(params | {"dataset": params["dataset"] | {"folds": 5, "fold": 4}}))
    assert load_params(path).dataset.fold == 4


def test_pool_frames_auto_is_refused_for_one_class_per_video(tmp_path, params):
    whole = {"head": "many_to_one", "bidirectional": True, "pool_frames": "auto"}
    assert "expected a number" in refuse(tmp_path, params | {"labeller": params["labeller"] | whole})


@pytest.mark.parametrize("decoding", ["viterbi", "viterbi_by_kind"])
def test_segments_are_not_decoded_for_one_class_per_video(tmp_path, params, decoding):
    whole = {"head": "many_to_one", "decoding": decoding}
    assert "a segment is a whole video" in refuse(tmp_path, params | {"labeller": params["labeller"] | whole})


def test_thresholds_by_segments_are_refused_for_labels_of_whole_videos(tmp_path, params):
    params["labeller"]["head"] = "many_to_one"
    params["training"]["threshold_score"] = "segment_f1"
    assert "a segment is a whole video: choose f1" in refuse(tmp_path, params)


def test_the_shortest_must_not_be_longer_than_the_longest(tmp_path, params):
    params["scenes"]["shortest_frames"] = 1000
    assert "shortest_frames 1000" in refuse(tmp_path, params)


@pytest.mark.parametrize("num_own", [5, 6])
def test_a_captioner_must_learn_from_people_first(tmp_path, params, num_own):
    params["captioner"]["training"] |= {"epochs": 5, "self_critical_epochs": num_own, "captions_per_image": 2}
    assert f"got {num_own} of 5 epochs, expected fewer" in refuse(tmp_path, params)
    params["captioner"]["training"]["self_critical_epochs"] = 4
    path = tmp_path / "fine.yaml"
    path.write_text(yaml.safe_dump(params))
    assert load_params(path).captioner.training.self_critical_epochs == 4


def test_self_critical_training_needs_several_captions_per_image(tmp_path, params):
    params["captioner"]["training"] |= {"epochs": 5, "self_critical_epochs": 1, "captions_per_image": 1}
    assert "captions_per_image must be 2 or more" in refuse(tmp_path, params)
    params["captioner"]["training"]["self_critical_epochs"] = 0
    path = tmp_path / "fine.yaml"
    path.write_text(yaml.safe_dump(params))
    assert load_params(path).captioner.training.captions_per_image == 1


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("captions.val_fraction", 1.0),
        ("captions.min_word_count", 0),
        ("captions.encoder.grid", 0),
        ("captions.encoder.training", "frame_classifier"),
        ("captions.encoder.classifier.num_words", 0),
        ("captioner.cell", "tanh"),
        ("captioner.dropout", 1.0),
        ("captioner.decoding.beam_size", 0),
        ("captioner.decoding.max_words", 0),
        ("captioner.decoding.length_penalty", -0.5),
        ("captioner.training.batch_size", 0),
        ("captioner.training.learning_rate", 0.0),
        ("captioner.training.label_smoothing", 1.0),
        ("captioner.training.scheduled_sampling", 1.0),
        ("captioner.training.scheduled_sampling", -0.1),
        ("captioner.training.self_critical_epochs", -1),
        ("captioner.training.self_critical_learning_rate", 0.0),
        ("captioner.training.monitor", "frame_accuracy"),
        ("scenes.num_images", 0),
        ("training.focal_gamma", -0.5),
        ("training.threshold_score", "frame_accuracy"),
        ("search", "two words"),
        ("search", "a'b"),
        ("search", 3),
    ],
)
def test_an_impossible_value_is_named(tmp_path, params, section, value):
    *parents, key = section.split(".")
    target = params
    for parent in parents:
        target = target[parent]
    target[key] = value
    (line,) = refuse(tmp_path, params).splitlines()
    assert f"params.yaml: {section}: " in line
    assert f"(got {value!r})" in line


def test_missing_and_malformed_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"is missing"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1")
    with pytest.raises(InputError, match="not valid YAML"):
        load_params(tmp_path / "params.yaml")
