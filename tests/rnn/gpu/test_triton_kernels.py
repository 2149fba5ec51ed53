"""The Triton loops, in Triton's interpreter, are compared with autograd over the steps of cells.py in float64."""

import functools
import inspect
import itertools
import math
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from interpreter import LOOPS, interpreted, widen_bfloat16_products
from torch import Tensor

from pipeline.rnn.cells import NUM_GATES, STEPS, LSTMState

pytest.importorskip("triton")

import triton
import triton.language as tl  # noqa: F401  the interpreter looks it up where `put_aside` is defined
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.interpreter import InterpretedFunction, InterpreterBuilder, interpreter_builder

from pipeline.rnn.gpu import launch, triton_kernels

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 5e-3}
RAGGED = [5, 6, 3, 0, 1, 6, 4, 0, 2, 3, 1]  # two tiles of 8, which stop at 6 and at 3


@pytest.fixture(autouse=True)
def bfloat16_products(monkeypatch: pytest.MonkeyPatch) -> None:
    widen_bfloat16_products(monkeypatch)


@pytest.fixture(scope="module")
def loops() -> ModuleType:
    *_, kernels, launch = interpreted(*LOOPS)
    launch.kernels = kernels
    return launch


class Layer(NamedTuple):
    """The operands of a layer in their own dtype, and the gradients that come back to it."""

    cell: str
    projected: Tensor
    weight_hh: Tensor
    bias_n: Tensor | None
    h: Tensor
    c: Tensor
    lengths: Tensor | None
    reverse: tuple[bool, ...]
    d_out: Tensor
    dh: Tensor
    dc: Tensor


def make_layer(
    cell: str,
    *,
    heads: int = 1,
    directions: int = 1,
    lengths: list[int] | None = None,
    dtype: torch.dtype = torch.float32,
    units: int = 20,
    frames: int = 6,
    videos: int = len(RAGGED),
) -> Layer:
    """Make a random layer, with NaN at padding."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    hidden, gates = heads * units, NUM_GATES[cell]
    ends = None if lengths is None else torch.tensor(lengths)
    projected = random(frames, videos, directions, gates * hidden)
    d_out = random(frames, videos, directions, hidden)
    if ends is not None:
        padding = torch.arange(frames)[:, None] >= ends
        projected[padding] = d_out[padding] = torch.nan
    return Layer(
        cell,
        projected.to(dtype),
        (random(directions, gates * hidden, units) / units**0.5).to(dtype),
        random(directions, hidden).to(dtype) if cell == "gru" else None,
        random(directions, videos, hidden),
        random(directions, videos, hidden),
        ends,
        (False, True)[:directions] if directions == 2 else (True,) if lengths else (False,),
        d_out.to(dtype),
        random(directions, videos, hidden),
        random(directions, videos, hidden),
    )


class Expected(NamedTuple):
    """The expected results in float64, time-major; gates and before are what backward_loop takes."""

    out: Tensor
    cells: Tensor
    h: Tensor
    c: Tensor
    gates: Tensor
    before: Tensor
    d_gates: Tensor
    dh: Tensor
    dc: Tensor


def block_diagonal(weight_hh: Tensor, num_gates: int) -> Tensor:
    """Bring a weight [G*H, K] into [G*H, H], zero between heads."""
    units = weight_hh.shape[1]
    return torch.cat([torch.block_diag(*gate) for gate in weight_hh.view(num_gates, -1, units, units)])


def expect(layer: Layer) -> Expected:
    """Compute the results video by video and direction by direction, frame by frame."""
    num_frames, num_videos, num_directions, hidden = layer.d_out.shape
    gates_width = layer.projected.shape[3] if layer.cell != "gru" else 4 * hidden
    zeros = torch.zeros(num_frames, num_videos, num_directions, hidden, dtype=torch.float64)
    gates = torch.zeros(num_frames, num_videos, num_directions, gates_width, dtype=torch.float64)
    states = torch.zeros(num_directions, num_videos, hidden, dtype=torch.float64)
    made = Expected(
        zeros,
        zeros.clone(),
        states,
        states.clone(),
        gates,
        zeros.clone(),
        gates.clone(),
        states.clone(),
        states.clone(),
    )
    for d in range(num_directions):
        for b in range(num_videos):
            length = num_frames if layer.lengths is None else int(layer.lengths[b])
            expect_video(layer, made, d, b, range(length)[::-1] if layer.reverse[d] else range(length))
    return made


def expect_video(layer: Layer, made: Expected, d: int, b: int, frames: range) -> None:
    """Fill in what belongs to direction d of video b."""
    hidden = layer.h.shape[2]
    lstm, gru = layer.cell == "lstm", layer.cell == "gru"
    weight = block_diagonal(layer.weight_hh[d].double(), NUM_GATES[layer.cell])
    bias = None if layer.bias_n is None else torch.cat([torch.zeros(2 * hidden), layer.bias_n[d].float()]).double()
    projected = {t: layer.projected[t, b, d].double().requires_grad_() for t in frames}
    h_first = h = layer.h[d, b].double().requires_grad_()
    c_first = c = layer.c[d, b].double().requires_grad_()
    loss = torch.zeros((), dtype=torch.float64)
    for t in frames:
        made.before[t, b, d] = c.detach() if lstm else h.detach()
        recurrent = torch.nn.functional.linear(h.detach(), weight, bias)
        if gru:
            made.gates[t, b, d] = torch.cat(
                [
                    projected[t][: 2 * hidden] + recurrent[: 2 * hidden],
                    projected[t][2 * hidden :],
                    recurrent[2 * hidden :],
                ]
            ).detach()
        elif lstm:
            made.gates[t, b, d] = (projected[t] + recurrent).detach()
        if lstm:
            h, c = (
                part[0] for part in STEPS[layer.cell](projected[t][None], LSTMState(h[None], c[None]), weight, bias)
            )
        else:
            h = STEPS[layer.cell](projected[t][None], h[None], weight, bias)[0]
        made.out[t, b, d], made.cells[t, b, d] = h.detach(), c.detach()
        if not (lstm or gru):
            made.gates[t, b, d] = h.detach()
        loss = loss + h @ layer.d_out[t, b, d].double()
    made.h[d, b], made.c[d, b] = h.detach(), c.detach()
    loss = loss + h @ layer.dh[d, b].double()
    if lstm:
        loss = loss + c @ layer.dc[d, b].double()
    loss.backward()
    made.dh[d, b] = h_first.grad
    if lstm:
        made.dc[d, b] = c_first.grad
    for t in frames:
        gradient = projected[t].grad
        if gru:  # n = tanh(third + r * fourth)
            r = torch.sigmoid(made.gates[t, b, d, :hidden])
            gradient = torch.cat([gradient, gradient[2 * hidden :] * r])
        made.d_gates[t, b, d] = gradient


def error(got: Tensor, expected: Tensor) -> float:
    """Compute ||got - expected|| / ||expected||."""
    return float((got.double() - expected).norm() / expected.norm().clamp(min=1e-30))


def strided(*shape: int, dtype: torch.dtype) -> Tensor:
    """Make a tensor that is not dense and full of NaN: a view of every second frame of a wider one."""
    return torch.full((2 * shape[0], *shape[1:-1], shape[-1] + 8), torch.nan, dtype=dtype)[::2, ..., : shape[-1]]


def poisoned(values: Tensor, layer: Layer, dtype: torch.dtype) -> Tensor:
    """Copy values, with NaN at padding."""
    values = values.to(dtype, copy=True)
    if layer.lengths is not None:
        values[torch.arange(len(values))[:, None] >= layer.lengths] = torch.nan
    return values


def run_forward(loops: Any, layer: Layer) -> dict[str, Tensor]:
    lstm = layer.cell == "lstm"
    h, c = layer.h.clone(), layer.c.clone()
    out = strided(*layer.d_out.shape, dtype=layer.projected.dtype)
    cells = strided(*layer.d_out.shape, dtype=torch.float32)
    loops.forward_loop(
        layer.cell,
        layer.projected,
        layer.weight_hh,
        layer.bias_n,
        h,
        c if lstm else None,
        layer.lengths,
        layer.reverse,
        out,
        cells if lstm else None,
    )
    return {"h": h, "out": out} | ({"c": c, "cells": cells} if lstm else {})


def run_backward(loops: Any, layer: Layer, expected: Expected) -> dict[str, Tensor]:
    lstm, dtype = layer.cell == "lstm", layer.projected.dtype
    dh, dc = layer.dh.clone(), layer.dc.clone()
    before = poisoned(expected.before, layer, torch.float32 if lstm else dtype)
    d_gates = strided(*expected.gates.shape, dtype=dtype)
    loops.backward_loop(
        layer.cell,
        poisoned(expected.gates, layer, dtype),
        before if layer.cell in ("gru", "lstm") else None,
        layer.weight_hh,
        layer.d_out,
        dh,
        dc if lstm else None,
        d_gates,
        layer.lengths,
        layer.reverse,
    )
    return {"dh": dh, "d_gates": d_gates} | ({"dc": dc} if lstm else {})


def check(got: dict[str, Tensor], expected: Expected, layer: Layer) -> None:
    for name, tensor in got.items():
        assert error(tensor, getattr(expected, name)) < TOLERANCE[layer.projected.dtype], name
        if name in ("out", "cells", "d_gates") and layer.lengths is not None:
            assert not tensor[torch.arange(len(tensor))[:, None] >= layer.lengths].any(), name


CELLS = pytest.mark.parametrize("cell", ["tanh", "relu", "gru", "lstm"])


def check_both(loops: Any, layer: Layer) -> None:
    expected = expect(layer)
    check(run_forward(loops, layer), expected, layer)
    check(run_backward(loops, layer, expected), expected, layer)


@CELLS
@pytest.mark.parametrize(
    ("heads", "directions", "lengths", "dtype"),
    [
        (1, 1, None, torch.float32),
        (3, 2, RAGGED, torch.float32),
        (1, 1, RAGGED, torch.bfloat16),
    ],
)
def test_loops_agree_with_the_steps(loops, cell, heads, directions, lengths, dtype):
    check_both(loops, make_layer(cell, heads=heads, directions=directions, lengths=lengths, dtype=dtype))


# Each number of heads and directions, with and without lengths; each type of numbers occurs with each of these values.
EVERYWHERE = [
    (*combination, dtype)
    for combination, dtype in zip(
        itertools.product([1, 3], [1, 2], [None, RAGGED]),
        itertools.cycle([torch.float32, torch.bfloat16, torch.float16]),
        strict=False,
    )
]


@pytest.mark.slow
@CELLS
@pytest.mark.parametrize(("heads", "directions", "lengths", "dtype"), EVERYWHERE)
def test_loops_agree_with_the_steps_everywhere(loops, cell, heads, directions, lengths, dtype):
    check_both(loops, make_layer(cell, heads=heads, directions=directions, lengths=lengths, dtype=dtype))


class Lockstep:
    """The programs of one launch as threads, which meet where those of a split kernel wait for each other.

    The interpreter runs program after program. Here each program is put aside with its place in the grid, and the last
    one starts them all. This does not cover the order of memory accesses on a GPU.
    """

    def __init__(self, loops: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self._place = threading.local()
        self._waiting: list[tuple[Callable[..., None], dict[str, Any], tuple[int, ...]]] = []
        self._barriers: dict[int, threading.Barrier] = {}
        self._failures: list[BaseException] = []
        self.num_meetings = 0
        self.grids: list[tuple[int, ...]] = []
        monkeypatch.setattr(loops.kernels, "_meet", self._meet)
        monkeypatch.setattr(InterpreterBuilder, "set_grid_idx", lambda builder, *index: self._set_place(index))
        monkeypatch.setattr(InterpreterBuilder, "grid_idx", property(lambda builder: self._place.index), raising=False)
        rewrite = InterpretedFunction.rewrite

        def rewrite_kernel(function: InterpretedFunction) -> Callable[..., Any]:
            rewritten = rewrite(function)
            if not function.fn.__name__.endswith("_kernel"):
                return rewritten

            @functools.wraps(rewritten)
            def put_aside(**arguments: Any) -> None:
                self._put_aside(rewritten, arguments)

            put_aside.__signature__ = inspect.signature(rewritten)  # type: ignore[attr-defined]
            return put_aside

        monkeypatch.setattr(InterpretedFunction, "rewrite", rewrite_kernel)

    def _set_place(self, index: tuple[int, ...]) -> None:
        self._place.index = index

    def _put_aside(self, kernel: Callable[..., None], arguments: dict[str, Any]) -> None:
        self._waiting.append((kernel, arguments, self._place.index))
        grid = interpreter_builder.grid_dim
        if len(self._waiting) < math.prod(grid):
            return
        self.grids.append(grid[:2])
        self._barriers = {group: threading.Barrier(grid[1], timeout=30) for group in range(grid[0])}
        threads = [threading.Thread(target=self._run, args=program) for program in self._waiting]
        self._waiting = []
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _run(self, kernel: Callable[..., None], arguments: dict[str, Any], index: tuple[int, ...]) -> None:
        self._place.index = index
        try:
            kernel(**arguments)
        except BaseException as failure:
            self._failures.append(failure)
            self._barriers[index[0]].abort()

    def _meet(self, counter: Any, num_arrivals: Any) -> None:
        self._barriers[self._place.index[0]].wait()
        self.num_meetings += 1


@pytest.fixture
def lockstep(loops: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Lockstep:
    """Make slices of 16 units, with room for 7 programs in parallel: with 3 slices, that is 2 groups per launch."""
    monkeypatch.setattr(loops, "MAX_WEIGHT_BYTES", 0)
    monkeypatch.setattr(loops, "num_processors", lambda device: 7)
    return Lockstep(loops, monkeypatch)


@CELLS
@pytest.mark.parametrize(
    ("heads", "directions", "lengths", "dtype"),
    [
        (1, 1, RAGGED, torch.float32),
        pytest.param(1, 1, RAGGED, torch.bfloat16, marks=pytest.mark.slow),
        pytest.param(1, 1, None, torch.float16, marks=pytest.mark.slow),
        pytest.param(2, 2, RAGGED, torch.float32, marks=pytest.mark.slow),
        pytest.param(2, 2, None, torch.bfloat16, marks=pytest.mark.slow),
    ],
)
def test_split_loops_agree_with_the_steps(loops, lockstep, cell, heads, directions, lengths, dtype):
    check_both(loops, make_layer(cell, heads=heads, directions=directions, units=40, lengths=lengths, dtype=dtype))
    # There is one tile of 16 videos for each direction and head, or two of 8; never more programs than run in parallel.
    assert lockstep.grids == [(2, 3)] * (2 if directions == 1 else 4)
    assert lockstep.num_meetings > 0


class OnDevice:
    """The real module, whose operands are copied to a device and, with what was written into them, back."""

    def __init__(self, loops: Any, device: str) -> None:
        self._loops = loops
        self._device = device

    def _call(self, loop: Callable[..., None], *operands: Any) -> None:
        moved = [x.to(self._device, copy=True) if isinstance(x, Tensor) else x for x in operands]
        loop(*moved)
        for operand, result in zip(operands, moved, strict=True):
            if isinstance(operand, Tensor):
                operand.copy_(result)

    def forward_loop(self, *operands: Any) -> None:
        self._call(self._loops.forward_loop, *operands)

    def backward_loop(self, *operands: Any) -> None:
        self._call(self._loops.backward_loop, *operands)


@pytest.mark.gpu
@CELLS
@pytest.mark.parametrize("units", [20, 64, 128, 256, 512])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("lengths", [None, [length * 5 for length in RAGGED]])
def test_loops_agree_with_the_steps_on_a_gpu(cell, units, dtype, lengths):
    """This covers what the interpreter leaves out: Gluon's layouts, and the barrier between the slices of a head."""
    layer = make_layer(cell, directions=2, units=units, frames=30, lengths=lengths, dtype=dtype)
    check_both(OnDevice(launch, "cuda"), layer)


def test_a_dtype_without_a_kernel(loops):
    layer = make_layer("tanh")
    layer = layer._replace(projected=layer.projected.double(), weight_hh=layer.weight_hh.double())
    assert not loops.is_supported("tanh", layer.weight_hh)
    with pytest.raises(ValueError, match="float64"):
        run_forward(loops, layer)


@pytest.mark.parametrize(
    ("cell", "units", "dtype", "slices", "warps", "largest_tile"),
    [
        ("tanh", 256, torch.bfloat16, 1, 8, 8),
        ("lstm", 128, torch.bfloat16, 1, 8, 8),
        ("lstm", 64, torch.bfloat16, 1, 4, 16),
        ("gru", 256, torch.bfloat16, 4, 8, 16),
        ("tanh", 512, torch.bfloat16, 4, 8, 8),
        ("tanh", 128, torch.float32, 1, 8, 8),
        ("tanh", 1, torch.float32, 1, 2, 16),
    ],
)
def test_plan(loops, cell, units, dtype, slices, warps, largest_tile):
    weight_hh = torch.empty(1, NUM_GATES[cell] * units, units, dtype=dtype, device="meta")
    plan = loops._plan(cell, weight_hh, 8, 1)
    assert (plan.num_slices, plan.num_warps, plan.tile) == (slices, warps, 8)
    assert loops._plan(cell, weight_hh, 8 * 133, 1).tile == largest_tile


class Compiled(NamedTuple):
    """The resources of a kernel that ptxas compiled, and the counts of instructions in its loop over time."""

    registers: int
    shared: int
    spills: int
    loop: dict[str, int]


def specialize(kernel: Any, cell: str, dtype: torch.dtype, constants: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Return signature, constants and attributes of a kernel whose pointers, sizes and strides are multiples of 16."""
    narrow = {torch.bfloat16: "*bf16", torch.float32: "*fp32"}[dtype]
    optional = {"cells", "c_first", "c_last", "dc_last", "dc_first", "before"}
    types = dict.fromkeys(optional | {"h_first", "h_last", "dh_last", "dh_first"}, "*fp32")
    types |= dict.fromkeys(("projected", "out", "weight_hh", "bias_n", "h_operand"), narrow)
    types |= dict.fromkeys(("gates", "d_out", "d_gates"), narrow)
    types |= {"lengths": "*i64", "counters": "*i32"}
    if cell == "gru":
        types["before"] = narrow
    absent = {"lstm": set(), "gru": optional - {"before"}}.get(cell, optional)
    constants = {name: constants.get(name) for name in kernel.arg_names if name in constants or name in absent}
    signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in kernel.arg_names}
    unaligned = {"num_videos", "num_frames", "first_group", "num_heads", "num_directions", *constants}
    attributes = {
        (index,): [["tt.divisibility", 16]] for index, name in enumerate(kernel.arg_names) if name not in unaligned
    }
    return signature, constants, attributes


def compile_for_hopper(
    kind: str, cell: str, units: int, *, dtype: torch.dtype = torch.bfloat16, videos: int = 8
) -> Compiled:
    """Compile the forward or backward kernel for sm_90 by the plan for `videos`, which needs no GPU."""
    kernel = getattr(triton_kernels, f"{kind}_kernel")
    weight_hh = torch.empty(1, NUM_GATES[cell] * units, units, dtype=dtype, device="meta")
    plan = launch._plan(cell, weight_hh, videos, 1)
    constants = {
        "CELL": cell,
        "NUM_GATES": NUM_GATES[cell],
        "TILE": plan.tile,
        "SLICE": plan.slice_width,
        "WHOLE": plan.whole_width,
        "NUM_SLICES": plan.num_slices,
        "BACKWARDS": 2,
        "HAS_LENGTHS": True,
        "HAS_CELLS": cell == "lstm",
        "PRECISION": plan.precision,
        "KEEP": plan.keep,
    }
    source = ASTSource(kernel, *specialize(kernel, cell, dtype, constants))
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": plan.num_warps})
    return read_cubin(compiled.asm["cubin"], compiled.metadata.shared)


def read_cubin(cubin: bytes, shared: int) -> Compiled:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        sass = run_tool(knobs.nvidia.nvdisasm.path, "-c", file.name)
        registers = re.search(r"REG:(\d+)", run_tool(knobs.nvidia.cuobjdump.path, "-res-usage", file.name))
    assert registers is not None
    lines = sass.splitlines()
    labels = {match[1]: index for index, line in enumerate(lines) if (match := re.match(r"(\.L_x_\d+):", line))}
    loops = []
    for end, line in enumerate(lines):
        target = re.search(r"\bBRA[^`]*`\((\.L_x_\d+)\)", line)
        if target and labels[target[1]] < end:
            loops.append(count_instructions(lines[labels[target[1]] : end + 1]))
    every = count_instructions(lines)
    loop = max(loops, key=lambda counts: counts["HMMA"])
    return Compiled(int(registers[1]), shared, every["LDL"] + every["STL"], loop)


def run_tool(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def count_instructions(lines: list[str]) -> dict[str, int]:
    text = "\n".join(lines)
    names = ("HMMA", "LDSM", "LDS", "STS", "BAR", "LDG", "STG", "MUFU", "LDL", "STL")
    return {name: len(re.findall(rf"\*/ +(?:@!?U?P\w+ +)?{name}\b", text)) for name in names}


SHAPES = [("tanh", 256), ("lstm", 128), ("lstm", 64), ("gru", 256), ("tanh", 512)]  # the last two are split


def check_compiled(kind: str, cell: str, units: int, videos: int) -> Compiled:
    compiled = compile_for_hopper(kind, cell, units, videos=videos)
    print(f"\n{kind} {cell} {units} videos={videos}: {compiled}")
    assert compiled.loop["HMMA"] > 0
    assert compiled.loop["LDL"] + compiled.loop["STL"] == 0
    return compiled


@pytest.mark.parametrize("kind", ["forward", "backward"])
def test_weights_stay_in_registers(kind):
    """Eight warps read 8 of their 16 KiB of h (16 k-steps, two at a time) and none of the 128 KiB of weights."""
    compiled = check_compiled(kind, "tanh", 256, videos=8)
    assert compiled.loop["LDSM"] <= 12


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "units"), SHAPES)
@pytest.mark.parametrize("kind", ["forward", "backward"])
@pytest.mark.parametrize("videos", [8, 8 * 133])
def test_no_spills_in_the_loop(kind, cell, units, videos):
    check_compiled(kind, cell, units, videos)
