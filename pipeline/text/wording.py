"""Counts, times and tables in a form for people, shared by all commands and files."""

from collections.abc import Sequence


def counted(count: int, noun: str, plural: str | None = None, *, separator: str = "") -> str:
    """Format a count with its noun.

    Args:
        count: The count.
        noun: The noun in the singular.
        plural: The noun in the plural; None for the singular with an s.
        separator: "," between thousands, or "" for none.

    >>> counted(1, "frame"), counted(0, "frame"), counted(1200, "class", "classes", separator=",")
    ('1 frame', '0 frames', '1,200 classes')
    """
    return f"{count:{separator}} {noun if count == 1 else plural or f'{noun}s'}"


def listed(names: Sequence[str], most: int) -> str:
    """List names in one line, and say how many are left out.

    Args:
        names: The names.
        most: The number of names that are shown.

    >>> listed(["rest", "walk"], 2), listed(["rest", "walk", "jump"], 1)
    ('rest, walk', 'rest and 2 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def clock(ticks: int, *, decimals: int = 0, mark: str = ".", full: bool = False) -> str:
    """Format a time as a player shows it, with hours only where there are any.

    Args:
        ticks: The time in units of the last decimal, 0 or more; the caller rounds it.
        decimals: The number of decimals of the seconds.
        mark: The decimal mark.
        full: Whether to format it as in subtitles, with at least two digits for the hours, and two for the minutes.

    >>> clock(62), clock(3602), clock(750, decimals=1), clock(62_003, decimals=3, mark=",", full=True)
    ('1:02', '1:00:02', '1:15.0', '00:01:02,003')
    """
    seconds, rest = divmod(ticks, 10**decimals)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    short = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    start = f"{hours:02}:{minutes:02}" if full else short
    fraction = f"{mark}{rest:0{decimals}}" if decimals else ""
    return f"{start}:{seconds:02}{fraction}"


def format_table(
    rows: Sequence[Sequence[str | None]], *, widths: Sequence[int] | None = None, num_headers: int = 1, gap: str = ""
) -> str:
    """Format rows of cells as lines of text.

    The first column is aligned to the left and all others to the right, with a rule below the head. Neither tabulate
    nor rich is used, as they have no headings over several columns.

    Args:
        rows: Rows of the same number of cells; the first `num_headers` rows are the head. A cell that is None lends its
            column to the next cell.
        widths: The widths of the columns in characters; None for the width of their widest cells.
        num_headers: The number of rows of the head.
        gap: The text between columns.

    >>> rows = [["", None, "val"], ["class", "frames", "f1"], ["idle", "7", "80.0"]]
    >>> print(format_table(rows, widths=[6, 8, 6], num_headers=2))
                     val
    class   frames    f1
    --------------------
    idle         7  80.0
    """
    if widths is None:
        widths = [max(len(cell or "") for cell in column) for column in zip(*rows, strict=True)]
    lines = [_format_row(row, widths, gap) for row in rows]
    rule = "-" * (sum(widths) + len(gap) * (len(widths) - 1))
    return "\n".join([*lines[:num_headers], rule, *lines[num_headers:]])


def _format_row(row: Sequence[str | None], widths: Sequence[int], gap: str) -> str:
    cells = []
    lent = 0
    for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
        if cell is None:
            lent += width + len(gap)
        else:
            cells.append(f"{cell:<{width}}" if index == 0 else f"{cell:>{lent + width}}")
            lent = 0
    return gap.join(cells)
