"""Windows cover every labelled frame once, and batches differ from them only by padding."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.datasets.windows import (
    delayed,
    part_of_rank,
    plan_consecutive,
    plan_windows,
    read_batches,
    without_labels,
)

SPACE = LabelSpace(("a", "b", "c"))
OVERLAPPING = LabelSpace.independent(("a", "b", "c"))


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    window_frames=st.none() | st.integers(1, 70),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_every_frame_is_in_exactly_one_window(lengths, window_frames, seed):
    labels = {f"v{index}": np.zeros(length, dtype=np.int64) for index, length in enumerate(lengths)}
    windows = plan_windows(labels, SPACE, window_frames=window_frames, generator=np.random.default_rng(seed))
    covered = {stem: np.zeros(len(values), dtype=int) for stem, values in labels.items()}
    for window in windows:
        assert 0 < window.stop - window.start <= (window_frames or 60)
        covered[window.stem][window.start : window.stop] += 1
    assert all((counts == 1).all() for counts in covered.values())


def test_the_offset_of_the_windows_is_random():
    labels = {"v": np.zeros(100, dtype=np.int64)}
    starts = {
        frozenset(w.start for w in plan_windows(labels, SPACE, window_frames=30, generator=np.random.default_rng(seed)))
        for seed in range(40)
    }
    assert len(starts) > 10


def test_unlabelled_windows_are_left_out():
    labels = {"v": np.r_[np.full(50, IGNORE_INDEX), np.zeros(10, dtype=np.int64)]}
    windows = plan_windows(labels, SPACE, window_frames=20, generator=np.random.default_rng(0))
    assert all(window.stop > 50 for window in windows)


def test_batches_hold_the_frames_of_their_windows():
    features = {"a": torch.arange(10.0)[:, None], "b": 100 + torch.arange(7.0)[:, None]}
    labels = {"a": np.arange(10), "b": np.arange(7)}
    windows = plan_windows(labels, SPACE, window_frames=4, generator=np.random.default_rng(1))
    steps = [windows[i : i + 2] for i in range(0, len(windows), 2)]
    batches = list(read_batches(steps, labels, read=lambda stem, start, stop: features[stem][start:stop]))
    assert sum(len(batch.lengths) for batch in batches) == len(windows)
    for batch_index, batch in enumerate(batches):
        for row, length in enumerate(batch.lengths):
            window = windows[2 * batch_index + row]
            assert batch.inputs[row, :length].tolist() == features[window.stem][window.start : window.stop].tolist()
            assert (batch.inputs[row, length:] == 0).all()
            assert batch.labels[row, :length].tolist() == list(range(window.start, window.stop))
            assert (batch.labels[row, length:] == IGNORE_INDEX).all()


def test_many_to_one_batches_hold_the_class_of_the_video():
    labels = {"a": np.full(4, 2), "b": np.full(9, 1)}
    windows = plan_windows(labels, SPACE, window_frames=4, generator=np.random.default_rng(1))
    (batch,) = read_batches(
        [windows],
        labels,
        read=lambda _, start, stop: torch.zeros(stop - start, 1),
        video_classes={"a": 2, "b": 1},
    )
    assert batch.labels.tolist() == [{"a": 2, "b": 1}[window.stem] for window in windows]


def test_batches_of_overlapping_classes_are_padded_with_unknown_labels():
    labels = {
        stem: np.random.default_rng(0).integers(0, 2, (length, 3), np.int8) for stem, length in (("a", 7), ("b", 4))
    }
    labels["a"][5:] = IGNORE_INDEX
    windows = plan_windows(labels, OVERLAPPING, window_frames=5, generator=np.random.default_rng(1))
    (batch,) = read_batches([windows], labels, read=lambda _, start, stop: torch.zeros(stop - start, 1))
    assert batch.labels.dtype == torch.int8
    assert batch.labels.shape == (len(windows), max(batch.lengths), 3)
    for row, (stem, start, stop) in enumerate(windows):
        assert batch.labels[row, : stop - start].tolist() == labels[stem][start:stop].tolist()
        assert (batch.labels[row, stop - start :] == IGNORE_INDEX).all()


def test_windows_in_which_no_class_is_known_are_left_out():
    labels = {"v": OVERLAPPING.unlabelled(60), "unlabelled": OVERLAPPING.unlabelled(60)}
    labels["v"][50:, 1] = 0
    generator = np.random.default_rng(0)
    windows = plan_windows(labels, OVERLAPPING, window_frames=20, generator=generator)
    assert windows
    assert all(window.stem == "v" and window.stop > 50 for window in windows)
    steps = plan_consecutive(labels, OVERLAPPING, window_frames=20, batch_size=2, generator=generator)
    assert {window.stem for step in steps for window in step} == {"v"}


def test_many_to_one_batches_of_overlapping_classes_hold_a_set_for_each_video():
    labels = {"a": np.zeros((4, 3), np.int8), "b": np.zeros((9, 3), np.int8)}
    of_videos = {"a": np.array([1, 0, -100], np.int8), "b": np.array([0, 1, 1], np.int8)}
    windows = plan_windows(labels, OVERLAPPING, window_frames=4, generator=np.random.default_rng(1))
    (batch,) = read_batches(
        [windows],
        labels,
        read=lambda _, start, stop: torch.zeros(stop - start, 1),
        video_classes=of_videos,
    )
    assert batch.labels.dtype == torch.int8
    assert batch.labels.tolist() == [of_videos[window.stem].tolist() for window in windows]


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    window_frames=st.integers(1, 70),
    batch_size=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_consecutive_batches_cover_each_video_from_start_to_end(lengths, window_frames, batch_size, seed):
    features = {f"v{i}": 100.0 * i + torch.arange(length)[:, None] for i, length in enumerate(lengths)}
    labels = {stem: x[:, 0].long().numpy() for stem, x in features.items()}
    steps = plan_consecutive(
        labels, SPACE, window_frames=window_frames, batch_size=batch_size, generator=np.random.default_rng(seed)
    )
    batches = list(read_batches(steps, labels, read=lambda stem, lo, hi: features[stem][lo:hi], consecutive=True))
    videos: list[list[float]] = []
    before: list[list[float]] = []
    for batch in batches:
        rows = [x[:length, 0].tolist() for x, length in zip(batch.inputs, batch.lengths, strict=True)]
        assert len(rows) <= batch_size
        assert all(1 <= len(row) <= window_frames for row in rows)
        if batch.continues is None:
            videos += (now := rows)
        else:
            now = [before[i] for i in batch.continues.tolist()]
            for video, row in zip(now, rows, strict=True):
                video += row
        before = now
    assert sorted(videos) == sorted(x[:, 0].tolist() for x in features.values())


def test_consecutive_windows_are_cut_at_random_and_skip_videos_without_labels():
    labels = {"v": np.zeros(100, dtype=np.int64), "unlabelled": np.full(100, IGNORE_INDEX)}
    cuts = set()
    for seed in range(40):
        steps = plan_consecutive(labels, SPACE, window_frames=30, batch_size=2, generator=np.random.default_rng(seed))
        assert {window.stem for windows in steps for window in windows} == {"v"}
        cuts.add(steps[0][0].stop)
    assert len(cuts) > 10


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=7),
    window_frames=st.integers(1, 30),
    batch_size=st.integers(2, 5),
    num_ranks=st.integers(1, 4),
    consecutive=st.booleans(),
)
def test_ranks_have_each_window_once_and_a_video_stays_where_its_state_is(
    lengths, window_frames, batch_size, num_ranks, consecutive
):
    labels = {f"v{index}": np.zeros(length, dtype=np.int64) for index, length in enumerate(lengths)}
    generator = np.random.default_rng(0)
    if consecutive:
        steps = plan_consecutive(labels, SPACE, window_frames=window_frames, batch_size=batch_size, generator=generator)
    else:
        windows = plan_windows(labels, SPACE, window_frames=window_frames, generator=generator)
        steps = [windows[i : i + batch_size] for i in range(0, len(windows), batch_size)]
    parts = [
        list(part_of_rank(steps, rank=rank, num_ranks=num_ranks, consecutive=consecutive)) for rank in range(num_ranks)
    ]
    for step, *of_ranks in zip(steps, *parts, strict=True):
        assert sorted(step) == sorted(window for part in of_ranks for window in part)
        if not consecutive or step[0].start == 0:
            assert max(map(len, of_ranks)) - min(map(len, of_ranks)) <= 1
    if consecutive:
        stems = [{window.stem for part in of_rank for window in part} for of_rank in parts]
        assert sum(map(len, stems)) == len(labels)


def test_a_batch_without_labels_has_the_same_inputs_and_says_nothing():
    labels = {"v": np.arange(9) % 3}
    soft = {"v": np.ones((9, 3), np.float32)}
    steps = plan_consecutive(labels, SPACE, window_frames=9, batch_size=1, generator=np.random.default_rng(0))
    (batch,) = read_batches(steps, labels, read=lambda _, start, stop: torch.ones(stop - start, 1), soft_labels=soft)
    blank = without_labels(batch)
    assert torch.equal(blank.inputs, batch.inputs)
    assert not SPACE.is_labelled(blank.labels).any()
    assert blank.soft_labels.isnan().all()
    assert without_labels(batch._replace(soft_labels=None)).soft_labels is None


def test_batches_of_windows_without_continuation_carry_no_state():
    labels = {"v": np.zeros(20, dtype=np.int64)}
    steps = plan_consecutive(labels, SPACE, window_frames=5, batch_size=1, generator=np.random.default_rng(0))
    batches = read_batches(steps, labels, read=lambda _, start, stop: torch.zeros(stop - start, 1))
    assert all(batch.continues is None for batch in batches)


def test_delayed_labels_come_late_and_none_is_lost():
    labels = {"v": np.arange(3), "w": np.array([[1, 0], [0, 1]], np.int8)}
    found = delayed(labels, 2)
    assert found["v"].tolist() == [IGNORE_INDEX, IGNORE_INDEX, 0, 1, 2]
    assert found["w"].tolist() == [[IGNORE_INDEX] * 2, [IGNORE_INDEX] * 2, [1, 0], [0, 1]]
    assert {stem: of_video.dtype for stem, of_video in found.items()} == {"v": np.int64, "w": np.int8}
    assert all(np.array_equal(delayed(labels, 0)[stem], labels[stem]) for stem in labels)


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    window_frames=st.none() | st.integers(1, 50),
    context_frames=st.integers(0, 20),
    overlapping=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_the_context_of_a_window_is_what_comes_before_it_and_has_no_label(
    lengths, window_frames, context_frames, overlapping, seed
):
    features = {f"v{i}": 100.0 * i + torch.arange(length)[:, None] for i, length in enumerate(lengths)}
    space = OVERLAPPING if overlapping else SPACE
    labels = {
        stem: np.zeros((len(x), 3), np.int8) if overlapping else np.zeros(len(x), np.int64)
        for stem, x in features.items()
    }
    windows = plan_windows(labels, space, window_frames=window_frames, generator=np.random.default_rng(seed))
    (batch,) = read_batches(
        [windows], labels, read=lambda stem, lo, hi: features[stem][lo:hi], context_frames=context_frames
    )
    labelled = (batch.labels == 0).all(2) if overlapping else batch.labels == 0
    for row, (stem, start, stop) in enumerate(windows):
        first = max(0, start - context_frames)
        assert batch.inputs[row, : batch.lengths[row]].tolist() == features[stem][first:stop].tolist()
        assert labelled[row].nonzero().flatten().tolist() == list(range(start - first, stop - first))
    assert ((batch.labels == 0) | (batch.labels == IGNORE_INDEX)).all()
