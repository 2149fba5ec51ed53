"""The command line of programs that train on sequences: what is asked for, what is read, and how they end."""

import sys

import pytest
import torch
from torch import nn

from pipeline.rnn import RNN, programs
from pipeline.rnn.programs import arguments, compare, digest, read_options, read_table, read_text, run


@pytest.fixture
def asked(monkeypatch):
    """Read a command line."""

    def asked(*words: object):
        monkeypatch.setattr(sys, "argv", ["program.py", *map(str, words)])
        return read_options(arguments("What it does.", num_epochs=3, out="results", corpus="text.txt"))

    return asked


def test_a_corpus_is_a_file_of_the_folder_of_the_data(asked, tmp_path):
    assert asked().path is None
    assert asked("--data", tmp_path).path == tmp_path / "text.txt"
    assert asked("--data", tmp_path, "--corpus", "other.txt").path == tmp_path / "other.txt"


def test_data_that_are_no_folder_and_a_corpus_without_data_are_refused(asked, tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "missing"):
        with pytest.raises(ValueError, match=f"^--data {place}: expected a folder"):
            asked("--data", place)
    with pytest.raises(ValueError, match=r"^--corpus other\.txt: needs --data"):
        asked("--corpus", "other.txt")


@pytest.mark.parametrize("number", ["0", "-1", "many", "1.5"])
def test_epochs_are_a_positive_number(asked, number, capsys):
    with pytest.raises(SystemExit):
        asked("--epochs", number)
    assert f"--epochs: got {number}, expected a whole number, 1 or more" in capsys.readouterr().err


def test_text_has_no_byte_order_mark_and_another_encoding_is_refused(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("é\r\n".encode("utf-8-sig"))
    assert read_text(path) == "é\n"
    path.write_bytes("né".encode("latin-1"))
    with pytest.raises(ValueError, match=r"text\.txt: got byte 0xe9 at position 1, expected UTF-8: was it saved"):
        read_text(path)


def test_columns_of_a_table_are_read_by_their_names(tmp_path):
    path = tmp_path / "news.csv"
    path.write_bytes('title,by,text\r\nOne,x,"a, b"\r\n\r\nTwo,y,"c\r\nd"\r\n'.encode("utf-8-sig"))
    assert read_table(path, ("text", "title")) == [["a, b", "One"], ["c\nd", "Two"]]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "got an empty file, expected a table with the columns title, text"),
        ("Title;Text\na;b\n", "got the columns Title;Text, expected also title, text"),
        ("title\na\n", "got the columns title, expected also text"),
        ("title,text\na,b\nc,d,e\n", "cells in row 2: got 3, expected 2: is a comma not in quotation marks"),
        ("title,text\na\n", "cells in row 1: got 1, expected 2"),
        ("title,text\na,b\nc,\n", "row 2 has an empty text, expected text"),
        (f"title,text\na,{'b' * 200_000}\n", r"got no table \(field larger than .*\)"),
    ],
)
def test_a_table_that_is_something_else_is_refused(content, sentence, tmp_path):
    (tmp_path / "news.csv").write_text(content)
    with pytest.raises(ValueError, match=rf"news\.csv: {sentence}"):
        read_table(tmp_path / "news.csv", ("title", "text"))


def test_a_digest_changes_with_the_content_and_not_with_the_place(tmp_path):
    for name, content in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "")):
        (tmp_path / name).write_text(content)
    a, b, c, d = (tmp_path / name for name in "abcd")
    assert digest(a) == digest(b) != digest(c)
    assert digest(a, c) != digest(c, a)
    assert len({digest(), digest(d), digest(d, d)}) == 3


class Rows(nn.Module):
    """The mean of what a network reads."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        self.rnn = RNN(1, 2)


def test_a_checkpoint_of_other_data_is_refused(asked, tmp_path):
    path = tmp_path / "text.txt"

    def trained():
        options = asked("--data", tmp_path, "--cells", "tanh", "--epochs", 1, "--out", tmp_path / "out")
        how = {"paths": [options.path], "learning_rate": 0.1, "measure": "loss"}
        return compare(
            options, Rows, lambda model: [sum(w.sum() for w in model.parameters())], lambda model: 1.0, **how
        )

    path.write_text("one")
    first = trained()
    path.rename(tmp_path / "moved.txt")
    path.write_text("one")
    again = trained()
    assert all(map(torch.equal, first["tanh"].parameters(), again["tanh"].parameters()))
    path.write_text("two")
    with pytest.raises(ValueError, match=r"tanh\.pt: got a checkpoint of .*: have the data changed\? remove the file"):
        trained()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("news.csv: got 2 items"), "program.py: news.csv: got 2 items"),
        (FileNotFoundError(2, "No such file or directory", "x.mat"), "program.py: x.mat: No such file or directory"),
        (OSError("could not read bytes"), "program.py: could not read bytes"),
    ],
)
def test_a_program_ends_with_a_sentence(error, sentence, monkeypatch):
    def fail():
        raise error

    monkeypatch.setattr(sys, "argv", ["folder/program.py"])
    with pytest.raises(SystemExit) as ended:
        run(fail)
    assert ended.value.code == sentence


def test_a_program_that_is_stopped_says_how_it_goes_on(monkeypatch, capsys):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["program.py"])
    with pytest.raises(SystemExit) as ended:
        run(stop)
    assert ended.value.code == programs.STOPPED
    assert capsys.readouterr().err.startswith("program.py: stopped; the same call goes on")
