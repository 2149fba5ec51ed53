"""Groups of classes are shown, and those that are probably one group are named."""

from pathlib import Path

import pytest

from pipeline.annotations.classes import ClassList, read_class_list
from pipeline.annotations.label_space import LabelSpace
from pipeline.datasets.class_groups import find_similar_groups, format_groups


def similar(tmp_path: Path, *rows: str) -> list[str]:
    path = tmp_path / "classes.csv"
    path.write_text("class,group\n" + "".join(f"{row}\n" for row in rows))
    return [str(problem).removeprefix(f"{path}:") for problem in find_similar_groups(read_class_list(path))]


def test_groups_are_shown_with_their_classes():
    space = LabelSpace(("eats", "rears", "sleeps", "digs"), groups=("state", "posture", "state", "digs"))
    assert format_groups(space).splitlines() == [
        "one at most in a frame, group 'state': eats, sleeps",
        "independent of all others: rears, digs",
    ]
    assert format_groups(LabelSpace(("eats", "sleeps"))) == ""
    many = LabelSpace.independent(tuple(f"c{i}" for i in range(90)))
    assert format_groups(many).endswith("c19 and 70 more")


@pytest.mark.parametrize("second", ["State", "sta te", "staet", "stat", "states", "statue"])
def test_a_group_that_is_spelt_in_two_ways_is_named_with_its_line(tmp_path, second):
    rows = ("eats,state", "sleeps,state", "rears,posture", f"digs,{second}")
    assert similar(tmp_path, *rows) == [
        f"5: group {second!r} is spelt almost like 'state': are they one group? Classes of two may overlap"
    ]


def test_groups_of_several_classes_that_differ_in_case_are_named(tmp_path):
    rows = ("eats,mouse a", "sleeps,mouse a", "rears,Mouse_A", "digs,Mouse_A")
    assert len(similar(tmp_path, *rows)) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("mouse_a", "mouse_b"),
        ("mouse 1", "mouse 2"),
        ("animal_1_state", "animal_2_state"),
        ("mouseA", "mouseB"),
        ("m1", "m12"),
        ("male", "female"),
        ("left paw", "right paw"),
    ],
)
def test_names_that_are_counted_or_only_alike_are_not_named(tmp_path, first, second):
    assert similar(tmp_path, f"eats,{first}", f"rears,{second}") == []
    assert similar(tmp_path, f"eats,{second}", f"sleeps,{second}", f"rears,{first}") == []


def test_independent_classes_may_have_similar_names(tmp_path):
    assert similar(tmp_path, "groom,groom", "grooms,grooms") == []
    assert find_similar_groups(ClassList(Path("classes.txt"), ("groom", "grooms"), (1, 2))) == []
