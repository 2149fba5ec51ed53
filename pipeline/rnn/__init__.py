"""The recurrent network of this project.

This package knows nothing of video, and it imports nothing else of the project.

`RNN`, `GRU` and `LSTM` are used as torch.nn's with `batch_first=True`, and their weights load from and into those:

>>> import torch
>>> from pipeline.rnn import GRU, LSTM, Step
>>> x = torch.randn(2, 10, 6)  # 2 videos of 10 frames of 6 features
>>> network = GRU(6, 8, num_layers=2)
>>> outputs, state = network(x)
>>> outputs.shape, state.shape
(torch.Size([2, 10, 8]), torch.Size([2, 2, 8]))

`num_heads` splits the units into groups, of which each remembers for itself: a network as wide has a fraction of the
recurrent weights, as W_hh is block-diagonal. torch.nn has no such network.

>>> split = LSTM(6, 8, num_heads=2)
>>> split.weight_hh_l0.shape  # 4 gates of 8 units; each unit reads the 4 units of its own head
torch.Size([32, 4])

`Step` is a network of one direction, one frame at a time, for runtimes that keep the state themselves; it exports to
ONNX. Step by step it gives what the network gives:

>>> step, state = Step(network), torch.zeros(2, 2, 8)
>>> for frame in range(10):
...     output, state = step(x[:, frame], state)
...     assert torch.allclose(output, outputs[:, frame], atol=1e-6)
"""

from pipeline.rnn.cells import LSTMState
from pipeline.rnn.module import GRU, LSTM, RNN, check_lengths
from pipeline.rnn.reference import frame_mask
from pipeline.rnn.step import Step

__all__ = ["GRU", "LSTM", "RNN", "LSTMState", "Step", "check_lengths", "frame_mask"]
