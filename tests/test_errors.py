"""One sentence for whatever a file raises, with the traceback in a log file."""

import errno

import pytest

from pipeline.errors import ERROR_LOG, InputError, describe_failure, name_failure


def test_input_errors_and_errors_of_the_system_explain_themselves(tmp_path):
    assert name_failure(tmp_path / "a.mp4", "could not be labelled", InputError("a.mp4: is empty"), tmp_path) == (
        "a.mp4: is empty"
    )
    assert describe_failure(OSError(errno.ENOSPC, "No space left on device", "b"), tmp_path) == (
        "cannot read or write b (the disk is full)"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RuntimeError("shape 1\nand more"), "RuntimeError: shape 1"),
        (KeyError(), "KeyError"),
        (RecursionError("maximum recursion depth exceeded"), "it is nested too deeply"),
        (MemoryError(), "there was not enough memory"),
    ],
)
def test_any_other_error_is_one_sentence_and_a_traceback_in_the_log(tmp_path, error, cause):
    for _ in range(2):
        text = name_failure(tmp_path / "a.mp4", "could not be labelled", error, tmp_path)
        assert (
            text == f"{tmp_path / 'a.mp4'}: could not be labelled: {cause} (the traceback is in {tmp_path / ERROR_LOG})"
        )
    assert (tmp_path / ERROR_LOG).read_text().count(type(error).__name__) >= 2


def test_the_log_is_not_written_through_a_link_or_into_a_folder(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / ERROR_LOG).symlink_to(tmp_path / "precious")
    assert describe_failure(RuntimeError("x"), tmp_path) == "RuntimeError: x"
    assert (tmp_path / "precious").read_text() == "precious"
    (tmp_path / ERROR_LOG).unlink()
    (tmp_path / ERROR_LOG).mkdir()
    assert describe_failure(RuntimeError("x"), tmp_path) == "RuntimeError: x"
