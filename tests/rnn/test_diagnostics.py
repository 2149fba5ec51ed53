"""The measured gradients are compared with explicit loops, networks solved by hand, and known matrices."""

import doctest
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.rnn import GRU, LSTM, RNN, diagnostics
from pipeline.rnn.diagnostics import GATES, GradientFlow, observe, spectral_radii, spectral_radius

KINDS: dict[str, Callable[..., Any]] = {
    "tanh": RNN,
    "relu": lambda *sizes, **options: RNN(*sizes, nonlinearity="relu", **options),
    "gru": GRU,
    "lstm": LSTM,
}


def network(kind: str, hidden: int, weight_hh: Tensor, **options: Any) -> Any:
    """Make a network without biases, whose input reaches all units in the same way."""
    module = KINDS[kind](1, hidden, bias=False, **options).double()
    with torch.no_grad():
        module.weight_ih_l0.fill_(1.0)
        module.weight_hh_l0.copy_(weight_hh)
    return module


def last_frame(outputs: Tensor) -> Tensor:
    return outputs[:, -1].sum()


def each_frame(outputs: Tensor) -> Tensor:
    return outputs.square().sum()


@pytest.mark.parametrize("loss", [last_frame, each_frame])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_norms_equal_those_of_an_explicit_loop(kind: str, loss: Callable[[Tensor], Tensor]) -> None:
    """The loop runs a cell of torch.nn frame by frame, with `retain_grad` on every state."""
    torch.manual_seed(0)
    module = KINDS[kind](3, 4).double()
    cell_class = {"gru": nn.GRUCell, "lstm": nn.LSTMCell}.get(kind, nn.RNNCell)
    cell = cell_class(3, 4, **({"nonlinearity": kind} if cell_class is nn.RNNCell else {})).double()
    cell.load_state_dict({name.removesuffix("_l0"): tensor for name, tensor in module.state_dict().items()})
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    h: Any = torch.zeros(2, 4, dtype=torch.float64)
    c, states = h, []
    for t in range(7):
        if kind == "lstm":
            h, c = cell(x[:, t], (h, c))
        else:
            h = cell(x[:, t], h)
        h.retain_grad()
        states.append(h)
    loss(torch.stack(states, dim=1)).backward()
    expected = torch.stack([state.grad.norm() for state in states])
    with observe(module) as observed:
        outputs, _ = module(x)
    norms = observed.norms(loss(outputs))
    assert norms.shape == (1, 1, 7)
    torch.testing.assert_close(norms[0, 0], expected)
    assert all(parameter.grad is None for parameter in module.parameters())


def test_norms_of_a_ragged_batch_are_over_live_videos_and_nan_where_there_is_none() -> None:
    torch.manual_seed(0)
    module = GRU(3, 4, num_layers=2, bidirectional=True).double()
    x, lengths = torch.randn(2, 6, 3, dtype=torch.float64), [5, 2]

    def norms(x: Tensor, lengths: list[int]) -> Tensor:
        with observe(module) as observed:
            outputs, state = module(x, lengths=torch.tensor(lengths))
        return observed.norms(outputs.sum() + state.sum())

    squares = norms(x[:1], [5]).square()
    squares[:, :, :2] += norms(x[1:], [2]).square()[:, :, :2]
    torch.testing.assert_close(norms(x, lengths), squares.sqrt(), equal_nan=True)
    assert squares[..., 5].isnan().all()
    assert squares[..., :5].isfinite().all()


def flow_of(module: Any, x: Tensor, loss: Callable[[Tensor], Tensor] = each_frame, **options: Any) -> GradientFlow:
    with observe(module) as observed:
        outputs, _ = module(x, **options)
    return observed.flow(loss(outputs))


def test_half_the_identity_halves_the_gradient_with_each_frame() -> None:
    module = network("relu", 3, 0.5 * torch.eye(3))
    flow = flow_of(module, torch.ones(2, 9, 1, dtype=torch.float64), last_frame)
    torch.testing.assert_close(flow.norms[0, 0], 0.5 ** torch.arange(9, dtype=torch.float64))
    assert flow.longest == pytest.approx(0.5)
    assert flow.reach == pytest.approx(24)
    assert flow.verdict == "healthy", "2^-8 is small, but not 0"
    assert flow_of(module, torch.ones(2, 30, 1, dtype=torch.float64), last_frame).verdict == "vanishing"


def test_relu_that_starts_with_the_identity_keeps_the_gradient() -> None:
    module = RNN(2, 5, nonlinearity="relu", recurrent_init="identity").double()
    with torch.no_grad():
        module.weight_ih_l0.abs_()
    flow = flow_of(module, torch.rand(1, 50, 2, dtype=torch.float64), last_frame)
    torch.testing.assert_close(flow.norms, torch.ones(1, 1, 50, dtype=torch.float64))
    assert flow.verdict == "healthy"
    assert flow.reach > 1e9


def test_twice_the_identity_explodes() -> None:
    module = network("relu", 3, 2 * torch.eye(3))
    flow = flow_of(module, torch.ones(1, 20, 1, dtype=torch.float64), last_frame)
    assert flow.longest == pytest.approx(2)
    assert flow.reach == math.inf
    assert flow.verdict == "exploding"


def test_the_gradient_of_an_lstm_decays_by_its_forget_gate() -> None:
    """The biases alone set the gates: f = 0.9, i and o open. dL/dc decays by f, and W_hg makes dL/dh a trace of it."""
    module = LSTM(1, 1).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.bias_ih_l0.copy_(torch.tensor([9.0, math.log(9), 0.0, 9.0]))
        module.weight_hh_l0[2] = 1e-6
    flow = flow_of(module, torch.zeros(1, 40, 1, dtype=torch.float64), last_frame)
    ratios = flow.norms[0, 0, 2:] / flow.norms[0, 0, 1:-1]
    torch.testing.assert_close(ratios, torch.full((38,), 0.9, dtype=torch.float64), rtol=1e-3, atol=0)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_flow_starts_at_the_last_frame_forward_and_at_the_first_frame_in_reverse(num_layers: int) -> None:
    torch.manual_seed(0)
    module = RNN(2, 3, num_layers=num_layers, bidirectional=True).double()
    x = torch.randn(1, 8, 2, dtype=torch.float64)

    def norms(loss: Callable[[Tensor], Tensor]) -> Tensor:
        with observe(module) as observed:
            outputs, _ = module(x)
        return observed.norms(loss(outputs))

    flow = flow_of(module, x)
    torch.testing.assert_close(flow.norms[:, 0], norms(lambda y: y[:, -1].norm())[:, 0].flip(1))
    torch.testing.assert_close(flow.norms[:, 1], norms(lambda y: y[:, 0].norm())[:, 1])


def test_a_flow_begins_at_the_last_frame_that_the_loss_reads_and_is_averaged_over_videos() -> None:
    torch.manual_seed(0)
    module = GRU(2, 3).double()
    x = torch.randn(3, 9, 2, dtype=torch.float64)
    read = [6, 3, None]  # the last frame that has a label; the third video has no label

    def loss(outputs: Tensor) -> Tensor:
        return sum((outputs[b, : t + 1].square().sum() for b, t in enumerate(read) if t is not None), torch.tensor(0))

    flow = flow_of(module, x, loss, lengths=torch.tensor([9, 5, 9]))
    squares = []
    for b, t in enumerate(read[:2]):
        with observe(module) as observed:
            outputs, _ = module(x[b : b + 1])
        squares.append(observed.norms(outputs[:, t].norm())[0, 0, : t + 1].flip(0).square())
    expected = torch.cat([(squares[0][:4] + squares[1]) / 2, squares[0][4:]]).sqrt()
    torch.testing.assert_close(flow.norms[0, 0], expected)


def test_a_loss_that_reads_no_frame_and_a_loss_of_nan_are_handled() -> None:
    module, x = GRU(2, 3), torch.randn(1, 4, 2)
    nothing = flow_of(module, x, lambda outputs: 0 * outputs.sum())
    assert (nothing.norms.shape, nothing.longest, nothing.verdict) == ((1, 1, 1), 1, "healthy")
    broken = flow_of(module, x, lambda outputs: math.nan * outputs.sum())
    assert (broken.longest, broken.verdict) == (math.inf, "exploding")


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_of_the_loss_does_not_matter(scale: float) -> None:
    torch.manual_seed(0)
    module, x = GRU(2, 3), torch.randn(2, 20, 2)
    flow = flow_of(module, x, lambda outputs: scale * each_frame(outputs))
    torch.testing.assert_close(flow.norms, flow_of(module, x).norms)


def test_a_gradient_that_underflowed_counts_as_the_smallest_number() -> None:
    module = network("relu", 2, torch.zeros(2, 2))
    flow = flow_of(module, torch.ones(1, 12, 1, dtype=torch.float64), last_frame)
    assert flow.norms[0, 0, 1:].eq(0).all()
    assert flow.verdict == "vanishing"


def test_observing_ends_with_the_block_and_changes_no_result() -> None:
    module, x = LSTM(3, 4, num_layers=2), torch.randn(2, 6, 3)
    before, _ = module(x)
    with observe(module) as observed:
        torch.testing.assert_close(module(x)[0], before)
        states = observed._states
    module(x)
    assert observed._states is states
    with pytest.raises(RuntimeError, match="not run"), observe(module) as unused:
        unused.norms(torch.zeros(()))


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[3.0, 0.0], [0.0, -4.0]], 4.0),
        ([[0.0, -2.0], [2.0, 0.0]], 2.0),  # eigenvalues +-2i
        ([[0.5, 100.0], [0.0, 0.25]], 0.5),  # the largest singular value is over 100
        ([[math.nan, 0.0], [0.0, 1.0]], math.inf),
    ],
)
def test_spectral_radius_of_known_matrices(matrix: list[list[float]], expected: float) -> None:
    assert spectral_radius(torch.tensor(matrix), 1).tolist() == [[pytest.approx(expected)]]


def test_spectral_radius_of_each_layer_direction_gate_and_head() -> None:
    module = GRU(2, 4, num_layers=2, bidirectional=True, num_heads=2)
    expected = torch.arange(24.0, dtype=torch.float64).reshape(2, 2, 3, 2)
    with torch.no_grad():
        for layer in range(2):
            for direction, suffix in enumerate(("", "_reverse")):
                blocks = [scale * torch.eye(2) for scale in expected[layer, direction].flatten()]
                getattr(module, f"weight_hh_l{layer}{suffix}").copy_(torch.cat(blocks))
    torch.testing.assert_close(spectral_radii(module), expected)
    assert len(GATES["gru"]) == expected.shape[2]


@pytest.mark.parametrize("num_heads", [1, 2])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_initial_recurrent_weights(kind: str, num_heads: int) -> None:
    """The block of each gate and head is as requested, and every other weight is as torch.nn draws it."""

    def start(recurrent_init: str) -> Any:
        torch.manual_seed(0)
        return KINDS[kind](3, 6, num_layers=2, num_heads=num_heads, recurrent_init=recurrent_init)

    uniform = start("uniform").state_dict()
    for recurrent_init in ("orthogonal", "identity"):
        module = start(recurrent_init)
        for name, parameter in module.named_parameters():
            if name.startswith("weight_hh"):
                for block in parameter.split(6 // num_heads):
                    eye = torch.eye(len(block))
                    torch.testing.assert_close(block @ block.T if recurrent_init == "orthogonal" else block, eye)
            elif name.startswith("bias") and recurrent_init == "identity":
                assert not parameter.any()
            else:
                assert torch.equal(parameter, uniform[name])
        radii = spectral_radii(module)
        torch.testing.assert_close(radii, torch.ones_like(radii), rtol=1e-5, atol=0)


def test_an_unknown_recurrent_init_is_refused() -> None:
    with pytest.raises(ValueError, match="recurrent_init: got 'zeros', expected one of 'uniform', 'orthogonal'"):
        GRU(2, 3, recurrent_init="zeros")  # type: ignore[arg-type]


def test_the_example_of_the_docstring() -> None:
    assert doctest.testmod(diagnostics, extraglobs={"torch": torch}).failed == 0
