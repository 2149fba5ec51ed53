"""The recurrent network of this project. Knows nothing of video, and imports nothing of the project."""

from pipeline.rnn.cells import LSTMState
from pipeline.rnn.module import GRU, LSTM, RNN, check_lengths
from pipeline.rnn.reference import frame_mask
from pipeline.rnn.step import Step

__all__ = ["GRU", "LSTM", "RNN", "LSTMState", "Step", "check_lengths", "frame_mask"]
