import pytest

from pipeline.annotations.classes import read_classes
from pipeline.annotations.problems import AnnotationError


def test_the_line_number_is_the_class_index(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_bytes("\ufeffrest\r\n  move left \r\nça, va".encode())
    assert read_classes(path) == ("rest", "move left", "ça, va")


def test_every_problem_is_reported_with_its_line(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("rest\n\nmove\nrest\nmove\n")
    with pytest.raises(AnnotationError) as caught:
        read_classes(path)
    assert [problem.line for problem in caught.value.problems] == [2, 4, 5]
    assert f"{path}:4: class 'rest' is already on line 1" in str(caught.value)


@pytest.mark.parametrize(("content", "line"), [(b"", None), (b"rest\nm\xfcde\n", 2), ("rest\n".encode("utf-16"), 1)])
def test_unusable_files_are_refused(tmp_path, content, line):
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    with pytest.raises(AnnotationError) as caught:
        read_classes(path)
    assert [problem.line for problem in caught.value.problems] == [line]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AnnotationError, match=r"classes\.txt: is missing"):
        read_classes(tmp_path / "classes.txt")
