"""One step of a network as a module of its own, for runtimes that keep the state themselves (ONNX, a camera's loop)."""

from torch import Tensor, nn

from pipeline.rnn import reference
from pipeline.rnn.module import GRU, LSTM, RNN


class Step(nn.Module):
    """A causal network, one frame at a time: (x [B, F], *state) -> (output [B, H], *state after it).

    The state is h, for LSTM h and c, each [num_layers, B, H]; zeros before the first frame. The weights are those of
    `network`. ValueError on a bidirectional one, whose outputs depend on later frames.
    """

    def __init__(self, network: RNN | GRU | LSTM) -> None:
        super().__init__()
        if network.bidirectional:
            raise ValueError("Step: got a bidirectional network, expected one that reads forward only")
        self.network = network

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        before = state if isinstance(self.network, LSTM) else state[0]
        outputs, after = self.network.run(x.unsqueeze(1), before, None, reference.run_layer)
        return outputs.squeeze(1), *(after if isinstance(after, tuple) else (after,))
