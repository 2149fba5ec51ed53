"""Filters over maps: the same at every place, linear before the deltas, and the same in chunks as in the whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad

from pipeline.config.labeller import LabellerSettings
from pipeline.models.labeller import Labeller, least_num_weights
from pipeline.models.map_reader import MapReader

CHANNELS, GRID, FILTERS = 2, 4, 3
FEATURES = CHANNELS * GRID**2


def make_reader(num_parts: int = 2) -> MapReader:
    torch.manual_seed(0)
    return MapReader(CHANNELS, GRID, num_filters=FILTERS, num_parts=num_parts, hidden_size=5).double().eval()


def make_labeller(**options: object) -> Labeller:
    torch.manual_seed(0)
    given = {"cell": "gru", "hidden_size": 5, "inputs": "both", "map_filters": FILTERS, **options}
    model = Labeller(LabellerSettings(**given), num_features=FEATURES, num_classes=4, grid=GRID)
    return model.double().eval()


def maps(*shape: int) -> Tensor:
    return torch.randn(*shape, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_each_filter_sums_over_its_neighbourhood() -> None:
    reader, x = make_reader(), maps(1, 3)
    around = pad(x[0].unflatten(1, (CHANNELS, GRID, GRID)), (1, 1, 1, 1))
    weights = reader.filters.weight.unflatten(0, (2, FILTERS))
    for part, weight in zip(reader.filtered(x), weights, strict=True):
        found = part[0].unflatten(1, (FILTERS, GRID, GRID))
        for row in range(GRID):
            for column in range(GRID):
                seen = around[:, None, :, row : row + 3, column : column + 3] * weight
                torch.testing.assert_close(found[:, :, row, column], seen.sum((2, 3, 4)))


def test_what_moves_inside_of_the_picture_is_found_as_often_as_before() -> None:
    reader = make_reader(1)
    here = torch.zeros(1, 1, CHANNELS, GRID, GRID, dtype=torch.float64)
    here[..., 1, 1] = torch.tensor([1.0, -2.0])
    moved = here.roll(1, -1)
    first, second = (reader.filtered(x.flatten(2))[0].unflatten(2, (FILTERS, GRID, GRID)) for x in (here, moved))
    torch.testing.assert_close(first.roll(1, -1), second)
    reader.places.weight.data.zero_()
    torch.testing.assert_close(reader(first.flatten(2)), reader(second.flatten(2)))
    assert reader(first.flatten(2)).std() > 0


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["features", "deltas", "both"]),
    st.lists(st.integers(1, 7), min_size=1, max_size=3, unique=True).map(sorted),
    st.integers(1, 11),
)
def test_chunks_with_carried_state_equal_the_whole(inputs: str, spans: list[int], cut: int) -> None:
    labeller, x = make_labeller(inputs=inputs, delta_frames=spans), maps(2, 12)
    first = labeller(x[:, :cut])
    second = labeller(x[:, cut:], state=first.state)
    torch.testing.assert_close(torch.cat([first.logits, second.logits], dim=1), labeller(x).logits)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=4), st.booleans())
def test_a_padded_batch_equals_each_video_alone(lengths: list[int], bidirectional: bool) -> None:
    labeller, x = make_labeller(bidirectional=bidirectional, delta_frames=[1, 3]), maps(len(lengths), 9)
    for index, length in enumerate(lengths):
        x[index, length:] = torch.nan
    batch = labeller(x, lengths=torch.tensor(lengths)).logits
    for index, length in enumerate(lengths):
        torch.testing.assert_close(batch[index, :length], labeller(x[index : index + 1, :length]).logits[0])


def test_predict_in_any_chunks_is_the_same_to_the_last_bit() -> None:
    labeller, x = make_labeller(bidirectional=True, delta_frames=[1, 2, 4]).float(), maps(300).float()
    whole = labeller.predict([x])
    assert whole.shape == (300, 4)
    assert np.array_equal(whole, labeller.predict(x.split(7)))


@pytest.mark.parametrize("map_filters", [None, FILTERS])
@pytest.mark.parametrize("inputs", ["features", "deltas", "both"])
def test_it_has_at_least_the_weights_that_are_reckoned(inputs: str, map_filters: int | None) -> None:
    labeller = make_labeller(inputs=inputs, map_filters=map_filters, delta_frames=[1, 2, 4])
    found = sum(parameter.numel() for parameter in labeller.parameters())
    options = LabellerSettings(
        cell="gru", hidden_size=5, inputs=inputs, map_filters=map_filters, delta_frames=(1, 2, 4)
    )
    least = least_num_weights(options, num_features=FEATURES, num_classes=4, grid=GRID)
    assert 0.1 * found < least <= found
