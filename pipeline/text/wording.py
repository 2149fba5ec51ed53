"""Counts, times and tables as people read them, once for all commands and files."""

from collections.abc import Sequence


def counted(count: int, noun: str, plural: str | None = None, *, separator: str = "") -> str:
    """A count with its noun.

    Args:
        count: how many there are.
        noun: what there are, in the singular.
        plural: of the noun; None for the noun with an s.
        separator: "," between thousands, or nothing.

    >>> counted(1, "frame"), counted(0, "frame"), counted(1200, "class", "classes", separator=",")
    ('1 frame', '0 frames', '1,200 classes')
    """
    return f"{count:{separator}} {noun if count == 1 else plural or f'{noun}s'}"


def clock(ticks: int, *, decimals: int = 0, mark: str = ".", full: bool = False) -> str:
    """A time as a player shows it: hours only where there are some.

    Args:
        ticks: the time in units of the last decimal, 0 or more: whoever calls has rounded it.
        decimals: of a second.
        mark: the decimal mark.
        full: as subtitles have it, with two digits of hours at least and of minutes.

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
    """Rows of cells as lines of text, the first column to the left and all others to the right, a rule below the head.

    Neither tabulate nor rich is used, which have no heading over several columns.

    Args:
        rows: of the same number of cells, the first `num_headers` of which are the head. A cell that is None lends its
            column to the cell after it.
        widths: of the columns in characters; None: as wide as their widest cell.
        num_headers: how many rows the head has.
        gap: between columns.

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
