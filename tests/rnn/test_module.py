"""RNN, GRU and LSTM are compared with torch.nn's modules, over random shapes and ragged lengths.

The comparisons cover outputs, final states and all gradients.
"""

import doctest
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipeline import rnn
from pipeline.rnn import GRU, LSTM, RNN, LSTMState
from pipeline.rnn.dispatch import use_path

OUR_PATHS = pytest.mark.parametrize("path", ["reference", "ours"])
KINDS: dict[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module], dict[str, Any]]] = {
    "tanh": (RNN, nn.RNN, {"nonlinearity": "tanh"}),
    "relu": (RNN, nn.RNN, {"nonlinearity": "relu"}),
    "gru": (GRU, nn.GRU, {}),
    "lstm": (LSTM, nn.LSTM, {}),
}


@dataclass
class Case:
    kind: str
    options: dict[str, Any]
    sizes: tuple[int, int]
    x: Tensor
    state: tuple[Tensor, ...] | None
    lengths: Tensor | None

    def pair(self) -> tuple[nn.Module, nn.Module]:
        """Return our module and torch's, with the same weights, loaded strictly in both directions."""
        ours_class, torch_class, extra = KINDS[self.kind]
        ours = ours_class(*self.sizes, **self.options, **extra).to(self.x.dtype)
        theirs = torch_class(*self.sizes, **self.options, **extra, batch_first=True).to(self.x.dtype)
        theirs.load_state_dict(ours.state_dict(), strict=True)
        ours.load_state_dict(theirs.state_dict(), strict=True)
        return ours, theirs


@st.composite
def cases(draw: st.DrawFn, dtype: torch.dtype = torch.float64) -> Case:
    num_videos, num_frames = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    features, hidden = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    options = {
        "num_layers": draw(st.integers(1, 3)),
        "bidirectional": draw(st.booleans()),
        "bias": draw(st.booleans()),
    }
    kind = draw(st.sampled_from(sorted(KINDS)))
    torch.manual_seed(draw(st.integers(0, 1000)))
    x = torch.randn(num_videos, num_frames, features, dtype=dtype)
    state_shape = (options["num_layers"] * (1 + options["bidirectional"]), num_videos, hidden)
    parts = tuple(torch.randn(state_shape, dtype=dtype) for _ in range(2 if kind == "lstm" else 1))
    lengths = draw(st.none() | st.lists(st.integers(1, num_frames), min_size=num_videos, max_size=num_videos))
    return Case(
        kind,
        options,
        (features, hidden),
        x,
        parts if draw(st.booleans()) else None,
        None if lengths is None else torch.tensor(lengths),
    )


def as_state(parts: tuple[Tensor, ...] | None) -> Any:
    return parts if parts is None or len(parts) == 2 else parts[0]


def as_parts(state: Any) -> tuple[Tensor, ...]:
    return tuple(state) if isinstance(state, tuple) else (state,)


def run_torch(module: nn.Module, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
    if lengths is None:
        return module(x, state)
    packed, final = module(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False), state)
    return pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])[0], final


def everything(run: Callable[..., tuple[Tensor, Any]], module: nn.Module, case: Case) -> dict[str, Tensor]:
    """Return outputs, final state and the gradients of x, initial state and weights, for a random linear loss."""
    x = case.x.clone().requires_grad_()
    parts = None if case.state is None else tuple(part.clone().requires_grad_() for part in case.state)
    outputs, final = run(module, x, as_state(parts), case.lengths)
    results = {"outputs": outputs} | {f"final {i}": part for i, part in enumerate(as_parts(final))}
    generator = torch.Generator().manual_seed(0)
    loss = sum((r * torch.randn(r.shape, generator=generator, dtype=r.dtype)).sum() for r in results.values())
    weights = dict(module.named_parameters())
    inputs = {"x": x} | weights | {f"initial {i}": part for i, part in enumerate(parts or ())}
    gradients = torch.autograd.grad(loss, list(inputs.values()))
    return results | {f"d {name}": gradient for name, gradient in zip(inputs, gradients, strict=True)}


def run_ours(module: nn.Module, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
    return module(x, state, lengths)


def assert_same(ours: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert ours.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            ours[name], tensor, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@OUR_PATHS
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_agrees_with_torch_in_float64(path: Any, case: Case) -> None:
    ours, theirs = case.pair()
    with use_path(path):
        results = everything(run_ours, ours, case)
    assert_same(results, everything(run_torch, theirs, case), 1e-10)


@OUR_PATHS
@settings(max_examples=40, deadline=None)
@given(case=cases(torch.float32))
def test_agrees_with_torch_in_float32(path: Any, case: Case) -> None:
    ours, theirs = case.pair()
    with use_path(path):
        results = everything(run_ours, ours, case)
    assert_same(results, everything(run_torch, theirs, case), 1e-5)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_agrees_with_torch_at_a_working_size(kind: str) -> None:
    torch.manual_seed(0)
    x, lengths = torch.randn(3, 80, 48, dtype=torch.float64), torch.tensor([80, 17, 63])
    case = Case(kind, {"num_layers": 2, "bidirectional": True}, (48, 32), x, None, lengths)
    ours, theirs = case.pair()
    assert_same(everything(run_ours, ours, case), everything(run_torch, theirs, case), 1e-10)


@OUR_PATHS
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_padding_content_never_matters(path: Any, case: Case) -> None:
    assume(case.lengths is not None)
    ours, _ = case.pair()
    with use_path(path):
        expected = everything(run_ours, ours, case)
        for index, length in enumerate(case.lengths.tolist()):
            case.x[index, length:] = float("nan")
        poisoned = everything(run_ours, ours, case)
    assert_same(poisoned, expected, 0)
    for index, length in enumerate(case.lengths.tolist()):
        assert not poisoned["outputs"][index, length:].any()
        assert not poisoned["d x"][index, length:].any()


@OUR_PATHS
@settings(max_examples=40, deadline=None)
@given(case=cases(), cuts=st.lists(st.integers(1, 8), max_size=4))
def test_chunks_with_carried_state_equal_the_whole(path: Any, case: Case, cuts: list[int]) -> None:
    case.options["bidirectional"], case.state, case.lengths = False, None, None
    ours, _ = case.pair()
    with use_path(path):
        expected, expected_state = ours(case.x)
        num_frames = case.x.shape[1]
        bounds = sorted({0, num_frames, *(cut for cut in cuts if cut < num_frames)})
        state, outputs = None, []
        for start, stop in itertools.pairwise(bounds):
            output, state = ours(case.x[:, start:stop], state)
            outputs.append(output)
    torch.testing.assert_close(torch.cat(outputs, dim=1), expected, rtol=0, atol=1e-12)
    for part, expected_part in zip(as_parts(state), as_parts(expected_state), strict=True):
        torch.testing.assert_close(part, expected_part, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_same_seed_gives_torch_initial_weights(kind: str) -> None:
    ours_class, torch_class, extra = KINDS[kind]
    torch.manual_seed(3)
    ours = ours_class(7, 5, num_layers=2, bidirectional=True, **extra).state_dict()
    torch.manual_seed(3)
    theirs = torch_class(7, 5, num_layers=2, bidirectional=True, **extra).state_dict()
    assert list(ours) == list(theirs)
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def test_dropout_works_between_layers_and_in_training_only() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 50, 4)
    two, one = GRU(4, 6, num_layers=2, dropout=0.5), GRU(4, 6, num_layers=1, dropout=0.5)
    assert torch.equal(one(x)[0], one(x)[0]), "a single layer has nothing between layers"
    first, second = two(x)[0], two(x)[0]
    assert not torch.allclose(first, second)
    two.eval()
    assert torch.equal(two(x)[0], two(x)[0])
    two.train().dropout = 1.0  # All is dropped: layer 1 reads zeros, whatever x is.
    torch.testing.assert_close(two(x)[0], two(torch.randn(2, 50, 4))[0])


def test_states_keep_full_precision_under_autocast() -> None:
    torch.manual_seed(0)
    module, x = LSTM(8, 16, num_layers=2, bidirectional=True), torch.randn(2, 40, 8)
    expected, _ = module(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, state = module(x.bfloat16(), lengths=torch.tensor([40, 31]))
    assert (outputs.dtype, state.c.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(outputs[0].float(), expected[0], rtol=0, atol=0.02)


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape)


@pytest.mark.parametrize(
    ("x", "state", "lengths", "message"),
    [
        (zeros(5, 3), None, None, "x: got 2 dimensions [5, 3], expected 3"),
        (zeros(2, 5, 4), None, None, "x: got 4 features, expected 3"),
        (zeros(2, 0, 3), None, None, "x: got 2 videos of 0 frames, expected at least one"),
        (zeros(2, 5, 3).double(), None, None, "x: got torch.float64, expected torch.float32"),
        (zeros(2, 5, 3).to("meta"), None, None, "x: got device meta, expected cpu"),
        (zeros(2, 5, 3), zeros(1, 2, 9), None, "state: got shape [1, 2, 9], expected [1, 2, 4]"),
        (zeros(2, 5, 3), zeros(1, 2, 4).double(), None, "state: got torch.float64, expected torch.float32"),
        (zeros(2, 5, 3), (zeros(1, 2, 4),) * 2, None, "state: got tuple, expected one tensor of shape [1, 2, 4]"),
        (zeros(2, 5, 3), None, torch.tensor([5, 0]), "lengths: got [0], expected 1 to 5"),
        (zeros(2, 5, 3), None, torch.tensor([-1, 6]), "lengths: got [-1, 6], expected 1 to 5"),
        (zeros(2, 5, 3), None, torch.tensor([5, 5, 5]), "lengths: got shape [3], expected [2]"),
        (
            zeros(2, 5, 3),
            None,
            torch.tensor([5.0, 5.0]),
            "lengths: got torch.float32 tensor, expected an integer tensor",
        ),
        (zeros(2, 5, 3), None, [5, 5], "lengths: got list, expected an integer tensor"),
    ],
)
def test_bad_input_names_got_and_expected(x: Tensor, state: Any, lengths: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        GRU(3, 4)(x, state, lengths)


@pytest.mark.parametrize("state", [zeros(1, 2, 4), (zeros(1, 2, 4),), LSTMState(zeros(1, 2, 4), zeros(1, 1, 4))])
def test_lstm_refuses_half_a_state(state: Any) -> None:
    with pytest.raises(ValueError, match=r"expected.*\[1, 2, 4\]"):
        LSTM(3, 4)(zeros(2, 5, 3), state)


def test_all_problems_are_reported_in_one_error() -> None:
    with pytest.raises(ValueError, match=r"(?s)4 features.*lengths: got \[9\].*state: got shape \[1, 1, 4\]"):
        GRU(3, 4)(zeros(2, 5, 4), zeros(1, 1, 4), torch.tensor([9, 5]))


@pytest.mark.parametrize(
    "options", [{"hidden_size": 0}, {"num_layers": 0}, {"dropout": 1.5}, {"nonlinearity": "sigmoid"}]
)
def test_bad_settings_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="got"):
        RNN(**{"input_size": 3, "hidden_size": 4, **options})


def test_the_examples_of_the_package_run() -> None:
    results = doctest.testmod(rnn)
    assert results.failed == 0
    assert results.attempted > 8
