"""Batch norm in an encoder that is trained together with a recurrent network.

The frames of one clip are alike, so that batch statistics say little about the data set, and running statistics leak
between clips ("On the Pitfalls of Batch Normalization for End-to-End Video Learning", arXiv 2203.07976). There are two
remedies: to freeze the statistics, or to use a norm without statistics.
"""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

CHANNELS_PER_GROUP = 16  # table 3 of "Group Normalization" (Wu, He 2018, arXiv 1803.08494)


def freeze_batch_norm(module: nn.Module) -> None:
    """Put every batch norm in `module` in evaluation mode, where running statistics are used and not updated."""
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()


def replace_batch_norm(module: nn.Module) -> None:
    """Replace every batch norm in `module`, in place, by a group norm with its scale, shift and eps.

    timm has batch norms with an activation in them, which then follows the group norm.
    """
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                norm, followers = _group_norm_of(child), list(child.children())
                setattr(parent, name, nn.Sequential(norm, *followers) if followers else norm)


def _group_norm_of(batch_norm: _BatchNorm) -> nn.GroupNorm:
    channels = batch_norm.num_features
    most = max(1, channels // CHANNELS_PER_GROUP)
    num_groups = max(groups for groups in range(1, most + 1) if channels % groups == 0)
    weight = batch_norm.weight
    group_norm = nn.GroupNorm(num_groups, channels, eps=batch_norm.eps, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        group_norm.weight.copy_(weight)
        group_norm.bias.copy_(batch_norm.bias)
    return group_norm
