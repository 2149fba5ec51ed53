"""Splits by group, and the manifest on disk."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.annotations.label_space import LabelSpace
from pipeline.datasets.manifest import (
    Manifest,
    Source,
    assign_fold,
    assign_splits,
    deal_groups,
    read_manifest,
    video_class,
    write_manifest,
)
from pipeline.errors import InputError

OVERLAPPING = LabelSpace(("eats", "sleeps", "rears"), groups=("state", "state", "posture"))


def make_sources(groups: list[int], splits: list[str | None] | None = None) -> list[Source]:
    splits = splits or [None] * len(groups)
    return [
        Source(stem=f"clip{i}", path=f"clip{i}.mp4", group=f"g{group}", num_frames=10, sha256=str(i), split=split)
        for i, (group, split) in enumerate(zip(groups, splits, strict=True))
    ]


@settings(max_examples=50, deadline=None)
@given(
    groups=st.lists(st.integers(0, 12), min_size=1, max_size=40),
    seed=st.integers(0, 5),
    fractions=st.tuples(st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from([0.0, 0.2, 0.4])),
)
def test_every_video_gets_a_split_and_every_group_only_one(groups, seed, fractions):
    sources = make_sources(groups)
    options = {"seed": seed, "val_fraction": fractions[0], "test_fraction": fractions[1], "has_splits": False}
    num_groups = len(set(groups))
    expected = [max(1, round(fraction * num_groups)) if fraction else 0 for fraction in fractions]
    if sum(expected) >= num_groups:
        with pytest.raises(InputError, match="cannot be split"):
            assign_splits(sources, **options)
        return
    result = assign_splits(sources, **options)
    assert [source.stem for source in result] == [source.stem for source in sources]
    split_of: dict[str, set[str | None]] = {}
    for source in result:
        split_of.setdefault(source.group, set()).add(source.split)
    assert all(len(splits) == 1 for splits in split_of.values())
    counts = [sum(splits == {name} for splits in split_of.values()) for name in ("val", "test")]
    assert counts == expected
    assert result == assign_splits(sources, **options)


def test_named_splits_stay_and_val_is_taken_from_train():
    splits = ["train"] * 6 + ["test"] * 2 + [None]
    sources = make_sources([0, 0, 1, 1, 2, 2, 3, 3, 4], splits)
    result = assign_splits(sources, seed=0, val_fraction=0.3, test_fraction=0.3, has_splits=True)
    assert [source.split for source in result[6:]] == ["test", "test", None]
    held_out = {source.group for source in result if source.split == "val"}
    assert len(held_out) == 1
    assert {source.group for source in result if source.split == "train"} == {"g0", "g1", "g2"} - held_out
    named = make_sources([0, 1, 2], ["train", "val", "test"])
    assert assign_splits(named, seed=0, val_fraction=0.3, test_fraction=0.3, has_splits=True) == named


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 500)), min_size=1, max_size=40),
    seed=st.integers(0, 5),
    folds=st.integers(2, 6),
    val_fraction=st.sampled_from([0.0, 0.2]),
)
def test_groups_are_dealt_evenly_to_the_folds(lengths, seed, folds, val_fraction):
    sources = [
        replace(source, num_frames=num_frames)
        for source, (_, num_frames) in zip(make_sources([group for group, _ in lengths]), lengths, strict=True)
    ]
    groups = {source.group for source in sources}
    assume(len(groups) > folds)
    tested: list[set[str]] = []
    sizes = []
    for fold in range(folds):
        options = {"seed": seed, "folds": folds, "fold": fold, "val_fraction": val_fraction}
        if val_fraction and len(groups) - len(fold_groups(sources, seed, folds, fold)) < 2:
            with pytest.raises(
                InputError, match=r"leaves 1 group\(s\) to train and to validate on, expected at least 2"
            ):
                assign_fold(sources, **options)
            return
        result = assign_fold(sources, **options)
        assert [replace(source, split=None) for source in result] == sources
        assert result == assign_fold(sources, **options)
        of_split = {name: {s.group for s in result if s.split == name} for name in ("train", "val", "test")}
        assert sum(map(len, of_split.values())) == len(groups), "no group is in two splits"
        assert set().union(*of_split.values()) == groups
        assert of_split["train"]
        assert len(of_split["val"]) == (max(1, round(0.2 * len(groups - of_split["test"]))) if val_fraction else 0)
        tested.append(of_split["test"])
        sizes.append(sum(source.num_frames for source in result if source.split == "test"))
    assert set().union(*tested) == groups
    assert sum(map(len, tested)) == len(groups), "every group is tested once"
    of_group = {g: sum(source.num_frames for source in sources if source.group == g) for g in groups}
    assert max(sizes) - min(sizes) <= max(of_group.values())


def fold_groups(sources: list[Source], seed: int, folds: int, fold: int) -> list[str]:
    return [group for group, dealt in deal_groups(sources, seed=seed, folds=folds).items() if dealt == fold]


def test_as_many_folds_as_groups_are_leave_one_out_and_more_are_refused():
    sources = make_sources([0, 1, 1, 2, 2, 2])
    tested = [
        {s.group for s in assign_fold(sources, seed=0, folds=3, fold=fold, val_fraction=0.0) if s.split == "test"}
        for fold in range(3)
    ]
    assert sorted(map(sorted, tested)) == [["g0"], ["g1"], ["g2"]]
    with pytest.raises(InputError, match=r"dataset.folds: got 4 folds of 3 group\(s\), expected .*groups.csv"):
        assign_fold(sources, seed=0, folds=4, fold=0, val_fraction=0.0)


def test_the_seed_decides_how_groups_of_equal_size_are_dealt():
    sources = make_sources(list(range(20)))
    assert len({tuple(sorted(deal_groups(sources, seed=seed, folds=4).items())) for seed in range(5)}) == 5


@settings(max_examples=20, deadline=None)
@given(seeds=st.tuples(st.integers(0, 100), st.integers(0, 100)))
def test_another_seed_gives_other_splits(seeds):
    assume(seeds[0] != seeds[1])
    sources = make_sources(list(range(60)))
    dealt = [assign_splits(sources, seed=s, val_fraction=0.3, test_fraction=0.3, has_splits=False) for s in seeds]
    assert dealt[0] != dealt[1]


def test_a_written_manifest_can_be_read_back(tmp_path):
    sources = tuple(make_sources([0, 1], ["train", "val"]))
    manifest = Manifest("tiny", "videos", LabelSpace(("rest", "walk"), "rest"), sources, "opencv")
    labels = {"clip0": np.array([0, 1, -100]), "clip1": np.array([1, 1])}
    write_manifest(manifest, labels, tmp_path / "prepared")
    again, labels_again = read_manifest(tmp_path / "prepared")
    assert again == manifest
    assert again.fingerprint() == manifest.fingerprint()
    for stem, expected in labels.items():
        np.testing.assert_array_equal(labels_again[stem], expected)


def test_the_fingerprint_covers_contents_labels_classes_and_splits_but_not_paths():
    sources = make_sources([0, 1], ["train", "val"])
    manifest = Manifest("tiny", "videos", LabelSpace(("rest", "walk"), "rest"), tuple(sources))

    def fingerprint(classes: tuple[str, ...] = ("rest", "walk"), **changes: object) -> str:
        changed = Source(**{**vars(sources[0]), **changes})
        return Manifest("other", "videos", LabelSpace(classes), (changed, sources[1])).fingerprint()

    assert fingerprint(path="elsewhere/clip0.mp4") == manifest.fingerprint()
    others = [fingerprint(sha256="x"), fingerprint(labels_sha256="x"), fingerprint(split="test")]
    others.append(fingerprint(classes=("walk", "rest")))
    assert len({manifest.fingerprint(), *others}) == 5


@pytest.mark.parametrize(("labels", "expected"), [([1, 1, -100], 1), ([-100, -100], None), ([0, 1], None), ([0], 0)])
def test_the_class_of_a_video_is_that_of_all_its_labelled_frames(labels, expected):
    assert video_class(np.array(labels), LabelSpace(("rest", "walk"))) == expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([[1, 0, 0], [0, 0, -100]], [1, 0, 0]),
        ([[-100, 0, -100], [-100, -100, -100]], [-100, 0, -100]),
        ([[-100, 1, -100], [0, 0, 1]], [0, 1, 1]),
        ([[-100] * 3] * 2, None),
        ([[1, 0, 0], [0, 1, 0]], None),
    ],
    ids=["present in a frame", "known somewhere", "known in turns", "nothing known", "several of one group"],
)
def test_the_classes_of_a_video_are_those_of_any_of_its_frames(labels, expected):
    found = video_class(np.array(labels, dtype=np.int8), OVERLAPPING)
    assert (None if found is None else found.tolist()) == expected
    assert found is None or found.dtype == np.int8


def test_a_manifest_of_overlapping_classes_survives_writing(tmp_path):
    sources = make_sources([0, 1], ["train", "val"])
    manifest = Manifest("tiny", "videos", OVERLAPPING, tuple(sources))
    labels = {
        s.stem: np.random.default_rng(i).choice(np.array([1, 0, -100], np.int8), (5, 3)) for i, s in enumerate(sources)
    }
    write_manifest(manifest, labels, tmp_path)
    again, labels_again = read_manifest(tmp_path)
    assert again == manifest
    for stem, expected in labels.items():
        np.testing.assert_array_equal(labels_again[stem], expected, strict=True)


def test_the_fingerprint_covers_the_groups_of_overlapping_classes():
    classes, sources = ("eats", "sleeps", "rears"), tuple(make_sources([0, 1], ["train", "val"]))
    spaces = [LabelSpace(classes), LabelSpace.independent(classes), OVERLAPPING]
    assert len({Manifest("tiny", "videos", space, sources).fingerprint() for space in spaces}) == 3
    renamed = LabelSpace(classes, groups=("one", "one", "other"))
    of_groups = [Manifest("tiny", "videos", space, sources).fingerprint() for space in (OVERLAPPING, renamed)]
    assert of_groups[0] == of_groups[1], "the names of the groups change nothing"


def test_labels_come_back_whatever_the_order_of_their_axes_in_memory(tmp_path):
    rows = np.random.default_rng(0).integers(0, 2, (10, 3), dtype=np.int8)
    rows[:, 1] = 0  # of one group
    labels = {"clip0": np.asfortranarray(rows), "clip1": rows[::-1]}
    write_manifest(Manifest("tiny", "videos", OVERLAPPING, tuple(make_sources([0, 1]))), labels, tmp_path)
    _, found = read_manifest(tmp_path)
    for stem, expected in labels.items():
        np.testing.assert_array_equal(found[stem], expected)
