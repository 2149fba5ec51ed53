"""The support of each class is counted correctly, and shortages are reported in a few sentences."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.label_space import LabelSpace
from pipeline.datasets.manifest import SPLITS, Source
from pipeline.datasets.support import (
    ALL,
    FEW_SEGMENTS,
    MAX_NAMES,
    UNLABELLED,
    Support,
    count_support,
    find_shortages,
    format_support,
    unlabelled_percent,
    write_support,
)

CLASSES = ("rest", "walk", "jump")
SPACE = LabelSpace(CLASSES)


def make(*videos: tuple[str | None, str, list[int]]) -> tuple[list[Source], dict[str, np.ndarray]]:
    """Sources and labels of (split, group, labels) each."""
    sources = [
        Source(f"clip{i}", f"clip{i}.mp4", group, len(labels), split=split)
        for i, (split, group, labels) in enumerate(videos)
    ]
    return sources, {f"clip{i}": np.array(labels, dtype=np.int64) for i, (*_, labels) in enumerate(videos)}


def enough(class_index: int, num_videos: int = FEW_SEGMENTS) -> list[tuple[str, str, list[int]]]:
    """Training videos with enough support for the class `rest` and this one."""
    return [("train", f"g{i}", [0, class_index]) for i in range(num_videos)]


def printed(*videos: tuple[str | None, str, list[int]], classes=CLASSES, known=()) -> dict[str, tuple[str, ...]]:
    shortages = find_shortages(count_support(*make(*videos), LabelSpace(classes)), reported=known)
    return {shortage.what: shortage.classes for shortage in shortages}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*SPLITS, None]),
            st.sampled_from("abc"),
            st.lists(st.sampled_from([-100, 0, 1, 2]), min_size=1, max_size=12),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_counts_equal_those_of_counting_one_by_one(videos):
    table = count_support(*make(*videos), SPACE)
    assert list(table) == [split for split in (*SPLITS, ALL) if any((video[0] or ALL) == split for video in videos)]
    for split, support in table.items():
        assert list(support) == [*CLASSES, UNLABELLED]
        of_split = [(group, labels) for other, group, labels in videos if (other or ALL) == split]
        for class_index, name in enumerate(CLASSES):
            labelled = [[label for label in labels if label != -100] for _, labels in of_split]
            begins = [
                label == class_index and (i == 0 or known[i - 1] != label)
                for known in labelled
                for i, label in enumerate(known)
            ]
            groups = [group for group, labels in of_split if class_index in labels]
            num_frames = sum(known.count(class_index) for known in labelled)
            assert support[name] == Support(num_frames, sum(begins), len(groups), len(set(groups)))
        num_frames, num_gaps = sum(len(labels) for _, labels in of_split), support[UNLABELLED].frames
        assert num_gaps == sum(labels.count(-100) for _, labels in of_split)
        assert unlabelled_percent(support) == pytest.approx(100 * num_gaps / num_frames)


def test_an_unlabelled_gap_does_not_split_a_segment_and_is_counted():
    support = count_support(*make(("train", "a", [1, -100, -100, 1, 0, -100])), SPACE)["train"]
    assert support["walk"] == Support(2, 1, 1, 1)
    assert support[UNLABELLED] == Support(3, 2, 1, 1)


def test_a_data_set_with_enough_of_each_class_has_no_warning():
    videos = [("train", f"g{i}", [0, 1, 2]) for i in range(FEW_SEGMENTS)]
    assert printed(*videos) == {}
    assert printed(*videos, ("val", "v", [0, 1, 2]), ("test", "t", [2, 1, 0])) == {}
    assert printed(*videos[1:])["in fewer than 10 training segments"] == tuple(sorted(CLASSES))


@pytest.mark.parametrize(
    ("videos", "what"),
    [
        ([], "in no label"),
        ([("val", "v", [0, 1, 2])], "in no training video"),
        ([("train", "g0", [2, 0] * FEW_SEGMENTS)], "in one training video only"),
        ([("train", "g0", [2, 0] * FEW_SEGMENTS)] * 2, "in one training group only"),
        ([("train", f"g{i}", [2]) for i in range(2)], "in fewer than 10 training segments"),
    ],
)
def test_a_class_is_warned_of_once_with_its_worst_shortage(videos, what):
    assert printed(*enough(1), *videos) == {what: ("jump",)}


def test_a_class_that_is_held_out_nowhere_is_reported_for_each_split():
    videos = [*enough(1), *enough(2), ("val", "v", [0, 1]), ("test", "t", [0, 2])]
    unscored = {"in training, but in no val video": ("jump",), "in training, but in no test video": ("walk",)}
    assert printed(*videos) == unscored
    assert list(printed(*videos[1:FEW_SEGMENTS], *videos[FEW_SEGMENTS + 1 :]))[1:] == list(unscored), (
        "the most serious shortage is first"
    )


def test_videos_without_a_split_are_judged_by_what_training_needs():
    assert printed((None, "a", [0, 1] * 10), (None, "b", [0] * 3)) == {
        "in no label": ("jump",),
        "in one video only": ("walk",),
    }
    assert "in no label" not in printed((None, "a", [0, 1]), known=("jump",))
    assert printed(("val", "a", [0])) == {}, "an empty training split is reported elsewhere"


def test_many_classes_are_listed_in_one_sentence_rarest_first():
    names = tuple(f"c{i:02}" for i in range(52))
    videos = [("train", f"g{i}", [j for j in range(52) for _ in range(52 - j)]) for i in range(2)]
    (shortage,) = find_shortages(count_support(*make(*videos), LabelSpace(names)))
    assert shortage.classes[:2] == ("c51", "c50")
    sentence = str(shortage)
    assert sentence.startswith("52 classes are in fewer than 10 training segments: 'c51', 'c50', ")
    assert sentence.count("'c") == MAX_NAMES
    assert f" and {52 - MAX_NAMES} more. " in sentence
    (one,) = find_shortages(count_support(*make(*enough(1)), SPACE))
    assert str(one).startswith("1 class is in no label: 'jump'. ")


def test_the_table_has_the_same_counts_on_disk_and_in_a_terminal(tmp_path):
    table = count_support(*make(*enough(1), ("train", "g0", [0, 2, -100]), ("val", "v", [1])), SPACE)
    write_support(table, tmp_path / "support.csv")
    with (tmp_path / "support.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [*CLASSES, ""]
    for row in rows:
        for split, support in table.items():
            cells = (int(row[f"{split}_{field}"]) for field in Support._fields[:4])
            assert Support(*cells) == support[row["class"]]
    assert [row["too_little"] for row in rows] == [
        "in training, but in no val video",
        "",
        "in one training video only; in training, but in no val video",
        "",
    ]
    lines = format_support(table).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split() == ["train", "val"]
    assert lines[5].split() == ["jump", "1", "1", "1", "1", "0", "0", "0", "0"]
    assert lines[6].split()[:2] == ["(unlabelled)", "1"]
    assert "groups" in lines[1]
    assert "groups" not in format_support(count_support(*make(*enough(1)), SPACE)), "each video is its own group"
