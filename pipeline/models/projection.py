"""Features of frames, normalized and projected: most of what a labeller of cached features multiplies.

B videos, T frames, F features, H outputs of a Linear.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from pipeline.rnn.cpu import matmul


def project(features: Tensor, norm: nn.LayerNorm | nn.Identity, linears: Sequence[nn.Linear]) -> list[Tensor]:
    """linear(norm(features)) of each of `linears`, [B, T, F] -> [B, T, H] each; all of them are one product.

    With n a frame minus its mean, over its standard deviation, and g and s the LayerNorm's weight and bias,
        W (g n + s) + b = (W g) n + (W s + b)
    so g and s go into the weights and get their gradients from there. What that saves is a gradient of the size of the
    features, a third of the work: features that were cached want none.
    """
    weight = torch.cat([linear.weight for linear in linears])
    bias = torch.cat(
        [weight.new_zeros(len(linear.weight)) if linear.bias is None else linear.bias for linear in linears]
    )
    if isinstance(norm, nn.LayerNorm):
        features = layer_norm(features, norm.normalized_shape, eps=norm.eps)
        weight, bias = weight * norm.weight, bias + weight @ norm.bias
    product = matmul.by_weight if torch.is_grad_enabled() else matmul.by_matrix
    projected = product(features.flatten(0, 1), weight, bias).unflatten(0, features.shape[:2])
    return list(projected.split([linear.out_features for linear in linears], -1))
