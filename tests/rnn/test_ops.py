"""The operators meet what torch requires: schema, fake tensors, autograd, autocast, compile, export."""

import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.rnn import GRU, LSTM, RNN, ops
from pipeline.rnn.cells import NUM_GATES
from pipeline.rnn.dispatch import use_path


def arguments(cell: str, *, num_heads: int = 1, directions: int = 1, lengths: Any = None, bias: bool = True) -> tuple:
    torch.manual_seed(0)
    videos, frames, features, size, rows = 3, 5, 4, 6, NUM_GATES[cell] * 6

    def make(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    biases = (make(directions, rows), make(directions, rows)) if bias else (None, None)
    states = (make(directions, videos, size), make(directions, videos, size) if cell == "lstm" else None)
    return (
        make(videos, frames, features),
        make(directions, rows, features),
        make(directions, rows, size // num_heads),
        *biases,
        *states,
        lengths,
        cell,
        [False, True][:directions],
        True,
    )


CASES = [
    {"num_heads": num_heads, "directions": directions, "lengths": lengths, "bias": bias}
    for num_heads, directions, lengths, bias in (
        (1, 1, None, True),
        (1, 2, [5, 3, 4], True),
        (1, 1, [0, 5, 2], False),
        (3, 2, [3, 5, 5], True),
        (2, 1, None, False),
    )
]


@pytest.mark.parametrize("cell", NUM_GATES)
@pytest.mark.parametrize(
    "options", [pytest.param(case, marks=[pytest.mark.slow] * (i < 3)) for i, case in enumerate(CASES)], ids=str
)
def test_opcheck(cell: str, options: dict[str, Any]) -> None:
    lengths = options["lengths"] and torch.tensor(options["lengths"])
    torch.library.opcheck(ops.recurrent_layer, arguments(cell, **{**options, "lengths": lengths}))


@pytest.mark.parametrize("cell", NUM_GATES)
@pytest.mark.parametrize("options", CASES, ids=str)
def test_gradcheck(cell: str, options: dict[str, Any]) -> None:
    """Every gradient, also those of weights and initial states, is compared with finite differences."""
    lengths = options["lengths"] and torch.tensor(options["lengths"])
    given = arguments(cell, **{**options, "lengths": lengths})
    num_results = 3 if cell == "lstm" else 2
    assert torch.autograd.gradcheck(lambda *a: ops.recurrent_layer(*a)[:num_results], given, fast_mode=True)


@pytest.mark.gpu
@pytest.mark.parametrize("cell", NUM_GATES)
@pytest.mark.parametrize("options", CASES, ids=str)
def test_opcheck_on_a_gpu(cell: str, options: dict[str, Any]) -> None:
    lengths = options["lengths"] and torch.tensor(options["lengths"])
    given = [
        a.detach().float().cuda().requires_grad_() if isinstance(a, Tensor) and a.is_floating_point() else a
        for a in arguments(cell, **{**options, "lengths": lengths})
    ]
    torch.library.opcheck(ops.recurrent_layer, tuple(given))


def test_backward_opcheck() -> None:
    given = arguments("lstm", lengths=torch.tensor([5, 3, 4]))
    detached = [a.detach() if isinstance(a, Tensor) else a for a in given]
    output, h, c, kept = ops.recurrent_layer(*detached)
    backward = (output, h, c, *detached[:8], output, kept, "lstm", [False], True)
    torch.library.opcheck(ops.recurrent_layer_backward, backward)


def test_a_gradient_of_a_call_that_kept_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected keep=True"):
        ops.recurrent_layer(*arguments("gru")[:-1], False)


@pytest.mark.parametrize("lengths", [[6, 1, 1], [-1, 1, 1], [5, 5]])
def test_lengths_are_checked_by_the_operator_too(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="expected 3 numbers from 0 to 5"):
        ops.recurrent_layer(*arguments("gru", lengths=torch.tensor(lengths)))


def modules() -> list[torch.nn.Module]:
    torch.manual_seed(0)
    return [
        RNN(4, 6, nonlinearity="relu"),
        GRU(4, 6, num_layers=2, num_heads=3),
        LSTM(4, 6, num_layers=2, bidirectional=True),
    ]


def gradients(module: Any, parameters: list[Tensor], *given: Any) -> list[Tensor]:
    outputs, _ = module(*given)
    return [outputs, *torch.autograd.grad(outputs.square().sum(), parameters)]


@pytest.mark.parametrize("module", modules(), ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("lengths", [None, [7, 4]], ids=["equal", "ragged"])
def test_compiles_to_one_graph(module: torch.nn.Module, lengths: Any) -> None:
    compile_and_compare(module, lengths, backend="aot_eager")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_compiles_with_inductor() -> None:
    compile_and_compare(LSTM(4, 6, num_layers=2, bidirectional=True), [7, 4], backend="inductor")


@pytest.mark.gpu
@pytest.mark.parametrize("lengths", [None, [7, 4]], ids=["equal", "ragged"])
def test_compiles_with_inductor_on_a_gpu(lengths: Any) -> None:
    compile_and_compare(LSTM(4, 6, num_layers=2, bidirectional=True).cuda(), lengths, backend="inductor")


def compile_and_compare(module: torch.nn.Module, lengths: Any, backend: str) -> None:
    x = torch.randn(2, 7, 4).to(next(module.parameters()).device)
    given = (x, None, None if lengths is None else torch.tensor(lengths))
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    parameters = list(module.parameters())
    with use_path("ours"):
        expected = gradients(module, parameters, *given)
    for a, b in zip(gradients(compiled, parameters, *given), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_compiled_code_checks_lengths_when_it_runs() -> None:
    torch.compiler.reset()
    compiled = torch.compile(GRU(4, 6), fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 7, 4)
    compiled(x, None, torch.tensor([7, 4]))
    for lengths in ([8, 4], [7, 0]):
        with pytest.raises(ValueError, match="expected 1 to 7, the number of frames of x"):
            compiled(x, None, torch.tensor(lengths))


@pytest.mark.parametrize("module", modules(), ids=lambda m: type(m).__name__)
def test_exports(module: torch.nn.Module) -> None:
    lengths = torch.tensor([7, 4])
    exported = torch.export.export(module, (torch.randn(2, 7, 4), None, lengths))
    names = {str(node.target) for node in exported.graph.nodes}
    assert "framescribe.recurrent_layer.default" in names
    x = torch.randn(2, 7, 4)
    with use_path("ours"):
        torch.testing.assert_close(exported.module()(x, None, lengths)[0], module(x, None, lengths)[0])


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_autocast_casts_operands_and_not_states(device: str) -> None:
    torch.manual_seed(0)
    module, x = GRU(8, 16).to(device), torch.randn(2, 30, 8).to(device)
    expected, expected_state = module.double()(x.double())
    module.float()
    with use_path("ours"), torch.autocast(device, dtype=torch.bfloat16):
        outputs, state = module(x)
    assert (outputs.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(outputs.double(), expected, rtol=0, atol=0.02)
    torch.testing.assert_close(state.double(), expected_state, rtol=0, atol=0.02)
    outputs.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.any() for p in module.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_modules(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module, x = LSTM(8, 16).to(dtype), torch.randn(2, 30, 8).to(dtype)
    outputs, state = module(x, None, torch.tensor([30, 11]))
    assert (outputs.dtype, state.c.dtype) == (dtype, dtype)
    expected, _ = module.double()(x.double(), None, torch.tensor([30, 11]))
    torch.testing.assert_close(outputs.double(), expected, rtol=0, atol=5e-3)
