"""The Gluon loops run in Triton's interpreter, without layouts, and compile for sm_90 without spills."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("triton")
pytest.importorskip("triton.experimental.gluon.language.nvidia.ampere")

import triton
import triton.language as tl
from interpreter import GPU, LOOPS, interpreted, know_fast_tanh, widen_bfloat16_products
from test_triton_kernels import (
    CELLS,
    NUM_GATES,
    RAGGED,
    Compiled,
    check_both,
    make_layer,
    read_cubin,
    specialize,
)
from triton.backends.compiler import GPUTarget
from triton.experimental import gluon
from triton.experimental.gluon._runtime import GluonASTSource

from pipeline.rnn.gpu import gluon_kernels, launch


class Shared:
    """Shared memory, which returns what was stored."""

    def __init__(self, value: Any = None) -> None:
        self._value = value

    def store(self, value: Any) -> None:
        self._value = value

    def load(self, layout: Any) -> Any:
        return self._value


class WithoutLayouts(SimpleNamespace):
    """Gluon's language, as far as the kernels use it, by that of Triton. Layouts and moves between them do nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(tl, name)

    def _no_layout(self, *arguments: Any, **options: Any) -> None:
        return None

    BlockedLayout = SliceLayout = DotOperandLayout = NVMMADistributedLayout = SwizzledSharedLayout = _no_layout
    DistributedLinearLayout = _no_layout

    def arange(self, start: int, stop: int, layout: Any) -> Any:
        return tl.arange(start, stop)

    def full(self, shape: Any, value: Any, dtype: Any, layout: Any) -> Any:
        return tl.full(shape, value, dtype)

    def convert_layout(self, value: Any, layout: Any) -> Any:
        return value

    def allocate_shared_memory(self, dtype: Any, shape: Any, layout: Any, value: Any = None) -> Shared:
        return Shared(value)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    widen_bfloat16_products(monkeypatch)
    know_fast_tanh(monkeypatch)


@pytest.fixture(scope="module")
def loops() -> ModuleType:
    """Return `launch` in the interpreter, which passes what one SM holds to `gluon_kernels` in the interpreter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gluon, "jit", triton.jit)
        *_, launch, kernels = interpreted(*LOOPS, f"{GPU}.gluon_kernels")
    kernels.gl = WithoutLayouts()
    kernels.mma_v2 = lambda a, b, total: tl.dot(a, b, acc=total)
    launch.gluon_kernels = kernels
    return launch


@pytest.fixture
def gluon_only(loops: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(sys.modules, f"{GPU}.gluon_kernels", loops.gluon_kernels)
    monkeypatch.setattr(loops, "gluon_takes", lambda weight_hh: True)
    monkeypatch.delattr(loops, "forward_kernel")
    monkeypatch.delattr(loops, "backward_kernel")
    return loops


@CELLS
@pytest.mark.parametrize(
    ("heads", "directions", "lengths", "dtype"),
    [
        (1, 2, RAGGED, torch.float16),
        pytest.param(3, 2, RAGGED, torch.bfloat16, marks=pytest.mark.slow),
        pytest.param(1, 1, None, torch.bfloat16, marks=pytest.mark.slow),
        pytest.param(1, 1, RAGGED, torch.bfloat16, marks=pytest.mark.slow),
        # The kernels are not used in float32, but it shows errors in the sums.
        pytest.param(3, 1, RAGGED, torch.float32, marks=pytest.mark.slow),
    ],
)
def test_gluon_loops_agree_with_the_steps(gluon_only, cell, heads, directions, lengths, dtype):
    check_both(gluon_only, make_layer(cell, heads=heads, directions=directions, lengths=lengths, dtype=dtype))


def compile_for_hopper(kind: str, cell: str, units: int) -> Compiled:
    weight_hh = torch.empty(1, NUM_GATES[cell] * units, units, dtype=torch.bfloat16, device="meta")
    plan = launch._plan(cell, weight_hh, 8, 1)
    num_warps = min(plan.num_warps, plan.whole_width // 16)
    kernel = getattr(gluon_kernels, f"_{kind}_kernel")
    constants = {
        "CELL": cell,
        "NUM_GATES": NUM_GATES[cell],
        "TILE": plan.tile,
        "WHOLE": plan.whole_width,
        "NUM_WARPS": num_warps,
        "UNITS": gluon_kernels.units_layout(plan.whole_width, plan.tile, num_warps),
        "BACKWARDS": 2,
        "HAS_LENGTHS": True,
        "HAS_CELLS": cell == "lstm",
    }
    source = GluonASTSource(kernel, *specialize(kernel, cell, torch.bfloat16, constants))
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": num_warps})
    return read_cubin(compiled.asm["cubin"], compiled.metadata.shared)


@pytest.mark.parametrize(
    ("cell", "units"),
    [
        ("tanh", 256),
        pytest.param("lstm", 128, marks=pytest.mark.slow),
        pytest.param("gru", 128, marks=pytest.mark.slow),
        pytest.param("lstm", 64, marks=pytest.mark.slow),
        pytest.param("relu", 16, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("kind", ["forward", "backward"])
def test_no_spills_in_the_loop(kind, cell, units):
    compiled = compile_for_hopper(kind, cell, units)
    print(f"\ngluon {kind} {cell} {units}: {compiled}")
    assert compiled.loop["LDL"] + compiled.loop["STL"] == 0
    assert compiled.loop["HMMA"] > 0
    assert compiled.loop["BAR"] == 2
