"""Formatted counts, clocks and tables can be read back."""

import doctest

from hypothesis import given
from hypothesis import strategies as st

from pipeline.text import wording
from pipeline.text.wording import clock, format_table


def test_docstring_examples():
    assert doctest.testmod(wording).failed == 0


@given(st.integers(0, 10**9), st.integers(0, 3), st.booleans())
def test_a_formatted_clock_can_be_read_back(ticks, decimals, full):
    text = clock(ticks, decimals=decimals, full=full)
    whole, _, fraction = text.partition(".")
    seconds = sum(int(part) * 60**place for place, part in enumerate(reversed(whole.split(":"))))
    assert seconds * 10**decimals + int(fraction or 0) == ticks
    assert len(fraction) == decimals
    assert all(len(part) == 2 for part in whole.split(":")[1:])


CELLS = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=9)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=2, max_size=6))
def test_the_columns_of_a_table_are_aligned_with_its_header(rows):
    head, rule, *lines = format_table(rows, gap="  ").splitlines()
    assert [line.split() for line in (head, *lines)] == [list(row) for row in rows]
    assert set(rule) == {"-"}
    assert {len(line) for line in (head, *lines)} == {len(rule)}
    starts = {line.index(row[0]) for line, row in zip((head, *lines), rows, strict=True)}
    assert starts == {0}


def test_a_spanning_heading_is_above_its_columns():
    rows = [["", None, "ab", "one"], ["name", "a", "b", "c"], ["x", "1", "2", "3"]]
    assert format_table(rows, widths=[4, 1, 1, 3], num_headers=2, gap=" ").splitlines() == [
        "      ab one",
        "name a b   c",
        "------------",
        "x    1 2   3",
    ]
