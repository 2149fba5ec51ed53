"""The networks of timm (PyTorch Image Models, github.com/huggingface/pytorch-image-models) as trunks of encoders.

An encoder has the name `timm/` and timm's own name of the network, with or without the tag of its weights:
timm/resnet18.a1_in1k. timm is an optional package, which only this module imports, and only for such an encoder.

Shapes: N images, C channels, h x w pixels or cells, F features.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import InputError, first_line
from pipeline.models.encoders.encoder import Normalization
from pipeline.models.encoders.weights import PUBLISHED, load_file

PREFIX = "timm/"


class FeatureMap(nn.Module):
    """A network up to one of the feature maps that timm knows of it: images [N, 3, h, w] -> map [N, C, h', w'].

    Args:
        network: The network of timm.
        index: The index of the map.
    """

    def __init__(self, network: nn.Module, index: int) -> None:
        super().__init__()
        network.prune_intermediate_layers([index], prune_norm=False, prune_head=True)  # type: ignore[operator]
        self.network, self.index = network, index

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        (features,) = self.network.forward_intermediates(  # type: ignore[operator]
            images, indices=[self.index], norm=True, stop_early=True, output_fmt="NCHW", intermediates_only=True
        )
        return features


def timm_names() -> list[str]:
    """Return the names of all encoders that are networks of timm.

    Raises:
        InputError: timm is not installed.
    """
    timm = _import_timm()
    return [PREFIX + name for name in (*timm.list_models(), *timm.list_pretrained())]


def timm_num_weights(name: str) -> int:
    """Return how many weights an encoder of timm has. It is built without memory for them.

    Args:
        name: One of `timm_names`.

    Raises:
        InputError: timm is not installed.
    """
    with torch.device("meta"):
        return sum(weight.numel() for weight in _network(name).parameters())


def timm_trunk(
    name: str,
    *,
    weights: str | Path | None,
    grid: int,
    stride: int | None,
    last_stage: str | None,
    size: tuple[int, int] | None,
) -> tuple[nn.Module, Normalization]:
    """Make the trunk of an encoder.

    Its output is a vector [N, F], what the network's classifier reads. With a grid above 1, a stride or a last stage,
    it is a map [N, C, h, w].

    Args:
        name: One of `timm_names`.
        weights: See `build_encoder`.
        grid: See `build_encoder`.
        stride: See `build_encoder`.
        last_stage: See `build_encoder`.
        size: (height, width) in pixels of the images; None for the size that the network was trained at. Embeddings of
            positions are interpolated to it.

    Returns:
        The trunk, and the images that it expects: those of timm's data configuration, in this size.

    Raises:
        InputError: See `build_encoder`; or timm is not installed.
    """
    network = _published(name) if weights in PUBLISHED else _network(name)
    if weights is not None and weights not in PUBLISHED:
        with torch.device("meta"):
            whole = _import_timm().create_model(name.removeprefix(PREFIX))
        load_file(network, Path(weights), name, ignored=whole.state_dict().keys() - network.state_dict().keys())
    config = _import_timm().data.resolve_data_config({}, model=network)
    trained_size = tuple(config["input_size"][1:])
    expects = Normalization(tuple(config["mean"]), tuple(config["std"]), size or trained_size)
    if expects.size != trained_size and hasattr(network, "set_input_size"):
        _set_size(network, name, expects.size)
    network.eval()
    if last_stage is not None:
        return _stage_map(network, name, last_stage), expects
    return (network if grid == 1 and stride is None else _feature_map(network, name, grid, stride)), expects


def _network(name: str, **options: Any) -> nn.Module:
    """Make a network without its classifier."""
    return _import_timm().create_model(name.removeprefix(PREFIX), num_classes=0, **options)


def _published(name: str) -> nn.Module:
    """Make a network with its published weights, which are downloaded at the first use."""
    try:
        return _network(name, pretrained=True)
    except Exception as error:  # timm and the libraries below it raise whatever a failed connection raises
        raise InputError(
            f"the published weights of {name} could not be downloaded ({first_line(error)}): connect to the internet "
            "once, or give the path of a weights file in encoder.weights; null starts from random weights"
        ) from error


def _set_size(network: nn.Module, name: str, size: tuple[int, int]) -> None:
    refusal = f"encoder {name} does not take images of {size[0]}x{size[1]} pixels"
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
    if patch and any(side % step for side, step in zip(size, patch, strict=True)):  # timm would leave the rest out
        raise InputError(f"{refusal}: both sides must be divisible by those of its patches, {patch[0]}x{patch[1]}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch, of how timm interpolates tables of positions
            network.set_input_size(img_size=size)  # type: ignore[operator]
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(f"{refusal}: {first_line(error)}") from error


def _stage_map(network: nn.Module, name: str, stage: str) -> FeatureMap:
    """Return the network up to the map of a stage."""
    stages = [info["module"] for info in _maps_of(network)]
    if stage not in stages:
        raise InputError(
            f"encoder.last_stage: got {stage!r}, expected a stage of {name} that gives a feature map:"
            f" {', '.join(stages) or 'it has none'}"
        )
    return FeatureMap(network, stages.index(stage))


def _feature_map(network: nn.Module, name: str, grid: int, stride: int | None) -> FeatureMap:
    """Return the network up to its last map, or up to its last map whose cells are `stride` pixels apart."""
    places = [index for index, info in enumerate(_maps_of(network)) if stride in (None, info["reduction"])]
    if not places:
        asked = f"grid={grid} needs one" if stride is None else f"with cells {stride} pixels apart: stride={stride}"
        raise InputError(f"encoder {name} has no feature map with rows and columns, {asked}")
    return FeatureMap(network, places[-1])


def _maps_of(network: nn.Module) -> list[dict[str, Any]]:
    """Return what timm says of each feature map that it can give, in the order of the network."""
    return list(network.feature_info) if hasattr(network, "forward_intermediates") else []  # type: ignore[arg-type]


def _import_timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise InputError(
            f"encoders named {PREFIX}... need the Python package timm, which is not installed: pip install "
            "'framescribe[timm]'"
        ) from error
    return timm
