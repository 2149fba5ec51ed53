"""Builds an encoder by the name of its network: our own networks, those of torchvision, and those of timm."""

import difflib
from pathlib import Path

import torch
from torch import nn

from pipeline.errors import InputError
from pipeline.models.encoders.batch_norm import replace_batch_norm
from pipeline.models.encoders.efficientnet_lite import LITES, EfficientNetLite, imagenet_weights
from pipeline.models.encoders.encoder import BatchNormMode, Encoder, Normalization
from pipeline.models.encoders.small_cnn import SMALL_CNN, SmallCNN
from pipeline.models.encoders.timm_networks import PREFIX, timm_names, timm_trunk
from pipeline.models.encoders.torchvision_networks import torchvision_network
from pipeline.models.encoders.trunks import trunk_to_classifier, trunk_to_stage, trunk_to_stride
from pipeline.models.encoders.weights import PUBLISHED, load_file


def build_encoder(
    name: str,
    *,
    weights: str | Path | None,
    grid: int = 1,
    stride: int | None = None,
    last_stage: str | None = None,
    batch_norm: BatchNormMode = "frozen",
    size: tuple[int, int] | None = None,
) -> Encoder:
    """Build an encoder, in evaluation mode.

    Args:
        name: "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "small_cnn" (see
            `models.encoders.small_cnn`; it has no published weights), any classification network of torchvision.models,
            or "timm/" and the name of any network of timm.
        weights: "imagenet" or "pretrained" are the weights that the network's authors trained: torchvision and timm
            download them at the first use, those of EfficientNet-Lite are in packages. A path names a file of weights
            under the network's own names, or saved from `Encoder.state_dict()`. None: random weights.
        grid: Cells along each side of the pooled feature map; 1 for the feature that the network's classifier reads.
        stride: None for the last feature map. A number such as 16 for the last map whose cells are 16 pixels apart; the
            layers after it are left out.
        last_stage: None for the last feature map. A stage by its name in the network, such as blocks.10 of
            efficientnet_lite0 or layer3 of resnet18, for the map that it gives; the stages after it are left out.
        batch_norm: "frozen" keeps the running statistics in training too; "group_norm" replaces batch norms by group
            norms, for training end to end; "trained" leaves them as the network has them.
        size: (height, width) in pixels of the images, for which some networks of timm are built. None: the size that
            the network was trained at. Other networks take any size.

    Raises:
        InputError: The name is unknown (the message lists the nearest ones), the weights are missing or do not fit, or
            the network cannot give this grid or stride, or has no such stage (the message lists those that it has).
        ValueError: Both a stride and a last stage are given.
    """
    if not is_known(name):
        names = encoder_names(name)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise InputError(f"unknown encoder {name!r}{hint}")
    if grid < 1:
        raise InputError(f"encoder grid: got {grid}, expected at least 1")
    if stride is not None and last_stage is not None:
        raise ValueError(f"got stride {stride} and last_stage {last_stage!r}, expected one of them at most")
    if name.startswith(PREFIX):
        trunk, expects = timm_trunk(name, weights=weights, grid=grid, stride=stride, last_stage=last_stage, size=size)
    else:
        trunk, expects = _traced_trunk(name, weights=weights, grid=grid, stride=stride, last_stage=last_stage)
    if batch_norm == "group_norm":
        replace_batch_norm(trunk)
    trunk.to(memory_format=torch.channels_last)
    return Encoder(
        trunk, name=name, grid=grid, stride=stride, last_stage=last_stage, batch_norm=batch_norm, expects=expects
    ).eval()


def is_known(name: str) -> bool:
    """Return whether `build_encoder` knows a name. Our own names are found without the libraries of the others."""
    return name in (*LITES, SMALL_CNN) or name in encoder_names(name)


def encoder_names(like: str = "") -> list[str]:
    """Return the names that `build_encoder` knows: those of timm where `like` begins as they do, otherwise all others.

    Raises:
        InputError: They are names of timm, which is not installed.
    """
    if like.startswith(PREFIX):
        return timm_names()
    import torchvision  # takes seconds, which labelling with efficientnet_lite0 saves

    return [*LITES, SMALL_CNN, *torchvision.models.list_models(module=torchvision.models)]


def _traced_trunk(
    name: str, *, weights: str | Path | None, grid: int, stride: int | None, last_stage: str | None
) -> tuple[nn.Module, Normalization]:
    """Make the trunk of a network of our own or of torchvision, with its weights."""
    if name == SMALL_CNN and weights in PUBLISHED:
        raise InputError(f"encoder {SMALL_CNN} has no ImageNet weights: weights must be null, or a weights file")
    downloads = weights in PUBLISHED and name not in LITES
    model, expects = _network(name, downloads=downloads)
    model.eval()
    if last_stage is not None:
        trunk = trunk_to_stage(model, name, last_stage, expects)
    elif stride is not None:
        trunk = trunk_to_stride(model, name, stride, expects)
    else:
        trunk = trunk_to_classifier(model, name, grid)
    if weights is not None and not downloads:
        path = imagenet_weights(name) if weights in PUBLISHED else Path(weights)
        load_file(trunk, path, name, ignored=model.state_dict().keys() - trunk.state_dict().keys())
    return trunk, expects


def _network(name: str, *, downloads: bool) -> tuple[nn.Module, Normalization]:
    if name in LITES:
        scale = LITES[name]
        # (pixel - 127) / 128 in the words of mean and std
        expects = Normalization((127 / 255,) * 3, (128 / 255,) * 3, (scale.side, scale.side))
        return EfficientNetLite(scale), expects
    if name == SMALL_CNN:
        return SmallCNN(), Normalization((0.45,) * 3, (0.2,) * 3, (36, 48))
    return torchvision_network(name, downloads=downloads)
