"""A network in two halves equals the network, and is split in the right place."""

import pytest
import torch
from torch import Tensor, fx, nn

from pipeline.models.encoders.building import build_encoder
from pipeline.models.encoders.graph_split import split


class Residual(nn.Module):
    """Strides 2, 4, 8 and 16. A connection passes the last map of stride 8; the end may read the first map."""

    def __init__(self, *, reaches_the_end: bool) -> None:
        super().__init__()
        self.reaches_the_end = reaches_the_end
        self.convs = nn.ModuleList(nn.Conv2d(3, 3, 3, stride=2, padding=1) for _ in range(4))
        self.same = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.convs[0](images)
        third = self.convs[2](self.convs[1](first))
        fourth = self.convs[3](self.same(third) + third)
        return fourth + first.mean() if self.reaches_the_end else fourth


def test_a_network_is_split_at_the_last_place_with_a_single_map() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 3, 64, 48)
    network = fx.symbolic_trace(Residual(reaches_the_end=False).eval())
    shapes = {}
    for stride in (1, 2, 4, 8, 16, 32):
        halves = split(network, image, stride=stride)
        if halves is None:
            continue
        early, late = halves
        torch.testing.assert_close(late(early(image)), network(image), rtol=0, atol=0)
        shapes[stride] = early(image).shape[2]
    assert shapes == {2: 32, 4: 16, 8: 8, 16: 8, 32: 8}, "there is no map after stride 16"
    early, _ = split(network, image, stride=8) or pytest.fail("it parts")
    assert [node.name for node in early.graph.nodes][-2] == "add", "not beside the connection"
    assert next(early.parameters()) is next(network.parameters())


def test_a_network_is_not_split_within_a_connection_to_its_end() -> None:
    network = fx.symbolic_trace(Residual(reaches_the_end=True).eval())
    early, late = split(network, torch.randn(1, 3, 64, 48), stride=8) or pytest.fail("it parts")
    assert [node.op for node in early.graph.nodes] == ["placeholder", "call_module", "output"]
    assert late(early(torch.ones(2, 3, 64, 48))).shape == (2, 3, 4, 3)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "mobilenet_v3_small", "densenet121", "small_cnn"])
@pytest.mark.parametrize("grid", [1, 2])
def test_an_encoder_frame_by_frame_equals_the_encoder(name: str, grid: int) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(name, weights=None, grid=grid)
    images = torch.randn(3, 3, 64, 96)
    by_frames = encoder.frame_by_frame(64, 96)
    assert by_frames is not None
    with torch.no_grad():
        torch.testing.assert_close(by_frames(images), encoder(images))


def test_a_vision_transformer_cannot_be_split() -> None:
    assert build_encoder("vit_b_16", weights=None).frame_by_frame(224, 224) is None
