"""Splits by group, and the manifest on disk."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.datasets.manifest import Manifest, Source, assign_splits, read_manifest, video_class, write_manifest
from pipeline.errors import InputError


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
def test_every_video_gets_a_split_and_a_group_only_one(groups, seed, fractions):
    sources = make_sources(groups)
    options = {"seed": seed, "val_fraction": fractions[0], "test_fraction": fractions[1], "has_splits": False}
    num_groups = len(set(groups))
    wanted = [max(1, round(fraction * num_groups)) if fraction else 0 for fraction in fractions]
    if sum(wanted) >= num_groups:
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
    assert counts == wanted
    assert result == assign_splits(sources, **options)


def test_named_splits_stay_and_val_comes_out_of_train():
    splits = ["train"] * 6 + ["test"] * 2 + [None]
    sources = make_sources([0, 0, 1, 1, 2, 2, 3, 3, 4], splits)
    result = assign_splits(sources, seed=0, val_fraction=0.3, test_fraction=0.3, has_splits=True)
    assert [source.split for source in result[6:]] == ["test", "test", None]
    held_out = {source.group for source in result if source.split == "val"}
    assert len(held_out) == 1
    assert {source.group for source in result if source.split == "train"} == {"g0", "g1", "g2"} - held_out
    named = make_sources([0, 1, 2], ["train", "val", "test"])
    assert assign_splits(named, seed=0, val_fraction=0.3, test_fraction=0.3, has_splits=True) == named


@settings(max_examples=20, deadline=None)
@given(seeds=st.tuples(st.integers(0, 100), st.integers(0, 100)))
def test_another_seed_may_deal_otherwise(seeds):
    assume(seeds[0] != seeds[1])
    sources = make_sources(list(range(60)))
    dealt = [assign_splits(sources, seed=s, val_fraction=0.3, test_fraction=0.3, has_splits=False) for s in seeds]
    assert dealt[0] != dealt[1]


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    sources = tuple(make_sources([0, 1], ["train", "val"]))
    manifest = Manifest("tiny", "videos", ("rest", "walk"), "rest", sources)
    labels = {"clip0": np.array([0, 1, -100]), "clip1": np.array([1, 1])}
    write_manifest(manifest, labels, tmp_path / "prepared")
    again, labels_again = read_manifest(tmp_path / "prepared")
    assert again == manifest
    assert again.fingerprint() == manifest.fingerprint()
    for stem, expected in labels.items():
        np.testing.assert_array_equal(labels_again[stem], expected)


def test_the_fingerprint_is_of_contents_labels_classes_and_splits_not_of_places():
    sources = make_sources([0, 1], ["train", "val"])
    manifest = Manifest("tiny", "videos", ("rest", "walk"), "rest", tuple(sources))

    def fingerprint(classes: tuple[str, ...] = ("rest", "walk"), **changes: object) -> str:
        changed = Source(**{**vars(sources[0]), **changes})
        return Manifest("other", "videos", classes, None, (changed, sources[1])).fingerprint()

    assert fingerprint(path="elsewhere/clip0.mp4") == manifest.fingerprint()
    others = [fingerprint(sha256="x"), fingerprint(labels_sha256="x"), fingerprint(split="test")]
    others.append(fingerprint(classes=("walk", "rest")))
    assert len({manifest.fingerprint(), *others}) == 5


@pytest.mark.parametrize(("labels", "expected"), [([1, 1, -100], 1), ([-100, -100], None), ([0, 1], None), ([0], 0)])
def test_the_class_of_a_video(labels, expected):
    assert video_class(np.array(labels)) == expected
