import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.studio.labels.journal import DamagedError, Journal

ENTRIES: list[dict[str, Any]] = [{"base": {"stem": "clip"}}, {"edit": {"paints": [[0, 1, 2, None]]}}, {"undo": {}}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journals" / "clip.jsonl"


def write(path: Path) -> Journal:
    journal = Journal(path)
    for entry in ENTRIES:
        journal.append(entry)
    return journal


def test_entries_are_read_as_they_were_added(path: Path) -> None:
    assert Journal(path).read() == []
    write(path)
    journal = Journal(path)
    assert journal.read() == ENTRIES
    journal.append({"redo": {}})
    assert Journal(path).read() == [*ENTRIES, {"redo": {}}]
    assert [json.loads(line)["do"] for line in path.read_text().splitlines()] == [*ENTRIES, {"redo": {}}]


def test_half_a_line_at_the_end_is_cut_off_wherever_the_kill_was(path: Path) -> None:
    write(path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for length in range(len(whole) - len(lines[-1]), len(whole)):
        path.write_bytes(whole[:length])
        journal = Journal(path)
        assert journal.read() == ENTRIES[:2]
        journal.append({"redo": {}})
        assert Journal(path).read() == [*ENTRIES[:2], {"redo": {}}]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_damaged_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, position: int, change: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "clip.jsonl"
    write(path)
    content = bytearray(path.read_bytes())
    position %= len(content)
    content[position] ^= change
    path.write_bytes(content)
    try:
        entries = Journal(path).read()
    except DamagedError:
        return
    # The end of the last line was damaged: it looks like one that was not written to its end.
    assert entries == ENTRIES[:2]
    assert position == len(content) - 1


def test_a_missing_line_is_noticed(path: Path) -> None:
    write(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(DamagedError, match="line 2"):
        Journal(path).read()


def test_a_journal_that_is_set_aside_is_kept(path: Path) -> None:
    journal = write(path)
    content = path.read_bytes()
    names = [journal.set_aside()]
    journal.append(ENTRIES[0])
    names.append(journal.set_aside())
    assert not path.exists()
    assert (path.parent / names[0]).read_bytes() == content
    assert Journal(path.parent / names[1]).read() == ENTRIES[:1]


def test_an_entry_that_cannot_be_written_leaves_the_journal_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = write(path)

    def write_half(file: int, content: bytes) -> int:
        if len(content) > 20:
            return real_write(file, content[:20])
        raise OSError(28, "No space left on device")

    real_write = os.write
    monkeypatch.setattr(os, "write", write_half)
    with pytest.raises(OSError, match="No space"):
        journal.append({"edit": {"name": "a change that does not fit the disk"}})
    monkeypatch.undo()
    assert Journal(path).read() == ENTRIES
    journal.append({"redo": {}})
    assert Journal(path).read() == [*ENTRIES, {"redo": {}}]
