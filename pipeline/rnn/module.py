"""The modules RNN, GRU and LSTM load their weights strictly from and into torch.nn's modules of the same name.

B videos, T frames, F features, H hidden units in N heads; D directions (1, or 2 when bidirectional). Batch first only.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from pipeline.rnn import dispatch, ops
from pipeline.rnn.cells import NUM_GATES, LSTMState, Weights

# (cell, x, weights of each direction, h, c or None, lengths or None) -> (outputs, h, c): see reference.run_layer.
LayerRunner = Callable[..., tuple[Tensor, Tensor, Tensor | None]]
RecurrentInit = Literal["uniform", "orthogonal", "identity"]


def check_lengths(lengths: object, num_videos: int, num_frames: int) -> list[str]:
    """Describe what is wrong with the lengths of the videos of a batch.

    Args:
        lengths: What the caller gave; it should be an integer tensor [num_videos] of values in 1..num_frames.
        num_videos: The number of videos of the batch.
        num_frames: The number of frames of the batch, padding included.

    Returns:
        One sentence for each problem; none where the lengths are right.
    """
    if not isinstance(lengths, Tensor) or lengths.dtype.is_floating_point or lengths.dtype == torch.bool:
        got = f"{lengths.dtype} tensor" if isinstance(lengths, Tensor) else type(lengths).__name__
        return [f"lengths: got {got}, expected an integer tensor"]
    if lengths.shape != (num_videos,):
        return [f"lengths: got shape {list(lengths.shape)}, expected [{num_videos}], one length for each row of x"]
    if torch.compiler.is_compiling():
        return []  # The values are known only when the compiled code runs: ops.checked_lengths checks them then.
    return ops.describe_outside(lengths, num_frames)


class _Recurrent(nn.Module):
    """The parent of RNN, GRU and LSTM: parameters, checks, and the loop over layers. Its state is one tensor.

    Its arguments are those of RNN, without nonlinearity.
    """

    cell: str
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
        num_heads: int = 1,
        recurrent_init: RecurrentInit = "uniform",
    ) -> None:
        """Make the parameters, by default those that torch.nn makes from the same seed.

        Args:
            input_size: Features per frame.
            hidden_size: Units of each layer and direction, H.
            num_layers: How many layers lie one above the other.
            bidirectional: Whether a second network reads each layer's input from the last frame to the first.
            dropout: The probability, 0 to 1, with which training drops an output between two layers.
            bias: Whether there are biases.
            num_heads: Into how many groups the units are split, a divisor of `hidden_size`. A unit's gates read the
                state of its own group alone, so that W_hh is block-diagonal: [gates * H, H / num_heads].
            recurrent_init: How W_hh starts, see `reset_parameters`.

        Raises:
            ValueError: A size is below 1 or not divisible, `dropout` is not a probability, or `recurrent_init` is not
                known.
        """
        super().__init__()
        sizes = {
            "input_size": input_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "num_heads": num_heads,
        }
        problems = [f"{name}: got {size}, expected at least 1" for name, size in sizes.items() if size < 1]
        if num_heads > 1 and hidden_size % num_heads:
            problems.append(f"num_heads: got {num_heads}, expected a divisor of hidden_size {hidden_size}")
        if not 0 <= dropout <= 1:
            problems.append(f"dropout: got {dropout}, expected a probability, 0 to 1")
        if recurrent_init not in get_args(RecurrentInit):
            expected = ", ".join(map(repr, get_args(RecurrentInit)))
            problems.append(f"recurrent_init: got {recurrent_init!r}, expected one of {expected}")
        if problems:
            raise ValueError("; ".join(problems))
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.bias = bias
        self.num_heads = num_heads
        self.recurrent_init = recurrent_init
        self._make_parameters()
        self.reset_parameters()

    @property
    def num_directions(self) -> int:
        """D: 2 when bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """D * H, the width of the outputs."""
        return self.num_directions * self.hidden_size

    def _make_parameters(self) -> None:
        """Make the parameters in torch.nn's order, with its names.

        The order is weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, then the same of _l0_reverse, then layer 1.
        """
        gates_size = NUM_GATES[self.cell] * self.hidden_size
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                width = self.input_size if layer == 0 else self.output_size
                setattr(self, f"weight_ih{suffix}", nn.Parameter(torch.empty(gates_size, width)))
                setattr(
                    self,
                    f"weight_hh{suffix}",
                    nn.Parameter(torch.empty(gates_size, self.hidden_size // self.num_heads)),
                )
                for name in ("bias_ih", "bias_hh") if self.bias else ():
                    setattr(self, f"{name}{suffix}", nn.Parameter(torch.empty(gates_size)))

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self.num_directions]

    def reset_parameters(self) -> None:
        """Initialise weights and biases from a uniform distribution in +-1/sqrt(H/N).

        They are drawn in torch.nn's order, so that a seed gives the same weights as there. Then the square block of
        W_hh of each gate and head becomes, by `recurrent_init`:

        uniform     what was drawn
        orthogonal  a random orthogonal matrix, which keeps all lengths (Saxe et al. 2014, arXiv 1312.6120)
        identity    the identity, with all biases 0; it is meant for relu (Le, Jaitly, Hinton 2015, arXiv 1504.00941)
        """
        size = self.hidden_size // self.num_heads
        bound = 1 / math.sqrt(size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        if self.recurrent_init == "uniform":
            return
        for name, parameter in self.named_parameters():
            if name.startswith("weight_hh"):
                for block in parameter.detach().split(size):
                    nn.init.orthogonal_(block) if self.recurrent_init == "orthogonal" else nn.init.eye_(block)
            elif name.startswith("bias") and self.recurrent_init == "identity":
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """Run all layers and directions over all frames.

        Args:
            x: [B, T, F], the features of the frames.
            state: The state before the first step, [num_layers * D, B, H]: layer by layer, forward before reverse, as
                in torch.nn. For LSTM an LSTMState, or a pair, of two such tensors. None for zeros.
            lengths: integer [B] in 1..T, the number of valid frames of each video; None when all T are valid.

        Returns:
            The outputs [B, T, D*H] of the last layer, forward before reverse, zero at padding; and the state after the
            last step of each video, laid out as `state`. Passed on with the next chunk of frames, this state continues
            the sequence, but not in a bidirectional network, whose reverse direction begins with the last frame.

        Raises:
            ValueError: The rank, width, dtype or device of an argument, a length, or the state is wrong.
        """
        return self.run(x, state, lengths, dispatch.run_layer)

    def run(self, x: Tensor, state: Any, lengths: Tensor | None, run_layer: LayerRunner) -> tuple[Tensor, Any]:
        """Run all layers as `forward` does, each of them by a given function.

        Args:
            x: As in `forward`.
            state: As in `forward`.
            lengths: As in `forward`.
            run_layer: What runs a layer: one of the paths of `dispatch`, or a function with the same results.

        Returns:
            The outputs and the state, as `forward`.

        Raises:
            ValueError: As in `forward`.
        """
        self._check(x, state, lengths)
        if lengths is not None and torch.compiler.is_compiling():
            lengths = ops.checked_lengths(lengths, x.shape[1])
        h, c = self._parts(self._zeros(x) if state is None else state)
        final_h: list[Tensor] = []
        final_c: list[Tensor] = []
        for layer in range(self.num_layers):
            if layer > 0:
                x = dropout(x, self.dropout, self.training)
            here = slice(layer * self.num_directions, (layer + 1) * self.num_directions)
            x, h_n, c_n = run_layer(self.cell, x, self.weights(layer), h[here], c if c is None else c[here], lengths)
            final_h.append(h_n)
            final_c += [] if c_n is None else [c_n]
        return x, self._joined(torch.cat(final_h), None if c is None else torch.cat(final_c))

    def weights(self, layer: int) -> list[Weights]:
        """Return the parameters of a layer, for each direction."""

        def named(name: str) -> Any:
            return getattr(self, name, None)

        return [
            Weights(
                named(f"weight_ih{suffix}"),
                named(f"weight_hh{suffix}"),
                named(f"bias_ih{suffix}"),
                named(f"bias_hh{suffix}"),
            )
            for suffix in self._suffixes(layer)
        ]

    def _zeros(self, x: Tensor) -> Any:
        return self.weight_hh_l0.new_zeros(self._state_shape(x))

    def _parts(self, state: Any) -> tuple[Tensor, Tensor | None]:
        """Split a state into h and c."""
        return state, None

    def _joined(self, h: Tensor, c: Tensor | None) -> Any:
        return h

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
        """Compare device and dtype with those of the weights. Under autocast any floating dtype is accepted."""
        weight = self.weight_hh_l0
        problems = []
        if tensor.device != weight.device:
            problems.append(f"{name}: got device {tensor.device}, expected {weight.device}, where the weights are")
        cast = torch.is_autocast_enabled(weight.device.type) and tensor.is_floating_point()
        if tensor.dtype != weight.dtype and not cast:
            problems.append(f"{name}: got {tensor.dtype}, expected {weight.dtype}, the dtype of the weights")
        return problems

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Load the weights. Raise one ValueError that names all weights that are not finite, before any is loaded."""
        problems = []
        for name, _ in self.named_parameters():
            weight = state_dict.get(prefix + name)
            num_bad = 0 if weight is None else int((~weight.isfinite()).sum())
            if weight is not None and num_bad:
                got = f"{num_bad} of {weight.numel()} numbers NaN or infinite"
                problems.append(f"{prefix}{name}: got {got}, expected finite ones; the training that made it diverged")
        if problems:
            raise ValueError("; ".join(problems))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """Return the settings that torch prints for the module."""
        return (
            f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, "
            f"bidirectional={self.bidirectional}, dropout={self.dropout}, bias={self.bias}, num_heads={self.num_heads}"
        )


class RNN(_Recurrent):
    """Elman network: h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), or relu instead of tanh. See cells.py.

    Args:
        input_size: F, the number of features per frame.
        hidden_size: H, the number of hidden units in each direction.
        nonlinearity: tanh or relu.
        num_layers: The number of layers, each of which reads the outputs of the layer before it.
        bidirectional: Whether each layer also runs from the last frame to the first.
        dropout: The probability, 0 to 1, that a value between two layers is set to zero in training.
        bias: Whether there are b_ih and b_hh.
        num_heads: N, the number of diagonal blocks of W_hh; it divides hidden_size.
        recurrent_init: How W_hh is initialised: uniform, orthogonal or identity, see `reset_parameters`.

    Raises:
        ValueError: A setting is out of its range.
    """

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
        num_heads: int = 1,
        recurrent_init: RecurrentInit = "uniform",
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity: got {nonlinearity!r}, expected 'tanh' or 'relu'")
        self.cell = self.nonlinearity = nonlinearity
        super().__init__(
            input_size,
            hidden_size,
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            bias=bias,
            num_heads=num_heads,
            recurrent_init=recurrent_init,
        )

    def extra_repr(self) -> str:
        """Return the settings that torch prints for the module."""
        return f"{super().extra_repr()}, nonlinearity={self.nonlinearity!r}"


class GRU(_Recurrent):
    """Gated recurrent unit, with the equations of `cells.gru_step`.

    Its arguments are those of RNN, without nonlinearity.
    """

    cell = "gru"


class LSTM(_Recurrent):
    """Long short-term memory, with the equations of `cells.lstm_step`. Its state is an LSTMState(h, c).

    Its arguments are those of RNN, without nonlinearity.
    """

    cell = "lstm"

    def _zeros(self, x: Tensor) -> LSTMState:
        return LSTMState(super()._zeros(x), super()._zeros(x))

    def _parts(self, state: Any) -> tuple[Tensor, Tensor | None]:
        return state

    def _joined(self, h: Tensor, c: Tensor | None) -> LSTMState:
        assert c is not None
        return LSTMState(h, c)

    def _state_problems(self, state: Any, shape: tuple[int, int, int]) -> list[str]:
        if not isinstance(state, tuple) or len(state) != 2:
            return [f"state: got {type(state).__name__}, expected LSTMState(h, c), two tensors of shape {list(shape)}"]
        return [problem for part in state for problem in super(LSTM, self)._state_problems(part, shape)]
