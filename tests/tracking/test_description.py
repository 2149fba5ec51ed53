"""The description of a run."""

from pipeline.tracking.description import flatten_params


def test_nested_settings_become_flat_parameters():
    assert flatten_params({"seed": 0, "a": {"b": {"c": [1, 2]}, "d": None}}) == {
        "seed": 0,
        "a.b.c": [1, 2],
        "a.d": None,
    }
