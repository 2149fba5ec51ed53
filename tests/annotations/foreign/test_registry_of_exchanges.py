"""Each real file looks like one format at most, and names are unique."""

import pytest
from made_exchanges import ANNOTATIONS, claims

from pipeline.annotations.foreign.registry import FOREIGN_FORMATS, foreign_format, recognise


def test_names_are_unique_and_find_their_format():
    names = [found.name for found in FOREIGN_FORMATS]
    assert len(set(names)) == len(names)
    assert all(foreign_format(found.name) is found for found in FOREIGN_FORMATS)
    assert foreign_format("frobnicate") is None
    assert all("." in suffix for found in FOREIGN_FORMATS for suffix in found.suffixes)


@pytest.mark.skipif(not ANNOTATIONS.exists(), reason="the real files are not on this machine")
def test_a_real_file_looks_like_one_format_at_most():
    paths = [path for path in ANNOTATIONS.rglob("*") if path.is_file() and path.suffix != ".mp4"]
    for path in paths:
        text = path.read_bytes()[: 1 << 16].decode(errors="replace")
        found = claims(path, text, FOREIGN_FORMATS)
        assert len(found) <= 1, path
        assert [found.name for found in [recognise(path)] if found] == found
