"""The levels of detail of what a model says, against a computation frame by frame."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.studio.models import pyramid
from pipeline.studio.models.pyramid import BINS, Pyramid, count_levels


def brute_force(
    probabilities: np.ndarray, labels: np.ndarray, space: LabelSpace, level: int, tile: int
) -> list[list[int]]:
    """The rows of a tile, each computed frame by frame."""
    num_frames, num_classes = probabilities.shape
    size = 4**level
    rows: list[list[int]] = [[] for _ in range(num_classes + 1)]
    for start in range(tile * BINS * size, min(num_frames, (tile + 1) * BINS * size), size):
        highest = [0.0] * (num_classes + 1)
        for frame in range(start, min(num_frames, start + size)):
            p = [0.0 if np.isnan(value) else float(value) for value in probabilities[frame]]
            is_decoded = not np.isnan(probabilities[frame]).any()
            if not is_decoded:
                doubt = 0.0
            elif space.is_exclusive:
                doubt = 0.0 if labels[frame] == IGNORE_INDEX else 1 - p[labels[frame]]
            else:
                known = [min(value, 1 - value) * 2 for k, value in enumerate(p) if labels[frame, k] != IGNORE_INDEX]
                doubt = max(known, default=0.0)
            highest = [max(pair) for pair in zip(highest, [*p, doubt], strict=True)]
        for row, value in zip(rows, highest, strict=True):
            row.append(int(np.rint(np.float32(value) * np.float32(255))))
    return rows


@settings(max_examples=30, deadline=None)
@given(
    num_frames=st.sampled_from([1, 3, 4, 5, 1023, 1024, 1025, 4100, 5000]),
    num_classes=st.integers(1, 4),
    is_exclusive=st.booleans(),
    seed=st.integers(0, 10),
)
def test_tiles_are_those_of_a_computation_frame_by_frame(
    num_frames: int, num_classes: int, is_exclusive: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    names = tuple(f"class {k}" for k in range(num_classes))
    space = LabelSpace(names) if is_exclusive else LabelSpace.independent(names)
    probabilities = random.random((num_frames, num_classes)).astype(np.float16).astype(np.float32)
    shape = (num_frames,) if is_exclusive else (num_frames, num_classes)
    labels = random.integers(0, num_classes if is_exclusive else 2, shape)
    lost = random.random(num_frames) < 0.1
    labels[lost], probabilities[lost] = IGNORE_INDEX, np.nan

    found = Pyramid(probabilities, labels, space)

    assert len(found.levels) == count_levels(num_frames)
    for level in range(count_levels(num_frames)):
        num_bins = -(-num_frames // 4**level)
        for tile in range(-(-num_bins // BINS)):
            content = found.tile(level, tile)
            assert content is not None
            rows = np.frombuffer(content, np.uint8).reshape(num_classes + 1, -1)
            expected = brute_force(probabilities, labels, space, level, tile)
            assert np.abs(rows.astype(int) - np.array(expected)).max() <= 1  # the last digit of a float32
            assert rows[:-1].tolist() == expected[:-1]
        assert found.tile(level, -(-num_bins // BINS)) is None
    assert found.tile(count_levels(num_frames), 0) is None
    assert found.tile(-1, 0) is None
    assert found.tile(0, -1) is None


def test_the_last_level_is_one_tile_and_the_one_before_is_not() -> None:
    for num_frames in (1, 1024, 1025, 4096, 4097, 900_000):
        levels = count_levels(num_frames)
        assert -(-num_frames // 4 ** (levels - 1)) <= BINS
        assert levels == 1 or -(-num_frames // 4 ** (levels - 2)) > BINS


def test_a_video_is_computed_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    probabilities, labels = random.random((5000, 3), np.float32), random.integers(0, 3, 5000)
    space = LabelSpace(("a", "b", "c"))
    whole = Pyramid(probabilities, labels, space)
    monkeypatch.setattr(pyramid, "CHUNK", 7)
    in_parts = Pyramid(probabilities, labels, space)
    for one, other in zip(whole.levels, in_parts.levels, strict=True):
        assert np.array_equal(one, other)


def test_ten_hours_of_twenty_classes_take_25_megabytes() -> None:
    levels = count_levels(900_000)
    num_bytes = sum(21 * -(-900_000 // 4**level) for level in range(levels))
    found = Pyramid(np.zeros((900, 20), np.float16), np.zeros(900, np.int64), LabelSpace(tuple(map(str, range(20)))))
    assert found.num_bytes == 21 * 900
    assert num_bytes < 26e6
