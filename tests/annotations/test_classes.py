import pytest

from pipeline.annotations.classes import find_class_list, read_class_list
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError


def read_label_space(folder, **options):
    return read_class_list(find_class_list(folder)).label_space(**options)


def test_the_line_number_is_the_class_index(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_bytes("\ufeffrest\r\n  move left \r\nça, va".encode())
    assert read_class_list(path).names == ("rest", "move left", "ça, va")


def test_every_problem_is_reported_with_its_line(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("rest\n\nmove\nrest\nmove\n")
    with pytest.raises(AnnotationError) as caught:
        read_class_list(path)
    assert [problem.line for problem in caught.value.problems] == [2, 4, 5]
    assert f"{path}:4: class 'rest' is already on line 1" in str(caught.value)


@pytest.mark.parametrize(("content", "line"), [(b"", None), (b"rest\nm\xfcde\n", 2), (b"\xff\xfer", 1)])
def test_unusable_files_are_refused(tmp_path, content, line):
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    with pytest.raises(AnnotationError) as caught:
        read_class_list(path)
    assert [problem.line for problem in caught.value.problems] == [line]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_gives_the_encoding(tmp_path, encoding):
    (tmp_path / "classes.txt").write_bytes("rest\nmüde\n".encode(encoding))
    assert read_class_list(tmp_path / "classes.txt").names == ("rest", "müde")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AnnotationError, match=r"classes\.txt: is missing"):
        read_class_list(tmp_path / "classes.txt")


def test_classes_of_different_groups_may_overlap(tmp_path):
    (tmp_path / "classes.csv").write_text("class,group\neats,state\n rears ,posture\nsleeps,state\n")
    space = read_label_space(tmp_path, background="sleeps")
    assert space == LabelSpace(("eats", "rears", "sleeps"), "sleeps", ("state", "posture", "state"))
    assert read_class_list(tmp_path / "classes.csv").names == space.classes
    independent = read_label_space(tmp_path, independent=True)
    assert independent == LabelSpace.independent(("eats", "rears", "sleeps"))


def test_a_single_group_of_several_classes_is_exclusive_and_one_of_a_single_class_is_not(tmp_path):
    (tmp_path / "classes.csv").write_text("class,group\neats,state\nsleeps,state\n")
    assert read_label_space(tmp_path) == LabelSpace(("eats", "sleeps"))
    (tmp_path / "classes.csv").write_text("class,group\neats,state\n")
    assert read_label_space(tmp_path).group_members == ((0,),)
    assert not read_label_space(tmp_path).is_exclusive


def test_a_class_list_without_groups_is_exclusive_unless_a_setting_says_otherwise(tmp_path):
    (tmp_path / "classes.txt").write_text("eats\nsleeps\n")
    assert read_label_space(tmp_path) == LabelSpace(("eats", "sleeps"))
    assert read_label_space(tmp_path, independent=True) == LabelSpace.independent(("eats", "sleeps"))


def test_every_problem_of_groups_is_reported_with_its_line(tmp_path):
    (tmp_path / "classes.csv").write_text("class,group\neats,a\neats,b\nrears,\n,b\nlight,c\nlight,c\n")
    with pytest.raises(AnnotationError) as caught:
        read_label_space(tmp_path)
    assert [(problem.line, problem.message) for problem in caught.value.problems] == [
        (3, "class 'eats' is already on line 2, in the group 'a': a class is in one group"),
        (4, "class 'rears' has no group: one that may overlap all others needs a group of its own"),
        (5, "names no class: expected one of the group 'b'"),
        (7, "class 'light' is already on line 6"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class,grp\na,b\n", "classes.csv:1: got the header 'class,grp', expected 'class,group'"),
        ("class,group\n", "classes.csv: has no class: expected a row for each below the header"),
        ("", "classes.csv: is empty: expected the header 'class,group'"),
        ("class,group\na;b,x\nc,y\n", "classes.csv:2: class 'a;b' has a ';', which joins the names of classes that"),
    ],
)
def test_unusable_groups_are_refused(tmp_path, text, message):
    (tmp_path / "classes.csv").write_text(text)
    with pytest.raises(AnnotationError) as caught:
        read_label_space(tmp_path)
    assert message in str(caught.value)


def test_a_name_that_joins_others_is_fine_where_classes_exclude_each_other(tmp_path):
    (tmp_path / "classes.txt").write_text("a;b\nc\n")
    assert read_label_space(tmp_path).classes == ("a;b", "c")
    with pytest.raises(AnnotationError, match=r"classes\.txt:1: class 'a;b' has a ';'"):
        read_label_space(tmp_path, independent=True)


@pytest.mark.parametrize("name", ["frame", "time_seconds", "labels"])
def test_a_class_that_overlaps_has_no_name_of_another_column(tmp_path, name):
    (tmp_path / "classes.txt").write_text(f"rests\n{name}\n")
    assert read_label_space(tmp_path).classes == ("rests", name), "a frame has one column for exclusive classes"
    fault = f"class '{name}' has the name of another column of .frames.csv"
    with pytest.raises(AnnotationError, match=rf"classes\.txt:2: {fault}"):
        read_label_space(tmp_path, independent=True)
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "classes.csv").write_text(f"class,group\nrests,a\n{name},b\n")
    with pytest.raises(AnnotationError, match=rf"classes\.csv:3: {fault}"):
        read_label_space(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "place"),
    [
        ("classes.txt", "rests\nwild\tboar\n", "classes.txt:2: class 'wild\\tboar' has the control character '\\t'"),
        ("classes.csv", "class,group\na,x\nwild\tboar,y\n", "classes.csv:3: class 'wild\\tboar' has the control"),
        ("classes.csv", 'class,group\n"wild\nboar",y\n', "class 'wild\\nboar' has the control character '\\n': a name"),
    ],
)
def test_a_name_is_one_line_of_plain_text(tmp_path, file, text, place):
    (tmp_path / file).write_text(text)
    with pytest.raises(AnnotationError) as caught:
        read_label_space(tmp_path)
    assert place in str(caught.value)


def test_two_class_lists_are_refused(tmp_path):
    (tmp_path / "classes.csv").write_text("class,group\na,b\n")
    (tmp_path / "classes.txt").write_text("a\n")
    with pytest.raises(AnnotationError, match=r"classes\.csv: and classes\.txt both list the classes: keep"):
        read_label_space(tmp_path)


def test_a_folder_without_a_class_list_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match=r"classes\.txt: is missing"):
        read_label_space(tmp_path)
