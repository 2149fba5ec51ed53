"""The projection is compared with LayerNorm followed by Linear, by autograd in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.models.projection import project


def make(num_features: int, sizes: list[int], *, normalized: bool) -> tuple[nn.LayerNorm | nn.Identity, nn.ModuleList]:
    """Make a LayerNorm with random weight and bias, and Linear layers of which every other one has no bias."""
    torch.manual_seed(0)
    linears = [nn.Linear(num_features, size, bias=not index % 2) for index, size in enumerate(sizes)]
    if not normalized:
        return nn.Identity(), nn.ModuleList(linears)
    norm = nn.LayerNorm(num_features)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm, nn.ModuleList(linears)


def gradients(products: list[Tensor], given: list[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    targets = [torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype) for p in products]
    return list(torch.autograd.grad(products, given, targets))


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(2, 9)),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=2),
    normalized=st.booleans(),
)
def test_the_projection_equals_layer_norm_and_linear(
    shape: tuple[int, int, int], sizes: list[int], normalized: bool
) -> None:
    norm, linears = make(shape[2], sizes, normalized=normalized)
    norm, linears = norm.double(), linears.double()
    features = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    found, expected = project(features, norm, list(linears)), [linear(norm(features)) for linear in linears]
    torch.testing.assert_close(found, expected)
    given = [features, *norm.parameters(), *linears.parameters()]
    torch.testing.assert_close(gradients(found, given), gradients(expected, given), rtol=1e-6, atol=1e-9)
    with torch.no_grad():
        torch.testing.assert_close(project(features, norm, list(linears)), expected)


@pytest.mark.parametrize("wants_features", [False, True])
def test_float32_of_a_size_for_onednn_equals_layer_norm_and_linear(wants_features: bool) -> None:
    norm, linears = make(320, [128, 96], normalized=True)
    features = torch.randn(5, 61, 320, requires_grad=wants_features)
    given = [*([features] if wants_features else []), *norm.parameters(), *linears.parameters()]
    found = gradients(project(features, norm, list(linears)), given)
    norm, linears, features = norm.double(), linears.double(), features.detach().double().requires_grad_(wants_features)
    given = [*([features] if wants_features else []), *norm.parameters(), *linears.parameters()]
    expected = gradients([linear(norm(features)) for linear in linears], given)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()
