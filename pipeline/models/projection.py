"""Features of frames are normalized and projected, which is most of the work of a labeller of cached features.

Shapes: B videos, T frames, F features, H outputs of a Linear.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from pipeline.rnn.cpu import matmul


def project(features: Tensor, norm: nn.LayerNorm | nn.Identity, linears: Sequence[nn.Linear]) -> list[Tensor]:
    """Compute linear(norm(features)) for each of `linears`, all in one matrix product.

    With n a frame minus its mean, divided by its standard deviation, and g and s the LayerNorm's weight and bias,
        W (g n + s) + b = (W g) n + (W s + b)
    so g and s go into the weights and get their gradients from there. That saves a gradient of the size of the
    features, which is a third of the work, as cached features need no gradient.

    Args:
        features: [B, T, F].
        norm: The norm before the projection.
        linears: The projections.

    Returns:
        [B, T, H] of each of `linears`.
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
