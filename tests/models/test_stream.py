"""A video that comes in chunks gets the probabilities of the whole video, as early as the look-ahead allows."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.labeller import LabellerSettings
from pipeline.models.labeller import Labeller
from pipeline.models.stream import LabelStream


def make(look_ahead: int, cell: str = "gru") -> Labeller:
    torch.manual_seed(0)
    memory = {"inputs": "both", "delta_frames": 3} if cell != "none" else {}
    of_cell = LabellerSettings(cell=cell, hidden_size=5, look_ahead=look_ahead, **memory)
    return Labeller(of_cell, num_features=6, num_classes=4).eval()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["gru", "lstm", "tanh"]), st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 9))
def test_chunks_give_the_probabilities_of_the_whole_as_early_as_the_look_ahead_allows(cell, lengths, look_ahead):
    labeller = make(look_ahead, cell)
    x = torch.randn(sum(lengths), 6, generator=torch.Generator().manual_seed(1))
    stream, parts, num_read = LabelStream(labeller), [], 0
    for chunk in x.split(lengths):
        parts.append(stream.add(chunk))
        num_read += len(chunk)
        assert sum(map(len, parts)) == max(0, num_read - look_ahead)
    parts.append(stream.end())
    assert parts[-1].dtype == np.float32
    np.testing.assert_allclose(np.concatenate(parts), labeller.predict([x]), rtol=0, atol=1e-5)


def test_a_stream_without_frames_has_no_labels():
    for look_ahead in (0, 3):
        assert LabelStream(make(look_ahead)).end().shape == (0, 4)


def test_a_network_without_memory_labels_a_stream_frame_by_frame():
    labeller, x = make(0, "none"), torch.randn(5, 6)
    stream = LabelStream(labeller)
    np.testing.assert_allclose(np.concatenate([stream.add(x[:2]), stream.add(x[2:])]), labeller.predict([x]), atol=1e-6)
    assert len(stream.end()) == 0
