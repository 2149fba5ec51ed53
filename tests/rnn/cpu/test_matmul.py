"""The large products, by oneDNN and by MKL, are compared with float64; oneDNN gets the rows that it should."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.rnn.cpu import matmul

# These are below and above what oneDNN gets: numbers of rows that 16 divides and others, small and large weights.
SIZES = st.tuples(st.integers(1, 600), st.sampled_from([3, 64, 320]), st.sampled_from([5, 192, 448]))


def near(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).norm() <= 1e-6 * expected.norm())


@settings(max_examples=40, deadline=None)
@given(sizes=SIZES, has_bias=st.booleans())
def test_a_product_and_its_gradient(sizes: tuple[int, int, int], has_bias: bool) -> None:
    num_rows, num_given, num_made = sizes
    torch.manual_seed(0)
    rows, weight, total = (
        torch.randn(num_rows, num_given),
        torch.randn(num_made, num_given),
        torch.randn(num_made, num_given),
    )
    d_products, bias = torch.randn(num_rows, num_made), torch.randn(num_made) if has_bias else None
    expected = torch.nn.functional.linear(rows.double(), weight.double(), None if bias is None else bias.double())
    for product in (matmul.by_weight, matmul.by_matrix):
        found = product(rows, weight, bias)
        assert found.is_contiguous()
        assert near(found, expected)
    assert near(matmul.by_weight(rows, weight.t().contiguous().t(), bias), expected), "whatever its strides"
    expected_total = total.double() + d_products.double().t() @ rows.double()
    matmul.add_weight_gradient(total, d_products, rows)
    assert near(total, expected_total)


@pytest.mark.parametrize(
    ("num_rows", "num_weights", "dtype", "whole"),
    [
        (512, 512 * 768, torch.float32, 512),
        (519, 512 * 768, torch.float32, 512),
        (255, 512 * 768, torch.float32, 0),
        (512, 64 * 192, torch.float32, 0),
        (512, 512 * 768, torch.float64, 0),
    ],
)
def test_onednn_gets_the_expected_number_of_rows(num_rows: int, num_weights: int, dtype: Any, whole: int) -> None:
    assert matmul._rows_for_convolution(torch.empty(num_rows, 1, dtype=dtype), num_weights) == whole
