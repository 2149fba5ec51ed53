"""Cells of tables that people open in a spreadsheet."""

COMPUTED = ("=", "+", "-", "@", "\t", "\r")  # with which a cell begins that a spreadsheet computes


def as_text(cell: str) -> str:
    """Return a cell that a spreadsheet shows, and does not compute: with an apostrophe before it where that is needed.

    >>> as_text("=1+1"), as_text("walk")
    ("'=1+1", 'walk')
    """
    return f"'{cell}" if cell.startswith(COMPUTED) else cell


def from_text(cell: str) -> str:
    """Return what `as_text` made the cell of.

    >>> from_text("'=1+1"), from_text("'tis")
    ('=1+1', "'tis")
    """
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(COMPUTED) else cell
