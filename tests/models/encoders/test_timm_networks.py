"""Networks of timm as encoders: features of eight families, checkpoints, exports, partly trained, and their errors."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from pipeline.checkpoints.encoder import FrameEncoder, load_encoder, make_frame_encoder, save_encoder
from pipeline.config.data import Pixels
from pipeline.encoding.openvino import OpenVINORuntime
from pipeline.errors import InputError
from pipeline.models.encoders.building import build_encoder, is_known
from pipeline.models.encoders.encoder import Encoder
from pipeline.models.encoders.stages import stages_of
from pipeline.models.encoders.timm_networks import timm_num_weights

timm = pytest.importorskip("timm")
SLOW = pytest.mark.slow
# The smallest network of each family, the size of its images in pixels, and the stage from which it is trained.
FAMILIES = {
    "test_resnet": ((64, 48), "layer3"),
    "test_convnext": ((64, 64), "stages.2"),
    "test_efficientnet": ((64, 64), "blocks.3"),
    "mobilenetv3_small_050": ((64, 48), "blocks.4"),
    "test_vit": ((48, 64), "blocks.4"),
    "vit_small_patch14_dinov2": ((28, 42), "blocks.11"),
    "swin_tiny_patch4_window7_224": ((64, 64), "layers.3"),
    "regnetx_002": ((64, 48), "s3"),
}
LARGE = ("vit_small_patch14_dinov2", "swin_tiny_patch4_window7_224")
ALL = [pytest.param(name, marks=SLOW if name in LARGE else ()) for name in FAMILIES]


def make_frames(name: str, *, grid: int = 1, stride: int | None = None, **options: object) -> FrameEncoder:
    torch.manual_seed(0)
    pixels = Pixels(crop=None, crop_unit="fractions", size=FAMILIES[name][0], color="rgb")
    settings = {"weights": None, "batch_norm": "frozen", "batch_size": 8} | options
    return make_frame_encoder(f"timm/{name}", grid=grid, stride=stride, pixels=pixels, **settings)  # type: ignore[arg-type]


def images_for(encoder: Encoder, num: int = 2) -> torch.Tensor:
    return torch.randn(num, 3, *encoder.size, generator=torch.Generator().manual_seed(1))


def assert_close(features: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-4) -> None:
    scale = expected.abs().max()
    torch.testing.assert_close(features / scale, expected / scale, rtol=0, atol=tolerance)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # torch, of timm's interpolation of tables
@pytest.mark.parametrize("name", ALL)
def test_the_feature_is_what_the_classifier_of_timm_reads(name: str) -> None:
    encoder = make_frames(name).encoder
    reference = timm.create_model(name)
    if hasattr(reference, "set_input_size"):
        reference.set_input_size(img_size=encoder.size)
    found = reference.load_state_dict(encoder.trunk.state_dict(), strict=False)
    classifier = reference.get_classifier()
    assert {key.rsplit(".", 1)[0] for key in found.missing_keys} <= {
        key for key, module in reference.named_modules() if module is classifier
    }
    seen: list[torch.Tensor] = []
    classifier.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = images_for(encoder)
    with torch.no_grad():
        reference.eval()(x)
        features = encoder(x)
    assert features.shape == (2, encoder.num_features)
    assert_close(features, seen[0].flatten(1))
    assert not torch.equal(features[0], features[1])


@pytest.mark.parametrize("name", ALL)
def test_a_grid_keeps_the_places_of_things(name: str) -> None:
    encoder = make_frames(name, grid=2).encoder
    x = images_for(encoder)
    regions = encoder.regions(x)
    assert regions.shape == (2, 4, encoder.num_channels)
    maps = encoder.trunk(x)
    rows = maps.shape[2] // 2
    if maps.shape[2] % 2 == 0 and maps.shape[3] % 2 == 0:
        assert_close(regions[:, 0], maps[:, :, :rows, : maps.shape[3] // 2].mean((2, 3)))
    assert maps.shape[1] == encoder.num_channels


def test_a_stride_selects_the_last_map_of_that_size() -> None:
    encoder = make_frames("test_resnet", stride=8).encoder
    x = images_for(encoder)
    network = encoder.trunk.get_submodule("network")
    assert isinstance(network.layer2, nn.Module)
    early = network.maxpool(network.act1(network.bn1(network.conv1(x))))  # type: ignore[operator]
    assert_close(encoder.trunk(x), network.layer2(network.layer1(early)))  # type: ignore[operator]
    assert not list(network.layer3.parameters()), "the later layers are left out"  # type: ignore[union-attr]
    with pytest.raises(InputError, match="has no feature map with rows and columns, with cells 7 pixels apart"):
        make_frames("test_resnet", stride=7)


def test_the_last_stage_is_that_of_timm() -> None:
    cut = make_frames("test_resnet", grid=2, last_stage="layer2").encoder
    whole = make_frames("test_resnet", grid=2).encoder
    seen: list[torch.Tensor] = []
    whole.trunk.get_submodule("network.layer2").register_forward_hook(lambda module, given, found: seen.append(found))
    x = images_for(whole)
    with torch.no_grad():
        whole(x)
        assert_close(cut(x), adaptive_avg_pool2d(seen[0], 2).flatten(1))
    with pytest.raises(InputError, match=r"last_stage: got 'layer7', expected a stage of timm/test_resnet .*layer4"):
        make_frames("test_resnet", grid=2, last_stage="layer7")


@pytest.mark.parametrize("name", ALL)
def test_a_checkpoint_loads_again_without_a_download(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = make_frames(name)
    save_encoder(tmp_path, frames)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr("timm.models._builder.load_pretrained", refuse)
    again = load_encoder(tmp_path)
    assert again is not None
    assert again.spec == frames.spec
    assert again.fingerprint() == frames.fingerprint()
    x = images_for(frames.encoder)
    with torch.no_grad():
        assert torch.equal(again.encoder(x), frames.encoder(x))


def test_the_spec_has_the_normalization_and_the_size_of_timm_and_both_count(tmp_path: Path) -> None:
    pixels = Pixels(crop=None, crop_unit="fractions", size=None, color="rgb")
    frames = make_frame_encoder("timm/test_vit", weights=None, grid=1, batch_norm="frozen", batch_size=8, pixels=pixels)
    assert frames.spec.preprocess.size == (160, 160), "the size that it was trained at"
    config = timm.get_pretrained_cfg("test_vit")
    assert (frames.spec.preprocess.mean, frames.spec.preprocess.std) == (config.mean, config.std)
    save_encoder(tmp_path, frames)
    spec = json.loads((tmp_path / "encoder.json").read_text())
    spec["preprocess"]["mean"] = [0.1, 0.2, 0.3]
    (tmp_path / "encoder.json").write_text(json.dumps(spec))
    again = load_encoder(tmp_path)
    assert again is not None
    assert again.preprocess.mean == (0.1, 0.2, 0.3), "that of the checkpoint, not that of timm"
    assert again.fingerprint() != frames.fingerprint()


@pytest.mark.parametrize("grid", [1, 2])
@pytest.mark.parametrize("name", ALL)
def test_an_export_gives_the_features_of_torch(name: str, grid: int) -> None:
    frames = make_frames(name, grid=grid)
    shape = (3, *frames.preprocess.size, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with torch.no_grad():
        expected = frames.encoder(frames.preprocess.normalize(torch.from_numpy(pixels)))
    assert_close(OpenVINORuntime(frames).submit(pixels).result(), expected)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "regnetx_002"])
def test_a_cnn_can_be_split_for_frames_that_come_together(name: str) -> None:
    encoder = make_frames(name).encoder
    by_frames = encoder.frame_by_frame(*encoder.size)
    assert by_frames is not None
    x = images_for(encoder, 3)
    with torch.no_grad():
        assert_close(by_frames(x), encoder(x))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("batch_norm", ["frozen", "trained"])
def test_training_moves_only_the_stages_from_the_chosen_one_on(name: str, batch_norm: str) -> None:
    encoder = make_frames(name, batch_norm=batch_norm).encoder
    stage = FAMILIES[name][1]
    stages = stages_of(encoder.trunk)
    encoder.train_from(stage)
    before = {key: tensor.clone() for key, tensor in encoder.trunk.state_dict().items()}
    encoder.train()
    optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=1.0)
    encoder(images_for(encoder)).square().sum().backward()
    optimizer.step()
    names = list(stages)
    fixed = {id(p) for early in names[: names.index(stage)] for p in stages[early]}
    assert fixed
    parameters = dict(encoder.trunk.named_parameters())
    moved = {key for key, tensor in encoder.trunk.state_dict().items() if not torch.equal(tensor, before[key])}
    assert not {key for key in moved if key in parameters and id(parameters[key]) in fixed}
    for late in names[names.index(stage) :]:
        assert any(id(parameters[key]) in set(map(id, stages[late])) for key in moved if key in parameters), late
    statistics = {key for key in moved if key.endswith(("running_mean", "running_var"))}
    early_modules = {key.rsplit(".", 1)[0] for key, parameter in parameters.items() if id(parameter) in fixed}
    assert not {key for key in statistics if key.rsplit(".", 1)[0] in early_modules}, "batch norms of early stages"


def test_group_norm_keeps_the_activation_of_a_batch_norm() -> None:
    encoder = make_frames("test_efficientnet", batch_norm="group_norm").encoder.train()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    plain = make_frames("test_efficientnet").encoder
    activations = [type(module).__name__ for module in plain.modules()].count("SiLU")
    assert activations
    assert [type(module).__name__ for module in encoder.modules()].count("SiLU") == activations
    x = images_for(encoder, 3)
    with torch.no_grad():
        assert_close(encoder(x)[:1], encoder(x[:1]))


def test_a_weights_file_loads_and_its_position_embeddings_are_interpolated(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_vit")
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    same = build_encoder("timm/test_vit", weights=tmp_path / "model.safetensors")
    assert torch.equal(same.trunk.get_parameter("pos_embed"), network.pos_embed)
    smaller = build_encoder("timm/test_vit", weights=tmp_path / "model.safetensors", size=(48, 64))
    assert smaller.trunk.get_parameter("pos_embed").shape[1] == 1 + 3 * 4
    assert torch.equal(smaller.trunk.get_parameter("blocks.0.attn.qkv.weight"), network.blocks[0].attn.qkv.weight)
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(InputError, match=r"text.safetensors: not a file of weights"):
        build_encoder("timm/test_vit", weights=tmp_path / "text.safetensors")
    with pytest.raises(InputError, match=r"do not fit encoder timm/test_resnet: conv1"):
        build_encoder("timm/test_resnet", weights=tmp_path / "model.safetensors")


@pytest.mark.parametrize("word", ["imagenet", "pretrained"])
def test_published_weights_are_requested_and_a_failed_download_names_the_remedy(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("timm.models._builder.load_pretrained", refuse)
    with pytest.raises(InputError, match=r"timm/test_vit could not be downloaded \(Name or service.*weights file"):
        build_encoder("timm/test_vit", weights=word)


def test_names_that_timm_does_not_have_are_refused() -> None:
    with pytest.raises(InputError, match=r"unknown encoder 'timm/resnet-18'; did you mean timm/resnet18"):
        build_encoder("timm/resnet-18", weights=None)
    for name in ("timm/hf-hub:someone/network", "timm/local-dir:folder", "timm/resnet18.no_such_tag", "timm/"):
        assert not is_known(name)
    assert is_known("timm/resnet18.a1_in1k")
    assert not is_known("resnet18.a1_in1k")


def test_a_size_that_does_not_fit_the_patches_is_refused() -> None:
    with pytest.raises(InputError, match=r"timm/test_vit does not take images of 50x64 pixels: .*divisible"):
        build_encoder("timm/test_vit", weights=None, size=(50, 64))


@pytest.mark.parametrize("size", [(96, 128), (10, 10)])
def test_no_rest_of_a_picture_is_left_out_beside_the_patches(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"does not take images of {size[0]}x{size[1]} pixels"):
        build_encoder("timm/vit_small_patch14_dinov2", weights=None, size=size)


def test_parts_that_are_named_network_keep_their_name() -> None:
    network = nn.ModuleDict({"patch_embed": nn.Linear(2, 2), "network": nn.Sequential(nn.Linear(2, 2))})
    assert list(stages_of(network)) == ["patch_embed", "network.0"]
    assert list(stages_of(nn.ModuleDict({"network": nn.Sequential(nn.Linear(2, 2))}))) == ["0"]


def test_a_checkpoint_cannot_describe_a_network_that_is_much_larger_than_its_weights(tmp_path: Path) -> None:
    save_encoder(tmp_path, make_frames("test_vit"))
    text = (tmp_path / "encoder.json").read_text()
    (tmp_path / "encoder.json").write_text(text.replace("timm/test_vit", "timm/vit_large_patch16_224"))
    with pytest.raises(InputError, match="does not fit the model that is described beside it"):
        load_encoder(tmp_path)


def test_weights_are_counted_without_memory() -> None:
    parameters = make_frames("test_resnet").encoder.parameters()
    assert timm_num_weights("timm/test_resnet") == sum(parameter.numel() for parameter in parameters)


def test_without_timm_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"pip install 'framescribe\[timm\]'"):
        build_encoder("timm/resnet18", weights=None)
