"""This module runs a recurrent network one frame at a time.

It is for runtimes that keep the state themselves: ONNX Runtime, or the loop of a camera.
"""

from torch import Tensor, nn

from pipeline.rnn import reference
from pipeline.rnn.module import GRU, LSTM, RNN


class Step(nn.Module):
    """A causal network as a module for one frame at a time.

    Args:
        network: The network, whose weights are used and not copied.

    Raises:
        ValueError: The network is bidirectional, so that its outputs depend on later frames.
    """

    def __init__(self, network: RNN | GRU | LSTM) -> None:
        super().__init__()
        if network.bidirectional:
            raise ValueError("Step: got a bidirectional network, expected one that reads forward only")
        self.network = network

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Run one frame.

        Args:
            x: [B, F], the features of the frame.
            *state: h, and for LSTM c, each [num_layers, B, H]; zeros before the first frame.

        Returns:
            The output [B, H], followed by the state after the frame, laid out as `state`.
        """
        before = state if isinstance(self.network, LSTM) else state[0]
        outputs, after = self.network.run(x.unsqueeze(1), before, None, reference.run_layer)
        return outputs.squeeze(1), *(after if isinstance(after, tuple) else (after,))
