"""The precision settings of the process change inside the context and are restored after it."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch

from pipeline.rnn.precision import exact_float32, takes_tf32

CUDNN, MATMUL = torch.backends.cudnn, torch.backends.cuda.matmul


@pytest.fixture(params=[False, True])
def allowed(request: pytest.FixtureRequest) -> Iterator[bool]:
    before = MATMUL.allow_tf32
    MATMUL.allow_tf32 = request.param
    yield request.param
    MATMUL.allow_tf32 = before


def settings() -> tuple[object, ...]:
    return CUDNN.allow_tf32, CUDNN.benchmark, CUDNN.deterministic, MATMUL.allow_tf32, takes_tf32()


def test_tf32_is_off_inside_and_restored_outside(allowed: bool) -> None:
    before = settings()
    with suppress(KeyError), exact_float32(), exact_float32():
        assert settings() == (False, False, True, False, False)
        raise KeyError
    assert settings() == before
    assert takes_tf32() == allowed
