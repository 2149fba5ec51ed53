"""Names and indices of labels are inverse, and invalid labels are refused."""

import doctest
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from pipeline.annotations import label_space as module
from pipeline.annotations.label_space import LabelSpace
from pipeline.errors import InputError

SPACE = LabelSpace(("rest", "walk", "jump"), "walk")
MICE = LabelSpace(("a_eats", "a_sleeps", "b_eats", "play"), groups=("a", "a", "b", "both"))
ONE_LINE = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))
NAMES = st.lists(st.text(ONE_LINE, min_size=1, max_size=4), min_size=1, max_size=8, unique=True).map(tuple)


def test_docstring_examples():
    assert doctest.testmod(module).failed == 0


@given(NAMES, st.data())
def test_names_and_indices_are_inverse(names, data):
    space = LabelSpace(names, data.draw(st.sampled_from([None, *names])))
    assert [space.name(space.index(name)) for name in names] == list(names)
    assert space.names(np.arange(space.num_classes)) == list(names)
    assert space.background_index == (None if space.background is None else names.index(space.background))
    assert space.index("".join(names) + "?") is None


def test_only_the_three_fields_are_written():
    assert asdict(SPACE) == {"classes": ("rest", "walk", "jump"), "background": "walk", "groups": None}
    assert LabelSpace(("rest", "walk", "jump"), "walk") == SPACE
    assert len({SPACE, LabelSpace(("rest", "walk", "jump"), "walk"), LabelSpace(("rest", "walk", "jump"))}) == 2


def test_a_repeated_class_and_an_unknown_background_are_refused():
    with pytest.raises(InputError, match="a class is listed twice: 'walk'"):
        LabelSpace(("walk", "rest", "walk"))
    with pytest.raises(InputError, match=r"the background class 'Rset' is not a class: did you mean 'rest'\?"):
        LabelSpace(("rest", "walk"), "Rset")


@given(st.lists(st.sampled_from([-100, 0, 1, 2]), max_size=30))
def test_a_frame_with_a_class_name_is_labelled(values):
    labels = np.array(values, dtype=np.int64)
    labelled = SPACE.is_labelled(labels)
    assert labelled.tolist() == [name is not None for name in SPACE.names(labels)]
    assert SPACE.is_labelled(torch.from_numpy(labels)).tolist() == labelled.tolist()
    SPACE.check(labels)


def test_the_loss_of_torch_ignores_unlabelled_frames():
    labels = SPACE.unlabelled(5)
    assert labels.dtype == np.int64
    assert not SPACE.is_labelled(labels).any()
    loss = functional.cross_entropy(torch.randn(5, 3), torch.from_numpy(labels), reduction="sum")
    assert loss == 0


@pytest.mark.parametrize(("labels", "shown"), [([0, 3], "from 0 to 3"), ([-1, -100], "from -1 to -1")])
def test_labels_of_another_space_are_refused(labels, shown):
    with pytest.raises(ValueError, match=f"got labels {shown}, expected indices of 3 classes"):
        SPACE.check(np.array(labels))


def test_the_difference_between_two_label_spaces_is_described():
    assert SPACE.describe_change(LabelSpace(("rest", "walk", "jump"))) is None, "the background changes no label"
    assert SPACE.describe_change(LabelSpace(("walk", "rest", "jump"))).endswith(": the order differs")
    change = SPACE.describe_change(LabelSpace(("rest", "run")))
    assert change == (
        "was trained on another class list (3 classes, the data has 2): the data lacks walk, jump; the data adds run"
    )


def test_one_group_of_exclusive_classes_and_the_groups_of_overlapping_ones():
    assert SPACE.is_exclusive
    assert SPACE.group_members == ((0, 1, 2),)
    assert not MICE.is_exclusive
    assert MICE.group_members == ((0, 1), (2,), (3,))
    independent = LabelSpace.independent(("eats", "rears"))
    assert independent.group_members == ((0,), (1,))
    assert LabelSpace(("a", "b", "c"), groups=("x", "y", "x")).group_members == ((0, 2), (1,))


def test_groups_that_do_not_fit_the_classes_are_refused():
    with pytest.raises(ValueError, match="got 1 groups, expected one for each of 2 classes"):
        LabelSpace(("eats", "rears"), groups=("a",))
    with pytest.raises(InputError, match="classes that overlap are joined by ';': got 'eats;drinks', expected a name"):
        LabelSpace.independent(("rears", "eats;drinks"))
    assert LabelSpace(("rears", "eats;drinks")).is_exclusive, "exclusive classes are never joined"


@pytest.mark.parametrize("name", ["frame", "time_seconds", "labels", ""])
def test_overlapping_classes_do_not_have_the_names_of_other_columns(name):
    with pytest.raises(InputError, match=f"class '{name}' has .* column of .frames.csv"):
        LabelSpace.independent(("rears", name))
    assert LabelSpace(("rears", name)).is_exclusive


@pytest.mark.parametrize("name", ["wild\tboar", "wild\nboar", "wild\u2028boar", "\x00"])
@pytest.mark.parametrize("make", [LabelSpace, LabelSpace.independent])
def test_names_are_one_line(name, make):
    with pytest.raises(InputError, match=r"has the control character .*: a name is one line of plain text"):
        make(("rears", name))


def test_frames_of_overlapping_classes_have_any_number_of_names():
    labels = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [-100, -100, 1, -100], [-100] * 4], dtype=np.int8)
    MICE.check(labels)
    assert MICE.class_names(labels) == [("a_eats", "b_eats"), (), ("b_eats",), ()]
    assert MICE.is_labelled(labels)[2].tolist() == [False, False, True, False]
    assert MICE.labelled_frames(labels).tolist() == [True, True, True, False]
    assert MICE.unlabelled(2).tolist() == [[-100] * 4] * 2
    assert MICE.unlabelled(2).dtype == np.int8
    assert SPACE.class_names(np.array([1, -100])) == [("walk",), ()]
    assert SPACE.labelled_frames(np.array([1, -100])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 0, 0], r"got labels of shape \(3,\), expected \[frames, 4 classes\]"),
        ([[1, 0, 0]], r"got labels of shape \(1, 3\), expected \[frames, 4 classes\]"),
        ([[2, 0, 0, 0]], "got other labels than present 1, absent 0 and unlabelled -100"),
        ([[0, 0, 0, 0], [1, 1, 1, 0]], "frame 1 has several classes of one group: a_eats, a_sleeps$"),
    ],
)
def test_labels_that_cannot_overlap_so_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        MICE.check(np.array(labels, dtype=np.int8))


def test_the_frames_with_several_classes_of_a_group_are_found_group_by_group():
    space = LabelSpace(("a", "b", "c", "d"), groups=("x", "y", "x", "y"))
    labels = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, -100, 1, 1], [0, 1, 0, 1]], dtype=np.int8)
    assert space.find_clashes(labels) == [(2, 1, (0, 2)), (1, 3, (1, 3))]
    assert space.find_clashes(labels[:1]) == []


def test_the_difference_between_groups_is_described():
    assert MICE.describe_change(LabelSpace(MICE.classes, groups=("x", "x", "y", "z"))) is None, "names of groups"
    change = MICE.describe_change(LabelSpace(MICE.classes))
    assert change == (
        "was trained on classes of which any may overlap, but not a_eats, a_sleeps; in the data, each frame has exactly"
        " one"
    )
    assert LabelSpace(("a",)).describe_change(LabelSpace.independent(("a",))) is not None
