"""Each real file looks like one format at most, that of the program that wrote it."""

import pytest
from made_exchanges import REAL, needs_real_files

from pipeline.annotations.foreign.registry import FOREIGN_FORMATS, foreign_format, recognise

OF_FOLDERS = {"banos": "one-hot", "elan": "elan", "feral": "feral"}  # the names of the formats
OF_SUFFIXES = {".boris": "boris", ".csv": "boris-table", ".tsv": "boris-table", ".xlsx": "boris-table"}  # of BORIS
REAL_FILES = [path for path in sorted(REAL.rglob("*")) if path.is_file() and path.suffix != ".mp4"]


def test_names_of_formats_are_distinct() -> None:
    names = [foreign.name for foreign in FOREIGN_FORMATS]
    assert len(set(names)) == len(names)
    assert [foreign_format(name) for name in names] == [*FOREIGN_FORMATS]
    assert foreign_format("none") is None


@needs_real_files
@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: str(path.relative_to(REAL)))
def test_a_real_file_looks_like_one_format(path) -> None:
    text = path.read_bytes()[: 1 << 16].decode(errors="replace")
    found = [foreign for foreign in FOREIGN_FORMATS if foreign.looks_like(path, text)]
    folder = path.relative_to(REAL).parts[0]
    expected = OF_SUFFIXES[path.suffix] if folder == "boris" else OF_FOLDERS.get(folder)
    assert [foreign.name for foreign in found] == ([] if expected is None else [expected])
    assert recognise(path) is (found[0] if found else None)
