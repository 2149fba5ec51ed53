"""The stages of networks, what is fixed before one, and learning rates by stage."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.models.encoders.building import build_encoder
from pipeline.models.encoders.stages import fix_before, rate_groups, stages_of

STAGES = {
    "resnet18": ["conv1", "layer1", "layer2", "layer3", "layer4"],
    "efficientnet_lite0": ["conv_stem", *(f"blocks.{index}" for index in range(16)), "conv_head"],
    "small_cnn": ["features.0", "features.3", "features.7"],
    "shufflenet_v2_x0_5": ["conv1", "stage2", "stage3", "stage4", "conv5"],
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_follow_the_network_and_hold_every_parameter_once(name: str) -> None:
    network = build_encoder(name, weights=None).trunk
    stages = stages_of(network)
    assert list(stages) == STAGES[name]
    found = [id(parameter) for parameters in stages.values() for parameter in parameters]
    assert sorted(found) == sorted(map(id, network.parameters()))


def test_a_norm_belongs_to_the_stage_before_it_and_an_embedding_to_the_first() -> None:
    with torch.device("meta"):
        network = build_encoder("vit_b_16", weights=None).trunk
    stages = stages_of(network)
    last = list(stages)[-1]
    assert last == "encoder.layers.encoder_layer_11"
    assert any(parameter is network.get_parameter("encoder.ln.weight") for parameter in stages[last])
    assert any(parameter is network.get_parameter("class_token") for parameter in stages["conv_proj"])


@given(st.floats(0.1, 1), st.floats(1e-6, 1))
def test_rates_fall_by_the_same_factor_from_stage_to_stage(decay: float, rate: float) -> None:
    network = build_encoder("small_cnn", weights=None).trunk
    groups = rate_groups(network, rate=rate, decay=decay)
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    by_stage = [{rates[id(parameter)] for parameter in parameters} for parameters in stages_of(network).values()]
    assert [max(values) for values in by_stage] == pytest.approx([rate * decay**2, rate * decay, rate])
    assert all(len(values) == 1 for values in by_stage)


def test_without_decay_all_parameters_are_one_group_and_fixed_ones_are_in_none() -> None:
    network = build_encoder("resnet18", weights=None).trunk
    (group,) = rate_groups(network, rate=0.1, decay=1.0)
    assert group["lr"] == 0.1
    assert sorted(map(id, group["params"])) == sorted(map(id, network.parameters()))
    fix_before(network, "layer4")
    (group,) = rate_groups(network, rate=0.1, decay=1.0)
    assert sorted(map(id, group["params"])) == sorted(map(id, network.get_submodule("layer4").parameters()))


def test_fixed_parts_stay_in_evaluation_mode() -> None:
    encoder = build_encoder("resnet18", weights=None, batch_norm="trained")
    encoder.train_from("layer4")
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    encoder.train()
    encoder(torch.randn(2, 3, 64, 64))
    moved = {name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(name.startswith("trunk.layer4.") for name in moved)


def test_an_unknown_stage_is_refused_with_those_of_the_network() -> None:
    with pytest.raises(InputError, match=r"got 'layer5', expected a stage of this network: conv1, layer1, .*layer4"):
        build_encoder("resnet18", weights=None).train_from("layer5")
