"""RNN, GRU and LSTM modules whose weights load strictly from and into torch.nn's of the same name.

B videos, T frames, F features, H hidden; D directions (1, or 2 when bidirectional). Batch first only.
"""

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from pipeline.rnn.cells import LSTMState, gru_step, lstm_step, relu_step, tanh_step
from pipeline.rnn.reference import Step, unroll


def check_lengths(lengths: object, num_videos: int, num_frames: int) -> list[str]:
    """What is wrong with `lengths`, which should be an integer tensor [num_videos] of values in 1..num_frames."""
    if not isinstance(lengths, Tensor) or lengths.dtype.is_floating_point or lengths.dtype == torch.bool:
        got = f"{lengths.dtype} tensor" if isinstance(lengths, Tensor) else type(lengths).__name__
        return [f"lengths: got {got}, expected an integer tensor"]
    if lengths.shape != (num_videos,):
        return [f"lengths: got shape {list(lengths.shape)}, expected [{num_videos}], one length for each row of x"]
    outside = [int(n) for n in lengths if not 1 <= n <= num_frames]
    return [f"lengths: got {outside}, expected 1 to {num_frames}, the number of frames of x"] if outside else []


class _Recurrent(nn.Module):
    """What the three share: parameters, checks, the walk over layers and directions. Its state is one tensor."""

    _num_gates: ClassVar[int]
    _step: Step
    weight_hh_l0: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        problems = [f"{name}: got {size}, expected at least 1" for name, size in sizes.items() if size < 1]
        if not 0 <= dropout <= 1:
            problems.append(f"dropout: got {dropout}, expected a probability, 0 to 1")
        if problems:
            raise ValueError("; ".join(problems))
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.bias = bias
        self._make_parameters()
        self.reset_parameters()

    @property
    def num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """D * H, the width of the outputs."""
        return self.num_directions * self.hidden_size

    def _make_parameters(self) -> None:
        """weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, then _l0_reverse, then layer 1: as torch.nn has them."""
        gates_size = self._num_gates * self.hidden_size
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                width = self.input_size if layer == 0 else self.output_size
                setattr(self, f"weight_ih{suffix}", nn.Parameter(torch.empty(gates_size, width)))
                setattr(self, f"weight_hh{suffix}", nn.Parameter(torch.empty(gates_size, self.hidden_size)))
                for name in ("bias_ih", "bias_hh") if self.bias else ():
                    setattr(self, f"{name}{suffix}", nn.Parameter(torch.empty(gates_size)))

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self.num_directions]

    def reset_parameters(self) -> None:
        """Uniform in +-1/sqrt(H), weights and biases, drawn in the order of torch.nn: a seed gives the same weights."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """Run all layers and directions over all frames.

        x        [B, T, input_size]
        state    before the first step, [num_layers * D, B, H] (layer by layer, forward before reverse: the layout of
                 torch.nn, batch second); an LSTMState, or pair, of such for LSTM; None for zeros
        lengths  [B], the number of valid frames of each video; None when all T are

        Gives the last layer's outputs [B, T, D*H], forward | reverse, zero at padding, and the state after each video's
        last step, laid out as `state`: passed on with the next chunk of frames, it continues the sequence (not for
        bidirectional networks, whose reverse direction begins with the last frame).

        ValueError on a wrong rank, width, dtype, device, length or state.
        """
        self._check(x, state, lengths)
        states = self._initial_states(x, state)
        for layer in range(self.num_layers):
            if layer > 0:
                x = dropout(x, self.dropout, self.training)
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                index = layer * self.num_directions + direction
                output, states[index] = unroll(
                    self._step,
                    x,
                    states[index],
                    getattr(self, f"weight_ih{suffix}"),
                    getattr(self, f"weight_hh{suffix}"),
                    getattr(self, f"bias_ih{suffix}", None),
                    getattr(self, f"bias_hh{suffix}", None),
                    lengths=lengths,
                    reverse=direction == 1,
                )
                outputs.append(output)
            x = torch.cat(outputs, dim=2) if self.bidirectional else outputs[0]
        return x, self._final_state(states)

    def _initial_states(self, x: Tensor, state: Any) -> list[Any]:
        """One state for each layer and direction."""
        if state is None:
            state = self.weight_hh_l0.new_zeros(self._state_shape(x))
        return list(state.unbind(0))

    def _final_state(self, states: list[Any]) -> Any:
        return torch.stack(states)

    def _state_shape(self, x: Tensor) -> tuple[int, int, int]:
        return (self.num_layers * self.num_directions, x.shape[0], self.hidden_size)

    def _check(self, x: Tensor, state: Any, lengths: Tensor | None) -> None:
        if x.ndim != 3:
            raise ValueError(f"x: got {x.ndim} dimensions {list(x.shape)}, expected 3, [videos, frames, features]")
        problems = self._tensor_problems("x", x)
        if x.shape[2] != self.input_size:
            problems.append(f"x: got {x.shape[2]} features, expected {self.input_size} (input_size)")
        if 0 in x.shape[:2]:
            problems.append(f"x: got {x.shape[0]} videos of {x.shape[1]} frames, expected at least one of each")
        if lengths is not None:
            problems += check_lengths(lengths, *x.shape[:2])
        if state is not None:
            problems += self._state_problems(state, self._state_shape(x))
        if problems:
            raise ValueError(f"{type(self).__name__}: " + "; ".join(problems))

    def _state_problems(self, state: Any, shape: tuple[int, int, int]) -> list[str]:
        if not isinstance(state, Tensor):
            return [f"state: got {type(state).__name__}, expected one tensor of shape {list(shape)}"]
        problems = self._tensor_problems("state", state)
        if state.shape != shape:
            problems.append(
                f"state: got shape {list(state.shape)}, expected {list(shape)}, [layers * directions, videos, hidden]"
            )
        return problems

    def _tensor_problems(self, name: str, tensor: Tensor) -> list[str]:
        """Device and dtype against the weights'. Under autocast any floating dtype will do."""
        weight = self.weight_hh_l0
        problems = []
        if tensor.device != weight.device:
            problems.append(f"{name}: got device {tensor.device}, expected {weight.device}, where the weights are")
        cast = torch.is_autocast_enabled(weight.device.type) and tensor.is_floating_point()
        if tensor.dtype != weight.dtype and not cast:
            problems.append(f"{name}: got {tensor.dtype}, expected {weight.dtype}, the dtype of the weights")
        return problems

    def extra_repr(self) -> str:
        return (
            f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, "
            f"bidirectional={self.bidirectional}, dropout={self.dropout}, bias={self.bias}"
        )


class RNN(_Recurrent):
    """Elman network: h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), or relu in place of tanh. See cells.py."""

    _num_gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity: got {nonlinearity!r}, expected 'tanh' or 'relu'")
        super().__init__(
            input_size,
            hidden_size,
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            bias=bias,
        )
        self.nonlinearity = nonlinearity
        self._step = tanh_step if nonlinearity == "tanh" else relu_step

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, nonlinearity={self.nonlinearity!r}"


class GRU(_Recurrent):
    """Gated recurrent unit; equations in cells.gru_step."""

    _num_gates = 3
    _step = staticmethod(gru_step)


class LSTM(_Recurrent):
    """Long short-term memory; equations in cells.lstm_step. Its state is an LSTMState(h, c)."""

    _num_gates = 4
    _step = staticmethod(lstm_step)

    def _initial_states(self, x: Tensor, state: Any) -> list[Any]:
        h, c = (None, None) if state is None else state
        return [
            LSTMState(*parts)
            for parts in zip(super()._initial_states(x, h), super()._initial_states(x, c), strict=True)
        ]

    def _final_state(self, states: list[Any]) -> LSTMState:
        return LSTMState(torch.stack([state.h for state in states]), torch.stack([state.c for state in states]))

    def _state_problems(self, state: Any, shape: tuple[int, int, int]) -> list[str]:
        if not isinstance(state, tuple) or len(state) != 2:
            return [f"state: got {type(state).__name__}, expected LSTMState(h, c), two tensors of shape {list(shape)}"]
        return [problem for part in state for problem in super(LSTM, self)._state_problems(part, shape)]
