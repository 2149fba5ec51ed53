"""Builds an encoder by the name of its network: our own networks and those of torchvision."""

import difflib
from pathlib import Path

import torch
from torch import nn

from pipeline.errors import InputError
from pipeline.models.encoders.batch_norm import replace_batch_norm
from pipeline.models.encoders.efficientnet_lite import LITES, EfficientNetLite, imagenet_weights
from pipeline.models.encoders.encoder import BatchNormMode, Encoder, Normalization
from pipeline.models.encoders.small_cnn import SMALL_CNN, SmallCNN
from pipeline.models.encoders.torchvision_networks import torchvision_network
from pipeline.models.encoders.trunks import trunk_to_classifier, trunk_to_stride
from pipeline.models.encoders.weights import load_file


def build_encoder(
    name: str,
    *,
    weights: str | Path | None,
    grid: int = 1,
    stride: int | None = None,
    batch_norm: BatchNormMode = "frozen",
) -> Encoder:
    """Build an encoder, in evaluation mode.

    Args:
        name: "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "small_cnn" (see
            `models.encoders.small_cnn`; it has no ImageNet weights), or any classification network of
            torchvision.models.
        weights: "imagenet" are the weights that the network's authors trained: torchvision downloads its own at the
            first use, those of EfficientNet-Lite are in packages. A path names a file of weights under the network's
            own names, or saved from `Encoder.state_dict()`. None: random weights.
        grid: Cells along each side of the pooled feature map; 1 for the feature that the network's classifier reads.
        stride: None for the last feature map. A number such as 16 for the last map whose cells are 16 pixels apart; the
            layers after it are left out.
        batch_norm: "frozen" keeps the running statistics in training too; "group_norm" replaces batch norms by group
            norms, for training end to end; "trained" leaves them as the network has them.

    Raises:
        InputError: The name is unknown (the message lists the nearest ones), the weights are missing or do not fit, or
            the network cannot give this grid or stride.
    """
    if name not in (*LITES, SMALL_CNN) and name not in encoder_names():
        near = difflib.get_close_matches(name, encoder_names(), n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise InputError(f"unknown encoder {name!r}{hint}")
    if grid < 1:
        raise InputError(f"encoder grid: got {grid}, expected at least 1")
    if name == SMALL_CNN and weights == "imagenet":
        raise InputError(f"encoder {SMALL_CNN} has no ImageNet weights: weights must be null, or a weights file")
    downloads = weights == "imagenet" and name not in LITES
    model, expects = _network(name, downloads=downloads)
    model.eval()
    trunk = trunk_to_classifier(model, name, grid) if stride is None else trunk_to_stride(model, name, stride, expects)
    if weights is not None and not downloads:
        path = imagenet_weights(name) if weights == "imagenet" else Path(weights)
        load_file(trunk, path, name, ignored=model.state_dict().keys() - trunk.state_dict().keys())
    if batch_norm == "group_norm":
        replace_batch_norm(trunk)
    trunk.to(memory_format=torch.channels_last)
    return Encoder(trunk, name=name, grid=grid, stride=stride, batch_norm=batch_norm, expects=expects).eval()


def encoder_names() -> list[str]:
    """Return every name that `build_encoder` knows."""
    import torchvision  # takes seconds, which labelling with efficientnet_lite0 saves

    return [*LITES, SMALL_CNN, *torchvision.models.list_models(module=torchvision.models)]


def _network(name: str, *, downloads: bool) -> tuple[nn.Module, Normalization]:
    if name in LITES:
        scale = LITES[name]
        # (pixel - 127) / 128 in the words of mean and std
        expects = Normalization((127 / 255,) * 3, (128 / 255,) * 3, (scale.side, scale.side))
        return EfficientNetLite(scale), expects
    if name == SMALL_CNN:
        return SmallCNN(), Normalization((0.45,) * 3, (0.2,) * 3, (36, 48))
    return torchvision_network(name, downloads=downloads)
