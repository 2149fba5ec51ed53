"""Files are whole or not there, and nothing that a stranger left in the folder is followed, opened or trusted."""

import os
import secrets
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.files import read_bounded, read_unchanged, replacing


def test_no_link_is_written_through(tmp_path, monkeypatch):
    precious = tmp_path / "precious.txt"
    precious.write_text("precious")
    path = tmp_path / "out" / "table.csv"
    path.parent.mkdir()
    path.symlink_to(precious)
    with replacing(path) as temporary:
        assert not temporary.is_symlink()
        temporary.write_text("new")
    assert (path.is_symlink(), path.read_text(), precious.read_text()) == (False, "new", "precious")

    monkeypatch.setattr(secrets, "token_hex", lambda num_bytes: "guessed")
    (path.parent / ".table.guessed.partial.csv").symlink_to(precious)
    with pytest.raises(FileExistsError), replacing(path):
        pytest.fail("the temporary file is a link")
    assert (path.read_text(), precious.read_text()) == ("new", "precious")


def test_two_writers_have_temporary_files_of_their_own(tmp_path):
    with replacing(tmp_path / "table.csv") as one, replacing(tmp_path / "table.csv") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_written_file_has_the_rights_that_the_umask_leaves(tmp_path):
    before = os.umask(0o022)
    try:
        with replacing(tmp_path / "table.csv") as temporary:
            temporary.write_text("new")
    finally:
        os.umask(before)
    assert (tmp_path / "table.csv").stat().st_mode & 0o777 == 0o644


def test_a_long_name_has_a_temporary_name_that_fits(tmp_path):
    path = tmp_path / f"{'n' * 240}.frames.csv"
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    (tmp_path / "table.csv").mkdir()
    with (
        pytest.raises(InputError, match=r"table\.csv: got a folder, expected a file"),
        replacing(tmp_path / "table.csv"),
    ):
        pytest.fail("nothing can be written")


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    path, pipe, link = tmp_path / "a", tmp_path / "pipe", tmp_path / "zero"
    path.write_bytes(bytes(10))
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    assert read_bounded(path, max_bytes=10) == bytes(10)
    with pytest.raises(InputError, match="more than 9 bytes"):
        read_bounded(path, max_bytes=9)
    for special in (pipe, link, tmp_path):
        with pytest.raises((InputError, IsADirectoryError), match=r"not a regular file|directory"):
            read_bounded(special, max_bytes=10)


@pytest.mark.parametrize("num_changes", [0, 1, 2])
def test_a_file_that_changes_while_it_is_read_is_read_again_once(tmp_path, num_changes):
    path, reads = tmp_path / "a", []
    path.write_text("")

    def read() -> str:
        text = path.read_text()
        reads.append(text)
        if len(reads) <= num_changes:
            path.write_text("x" * len(reads))
        return text

    if num_changes < 2:
        assert read_unchanged(path, read) == "x" * num_changes
        assert len(reads) == num_changes + 1
    else:
        with pytest.raises(InputError, match="changed twice while it was read"):
            read_unchanged(path, read)


def test_an_error_of_a_file_that_changed_is_not_believed(tmp_path):
    path = tmp_path / "a"
    path.write_text("half")

    def read() -> str:
        if path.read_text() == "half":
            path.write_text("whole")
            raise ValueError("damaged")
        return path.read_text()

    assert read_unchanged(path, read) == "whole"
    with pytest.raises(ValueError, match="other"):
        read_unchanged(path, lambda: _raise(ValueError("other")))


def _raise(error: Exception) -> Path:
    raise error
