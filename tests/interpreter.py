"""Triton's kernels without a GPU: run by its interpreter, on the CPU."""

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest
import triton.language as tl
from triton import knobs
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

GPU = "pipeline.rnn.gpu"
LOOPS = (f"{GPU}.cells", f"{GPU}.triton_kernels", f"{GPU}.launch")  # in the order in which they import each other


def interpreted(*names: str) -> list[ModuleType]:
    """The modules a second time, their kernels run by the interpreter; each one imports those before it.

    Triton decides when it decorates a function. TRITON_INTERPRET in the environment would also take part in what the
    library itself decorated, when it was first imported; the kernels use none of that.
    """
    modules = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knobs.runtime, "interpret", True)
        for name in names:
            spec = importlib.util.find_spec(name)
            assert spec is not None
            assert spec.loader is not None
            modules.append(importlib.util.module_from_spec(spec))
            spec.loader.exec_module(modules[-1])
            patch.setitem(sys.modules, name, modules[-1])
    return modules


def widen_bfloat16_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter holds bfloat16 as uint16 and multiplies it as such (Triton 3.9): widen it, which is exact."""

    def widened(handle: TensorHandle) -> TensorHandle:
        if handle.dtype != tl.bfloat16:
            return handle
        return TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    create_dot = InterpreterBuilder.create_dot
    monkeypatch.setattr(
        InterpreterBuilder, "create_dot", lambda self, a, b, *rest: create_dot(self, widened(a), widened(b), *rest)
    )


class FastTanh:
    """What `tanh.approx.f32` gives, but for its rounding."""

    def __init__(self, operand: TensorHandle) -> None:
        self._value = TensorHandle(np.tanh(operand.data), operand.dtype)

    def get_result(self, index: int) -> TensorHandle:
        return self._value


def know_fast_tanh(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter runs no assembly: this is the one instruction of it that the kernels use."""

    def create_inline_asm(
        builder: InterpreterBuilder, asm: str, constraints: str, args: list[TensorHandle], *_: object
    ) -> FastTanh:
        assert asm == "tanh.approx.f32 $0, $1;"
        return FastTanh(*args)

    monkeypatch.setattr(InterpreterBuilder, "create_inline_asm", create_inline_asm, raising=False)
