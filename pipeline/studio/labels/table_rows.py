"""Replacing the rows of videos in a table of all videos: the rows of the others stay as they are, to the byte."""

import codecs
import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from pipeline.annotations.formats.delimited import find_separator
from pipeline.files import canonical


def with_rows(content: bytes, header: Sequence[str], rows_of: Mapping[str, Sequence[Sequence[object]]]) -> bytes:
    """Return a table with other rows of some videos.

    Args:
        content: A table that can be read, in the encoding, with the separator and the ends of lines that it has; b""
            for a new one.
        header: The columns that the rows need. Where the table has fewer, its other rows get empty cells.
        rows_of: The rows of each video, which follow the others. It is named by its stem, which is in the first column.
    """
    stems = {canonical(stem) for stem in rows_of}
    rows = [row for of_video in rows_of.values() for row in of_video]
    mark, encoding = _encoding(content)
    lines = content[len(mark) :].decode(encoding).splitlines(keepends=True)
    lines = _whole_lines(lines)
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    separator, first = find_separator([line.rstrip("\r\n") for line in lines]) if lines else (",", 0)
    kept, width = lines[:first], 0
    for text, row in _records(lines[first:], separator):
        is_header = not width and any(row)
        width = width or (len(row) if is_header else 0)
        if is_header and len(row) < len(header):
            text = _lengthened(text, separator, header[len(row) :])
        elif not is_header and any(row) and canonical(row[0].strip()) in stems:
            continue
        elif any(row) and len(row) < len(header):
            text = _lengthened(text, separator, [""] * (len(header) - len(row)))
        kept.append(text)
    new = io.StringIO(newline="")
    writer = csv.writer(new, delimiter=separator, lineterminator=ending)
    if not width:
        writer.writerow(header)
        width = len(header)
    blank = [""] * (max(width, len(header)) - len(header))
    writer.writerows([*row, *blank] for row in rows)
    if kept and not kept[-1].endswith(("\n", "\r")):
        kept[-1] += ending
    return mark + ("".join(kept) + new.getvalue()).encode(encoding)


def _encoding(content: bytes) -> tuple[bytes, str]:
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if content.startswith(mark):
            return mark, encoding
    return b"", "utf-8"


def _whole_lines(pieces: Sequence[str]) -> list[str]:
    r"""Join what `str.splitlines` splits and a table does not, such as U+2028; the ends are \n, \r\n and \r."""
    lines: list[str] = []
    for piece in pieces:
        if lines and not lines[-1].endswith(("\n", "\r")):
            lines[-1] += piece
        else:
            lines.append(piece)
    return lines


def _records(lines: Sequence[str], separator: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the text of each row with its ends of lines, and its fields."""
    reader, first = csv.reader(lines, delimiter=separator), 0
    for row in reader:
        yield "".join(lines[first : reader.line_num]), row
        first = reader.line_num


def _lengthened(text: str, separator: str, cells: Sequence[str]) -> str:
    body = text.rstrip("\r\n")
    return body + separator + separator.join(cells) + text[len(body) :]
