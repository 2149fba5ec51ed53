"""The features of encoders for every network of torchvision, and the errors for bad input."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torchvision.models.regnet import BlockParams

from pipeline.errors import InputError
from pipeline.models.encoders import encoder as encoder_module
from pipeline.models.encoders.building import build_encoder, encoder_names
from pipeline.models.encoders.efficientnet_lite import EfficientNetLite
from pipeline.models.encoders.encoder import Encoder

SMALL = ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5"]
LARGE = [
    "vgg11",
    "googlenet",
    "inception_v3",
    "convnext_tiny",
    "vit_b_16",
    "swin_t",
    "efficientnet_b0",
    "regnet_y_400mf",
]
LARGE += ["densenet121", "maxvit_t", "alexnet", "mobilenet_v2"]
TORCHVISION = SMALL + [pytest.param(name, marks=pytest.mark.slow) for name in LARGE]


def images(encoder: Encoder, num: int = 2) -> Tensor:
    return torch.randn(num, 3, *encoder.size, generator=torch.Generator().manual_seed(0))


def assert_close(features: Tensor, expected: Tensor) -> None:
    """Compare relative to the largest feature, since features of random weights can have any scale."""
    scale = expected.abs().max()
    torch.testing.assert_close(features / scale, expected / scale, rtol=0, atol=1e-4)


def save(model: nn.Module, path: Path, **changes: Tensor) -> Path:
    torch.save(model.state_dict() | changes, path)
    return path


def classifier_input(model: nn.Module, x: Tensor) -> Tensor:
    """The input of the last linear or convolutional layer of the network, pooled if it is a map."""
    layer = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(x)
    handle.remove()
    return seen[0].mean((2, 3)) if seen[0].ndim == 4 else seen[0]


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_feature_is_the_input_of_the_classifier(name: str, tmp_path: Path) -> None:
    options = {"transform_input": True, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, **options).eval()
    encoder = build_encoder(name, weights=save(model, tmp_path / "weights.pth"))
    x = images(encoder)
    expected = classifier_input(model, x)
    with torch.no_grad():
        features = encoder(x)
    assert features.shape == (2, encoder.num_features)
    assert_close(features, expected)
    with pytest.raises(AssertionError):
        assert_close(features[0], features[1])


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "densenet121", "mnasnet0_5", "squeezenet1_1"])
def test_the_mean_over_the_cells_of_a_grid_is_the_plain_feature(name: str) -> None:
    torch.manual_seed(0)
    plain = build_encoder(name, weights=None)
    grid = build_encoder(name, weights=None, grid=2)
    grid.trunk.load_state_dict(plain.trunk.state_dict())
    size = {"squeezenet1_1": 240}.get(name, 256)  # of a feature map with an even number of cells on each side
    x = torch.randn(1, 3, size, size)
    with torch.no_grad():
        cells = grid(x).unflatten(1, (-1, 2, 2))
        assert_close(cells.mean((2, 3)), plain(x))
    assert grid.num_features == 4 * plain.num_features


@pytest.mark.parametrize(
    ("name", "stage", "channels", "stride"),
    [
        ("efficientnet_lite0", "blocks.10", 112, 16),
        ("resnet18", "layer3", 256, 16),
        ("mobilenet_v2", "features.6", 32, 8),
    ],
)
def test_the_map_of_the_last_stage_is_what_this_stage_gives(name: str, stage: str, channels: int, stride: int) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(name, weights=None, grid=4, last_stage=stage)
    model = EfficientNetLite() if name == "efficientnet_lite0" else torchvision.models.get_model(name, weights=None)
    model.eval().load_state_dict(encoder.trunk.state_dict(), strict=False)
    seen: list[Tensor] = []
    model.get_submodule(stage).register_forward_hook(lambda module, inputs, output: seen.append(output))
    x = torch.randn(2, 3, 128, 96)
    with torch.no_grad():
        model(x)
        assert seen[0].shape == (2, channels, 128 // stride, 96 // stride)
        assert_close(encoder(x), adaptive_avg_pool2d(seen[0], 4).flatten(1))
    assert sum(map(torch.numel, encoder.parameters())) < sum(map(torch.numel, model.parameters()))
    assert encoder.fingerprint() != build_encoder(name, weights=None, grid=4).fingerprint()


def test_a_wrong_last_stage_lists_those_that_give_maps() -> None:
    with pytest.raises(InputError, match=r"last_stage: got 'layer9', expected a stage of resnet18 .*layer1, .*layer4"):
        build_encoder("resnet18", weights=None, last_stage="layer9")
    with pytest.raises(InputError, match="got 'fc'"):
        build_encoder("resnet18", weights=None, last_stage="fc")
    with pytest.raises(ValueError, match="one of them at most"):
        build_encoder("resnet18", weights=None, last_stage="layer1", stride=8)


def test_a_grid_distinguishes_left_from_right() -> None:
    encoder = build_encoder("efficientnet_lite0", weights="imagenet", grid=2)
    x = torch.full((1, 3, 224, 224), -1.0)
    x[:, :, 80:144, 20:84] = 1.0
    with torch.no_grad():
        left, right = (encoder(image).unflatten(1, (-1, 2, 2)) for image in (x, x.flip(3)))
    assert (left - right).norm() > 0.5 * left.norm()
    assert (left - right.flip(3)).norm() < 0.5 * (left - right).norm()


@pytest.mark.slow
def test_the_networks_of_torchvision_can_be_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of each family, whose others have other sizes, on the meta device: shapes without weights.

    The network's own classifier takes the feature.
    """
    on_cpu: Callable[..., Any] = BlockParams.from_init_params.__func__  # type: ignore[attr-defined]

    def from_init_params(cls: type, *args: Any, **kwargs: Any) -> Any:
        with torch.device("cpu"):  # regnets compute their widths with tensors
            return on_cpu(cls, *args, **kwargs)

    monkeypatch.setattr(BlockParams, "from_init_params", classmethod(from_init_params))
    names = torchvision.models.list_models(module=torchvision.models)
    families = {torchvision.models.get_model_builder(name).__module__: name for name in reversed(names)}
    assert len(families) >= 15
    for name in families.values():
        with torch.device("meta"):
            encoder = build_encoder(name, weights=None)
            assert encoder(torch.empty(3, 3, *encoder.size)).shape == (3, encoder.num_features), name
            if name.startswith("vit"):
                with pytest.raises(InputError, match=f"{name} has no feature map"):
                    build_encoder(name, weights=None, grid=2)
            else:
                grid = build_encoder(name, weights=None, grid=2, batch_norm="group_norm")
                assert grid(torch.empty(3, 3, *grid.size)).shape == (3, grid.num_features), name
                assert grid.num_features % 4 == 0


def test_lite0_normalizes_as_it_was_trained() -> None:
    encoder = build_encoder("efficientnet_lite0", weights=None)
    mean, std = torch.tensor(encoder.mean), torch.tensor(encoder.std)
    pixels = torch.tensor([0.0, 127.0, 255.0])
    torch.testing.assert_close((pixels / 255 - mean) / std, (pixels - 127) / 128)


def test_frozen_batch_norm_does_not_change_in_training() -> None:
    encoder = build_encoder("resnet18", weights=None).train()
    before = encoder.fingerprint()
    encoder(images(encoder)[:, :, :64, :64]).sum().backward()
    assert encoder.fingerprint() == before, "running statistics have moved"
    assert encoder.training
    assert encoder.trunk.get_parameter("bn1.weight").grad is not None
    trained = build_encoder("resnet18", weights=None, batch_norm="trained").train()
    before = trained.fingerprint()
    trained(images(trained)[:, :, :64, :64])
    assert trained.fingerprint() != before


def test_group_norm_replaces_all_batch_norm_and_keeps_scale_and_shift(tmp_path: Path) -> None:
    model = torchvision.models.resnet18(weights=None)
    with torch.no_grad():
        model.bn1.weight.uniform_(0.5, 2)
        model.layer4[1].bn2.bias.uniform_(-1, 1)
    encoder = build_encoder("resnet18", weights=save(model, tmp_path / "weights.pth"), batch_norm="group_norm")
    assert not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    assert torch.equal(encoder.trunk.get_parameter("bn1.weight"), model.bn1.weight)
    assert torch.equal(encoder.trunk.get_parameter("layer4.1.bn2.bias"), model.layer4[1].bn2.bias)
    x = images(encoder, 3)[:, :, :64, :64]
    encoder.train()
    with torch.no_grad():
        torch.testing.assert_close(encoder(x)[:1], encoder(x[:1]), msg="a frame's feature depends on the batch")


def test_the_fingerprint_depends_only_on_weights_and_grid() -> None:
    torch.manual_seed(0)
    encoder = build_encoder("resnet18", weights=None)
    torch.manual_seed(0)
    same = build_encoder("resnet18", weights=None, batch_norm="trained")
    assert encoder.fingerprint() == same.fingerprint()
    torch.manual_seed(0)
    assert build_encoder("resnet18", weights=None, grid=2).fingerprint() != encoder.fingerprint()
    with torch.no_grad():
        same.trunk.get_parameter("layer1.0.conv1.weight")[0, 0, 0, 0] += 1e-3
    assert same.fingerprint() != encoder.fingerprint()


def test_weights_of_another_classifier_and_of_a_saved_encoder_load(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None, num_classes=7)
    encoder = build_encoder("resnet18", weights=save(model, tmp_path / "seven_classes.pth"))
    again = build_encoder("resnet18", weights=save(encoder, tmp_path / "encoder.pth"))
    assert encoder.fingerprint() == again.fingerprint()
    assert torch.equal(encoder.trunk.get_parameter("conv1.weight"), model.conv1.weight)


def test_weights_of_densenet_load_under_their_old_names(tmp_path: Path) -> None:
    model = torchvision.models.densenet121(weights=None)
    old = {re.sub(r"(layer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): t for name, t in model.state_dict().items()}
    assert old.keys() != model.state_dict().keys()
    torch.save(old, tmp_path / "densenet121.pth")
    encoder = build_encoder("densenet121", weights=tmp_path / "densenet121.pth")
    name = "features.denseblock1.denselayer1.conv1.weight"
    assert torch.equal(encoder.trunk.get_parameter(name), model.state_dict()[name])


def refuse_download(*args: Any, **kwargs: Any) -> None:
    raise OSError("Name or service not known")


def test_a_failed_download_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse_download)
    with pytest.raises(InputError, match=r"resnet18 could not be downloaded \(Name or service.*efficientnet_lite0"):
        build_encoder("resnet18", weights="imagenet")


def test_the_weights_of_torchvision_are_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torchvision.models.resnet18(weights=None)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: model.state_dict())
    encoder = build_encoder("resnet18", weights="imagenet")
    assert torch.equal(encoder.trunk.get_parameter("conv1.weight"), model.conv1.weight)


def test_an_unknown_name_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"unknown encoder 'resnet-50'; did you mean resnet50"):
        build_encoder("resnet-50", weights=None)
    assert encoder_names()[0] == "efficientnet_lite0"


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    model = torchvision.models.resnet18(weights=None)
    path = save(model, tmp_path / "weights.pth", extra=torch.zeros(1))
    with pytest.raises(InputError, match=r"weights.pth: .* encoder resnet18: extra is not a name of this network"):
        build_encoder("resnet18", weights=path)
    path = save(model, tmp_path / "shape.pth", **{"conv1.weight": torch.zeros(64, 1, 7, 7)})
    with pytest.raises(InputError, match=r"conv1.weight has shape \[64, 1, 7, 7\], expected \[64, 3, 7, 7\]"):
        build_encoder("resnet18", weights=path)
    path = save(model, tmp_path / "nan.pth", **{"bn1.bias": torch.full((64,), torch.nan)})
    with pytest.raises(InputError, match=r"bn1\.bias holds NaN"):
        build_encoder("resnet18", weights=path)
    with pytest.raises(InputError, match=r"is missing.*and \d+ more"):
        build_encoder("mobilenet_v3_small", weights=path)


def test_files_that_are_not_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.pth: no such weights file"):
        build_encoder("resnet18", weights=tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(InputError, match=r"text.pth: not a file of weights"):
        build_encoder("resnet18", weights=tmp_path / "text.pth")
    (tmp_path / "empty.pth").touch()
    with pytest.raises(InputError, match=r"empty.pth: not a file of weights"):
        build_encoder("resnet18", weights=tmp_path / "empty.pth")
    torch.save(torchvision.models.squeezenet1_1(weights=None), tmp_path / "pickle.pth")
    with pytest.raises(InputError, match=r"pickle.pth: not a file of weights that can be loaded safely"):
        build_encoder("resnet18", weights=tmp_path / "pickle.pth")
    torch.save({"epoch": 3, "model": {}}, tmp_path / "checkpoint.pth")
    with pytest.raises(InputError, match=r"checkpoint.pth: not a state_dict"):
        build_encoder("resnet18", weights=tmp_path / "checkpoint.pth")


def test_images_too_small_for_the_network_or_grid_are_refused() -> None:
    encoder = build_encoder("efficientnet_lite0", weights=None, grid=4)
    assert encoder.check_size(112, 144) == encoder.num_features
    with pytest.raises(InputError, match=r"feature map of 2x2 cells for images of 64x64, fewer than grid=4"):
        encoder.check_size(64, 64)
    finer = build_encoder("efficientnet_lite0", weights=None, grid=8)
    with pytest.raises(InputError, match="7x7 cells for images of 224x224, fewer than grid=8"):
        finer.check_size(*finer.size)
    assert finer.check_size(256, 256) == finer.num_features, "a larger image has a larger map"
    with pytest.raises(InputError, match="grid: got 0"):
        build_encoder("efficientnet_lite0", weights=None, grid=0)
    with pytest.raises(InputError, match=r"alexnet does not take images of 16x16 pixels \(it was made for 224x224\)"):
        build_encoder("alexnet", weights=None, grid=2).check_size(16, 16)


def test_a_stride_selects_the_last_map_of_that_size() -> None:
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None).eval()
    encoder = build_encoder("resnet18", weights=None, grid=4, stride=16)
    encoder.trunk.load_state_dict(model.state_dict(), strict=False)
    x = images(encoder)
    expected = model.layer3(model.layer2(model.layer1(model.maxpool(model.relu(model.bn1(model.conv1(x)))))))
    regions = encoder.regions(x)
    assert_close(regions, torch.nn.functional.adaptive_avg_pool2d(expected, 4).flatten(2).transpose(1, 2))
    assert not hasattr(encoder.trunk, "layer4")
    assert encoder.num_channels == 256
    whole = build_encoder("resnet18", weights=None, grid=4)
    assert whole.num_channels == 512
    whole.trunk.load_state_dict(model.state_dict(), strict=False)
    assert whole.fingerprint() != encoder.fingerprint()


def test_a_stride_that_the_network_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="vit_b_16 has no feature map with cells 32 pixels apart"):
        build_encoder("vit_b_16", weights=None, stride=32)


def test_regions_are_the_cells_of_the_map_row_by_row() -> None:
    encoder = build_encoder("efficientnet_lite0", weights=None, grid=3)
    x = images(encoder)
    maps = torch.nn.functional.adaptive_avg_pool2d(encoder.trunk(x), 3)
    regions = encoder.regions(x)
    for row in range(3):
        for column in range(3):
            assert_close(regions[:, 3 * row + column], maps[:, :, row, column])


@pytest.mark.parametrize("num", [1, 2, 3, 7])
@pytest.mark.parametrize("batch_images", [0.5, 2])
def test_a_cpu_encodes_in_parts(monkeypatch: pytest.MonkeyPatch, num: int, batch_images: float) -> None:
    encoder = build_encoder("efficientnet_lite0", weights=None, grid=2, batch_norm="frozen").eval()
    batch = torch.randn(num, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    sizes: list[int] = []
    encoder.trunk.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    whole = encoder(batch)  # with gradients, in one part
    monkeypatch.setattr(encoder_module, "CPU_BATCH_PIXELS", int(batch_images * 64 * 96))
    with torch.no_grad():
        assert_close(encoder(batch), whole)
    parts = sizes[1:]
    assert sum(parts) == num
    assert max(parts) <= max(1, 2 * batch_images), "a part is never twice as large as it should be"


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 1, 64, 64), (2, 64, 64, 3)])
def test_images_with_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"got shape {list(shape)}, expected [images, 3, height, width]")):
        build_encoder("efficientnet_lite0", weights=None)(torch.zeros(shape))


def test_the_small_cnn_encodes_each_image_alone_and_has_no_weights_of_imagenet() -> None:
    torch.manual_seed(0)
    encoder = build_encoder("small_cnn", weights=None, grid=5)
    assert encoder.num_features == 96 * 25
    together = encoder(images(encoder, 3))
    for index, feature in enumerate(together):
        assert_close(encoder(images(encoder, 3)[index : index + 1])[0], feature)
    with pytest.raises(InputError, match="small_cnn has no ImageNet weights"):
        build_encoder("small_cnn", weights="imagenet")
