"""Reading the files of other programs safely: text of any usual encoding, JSON and XML, within bounds.

Every function raises AnnotationError with one sentence that says what was expected, and where.
"""

import json
import re
import sys
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

from pipeline.annotations.problems import NO_MEMORY, AnnotationError, Problem, read_content, read_text, split_lines

MAX_BYTES = 256 << 20  # of a file that is read as a whole, which takes many times that; 50,000 events have 5 MB
MAX_DEPTH = 100  # of nested elements or objects: annotations have ten
XML_DECLARATION = re.compile(r"""^\s*<\?xml[^>]*?(?:encoding\s*=\s*["']([\w.-]+)["'][^>]*)?\?>""", re.ASCII)
XML_ENCODINGS = {"utf-8", "utf-16", "us-ascii", "iso-8859-1", "windows-1252"}
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # half of a character in JSON; two of them are a character
SURROGATE_CHARACTER = re.compile("[\ud800-\udfff]")
DOCUMENT_TYPE = re.compile(r"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)


def refuse(path: Path, message: str, line: int | None = None) -> NoReturn:
    """Raise an AnnotationError with one problem.

    Args:
        path: The file.
        message: See `Problem`.
        line: The line; None for the file as a whole.
    """
    raise AnnotationError([Problem(path, line, message)])


def head_lines(text: str) -> list[str]:
    """Return the lines of the beginning of a file, without the last one of many, which may be cut."""
    lines = split_lines(text)
    return lines[:-1] if len(lines) > 2 and not text.endswith(("\n", "\r")) else lines


def read_json(path: Path, *, nan_is_null: bool = False) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        nan_is_null: Whether NaN and the infinities, which JSON does not have, are read as null, and not refused.

    Raises:
        AnnotationError: The file cannot be read, is not JSON, is nested too deeply, has a number that is no number, or
            half of a character.
    """
    text = read_text(path, max_bytes=MAX_BYTES)
    if not text.strip():
        refuse(path, "is empty, expected JSON")
    try:
        content = json.loads(text, parse_constant=_null if nan_is_null else _refuse_constant)
    except RecursionError:
        refuse(path, "is nested too deeply to be annotations: is it another file?")
    except MemoryError:
        refuse(path, f"cannot be read: {NO_MEMORY}")
    except json.JSONDecodeError as error:
        is_cut = error.pos >= len(text.rstrip()) - 1 or error.msg.startswith("Unterminated")
        cause = "the file is cut off" if is_cut else error.msg
        refuse(path, f"is not JSON at column {error.colno}: {cause}", error.lineno)
    except _NoNumberError as error:
        refuse(path, f"is not JSON: got {error}, expected a number")
    except ValueError:  # Python's own message is about the settings of Python
        refuse(path, f"has a number of more than {sys.get_int_max_str_digits():,} digits: is it another file?")
    if SURROGATE.search(text) and SURROGATE_CHARACTER.search(json.dumps(content, ensure_ascii=False)):
        refuse(path, "has half of a character (\\ud800 to \\udfff): another program has cut a text in the middle")
    return content


class _NoNumberError(ValueError):
    """JSON has NaN or an infinity."""


def _refuse_constant(name: str) -> NoReturn:
    raise _NoNumberError(name)


def _null(_: str) -> None:
    return None


def read_xml(path: Path) -> ElementTree.Element:
    """Read an XML file, and return its root.

    A document type is refused before anything is parsed: annotations have none, and entities in it can be expanded to
    any size, or name other files.

    Raises:
        AnnotationError: The file cannot be read, is not XML, has a document type, or is nested too deeply.
    """
    start = read_content(path, MAX_BYTES)[:200].decode("latin-1")
    declared = XML_DECLARATION.match(start.lstrip("\xef\xbb\xbf"))
    encoding = ((declared and declared[1]) or "utf-8").lower()
    if encoding not in XML_ENCODINGS:
        refuse(path, f"is in the encoding {encoding!r}, expected UTF-8: save it as UTF-8", 1)
    text = read_text(path, encoding=encoding, max_bytes=MAX_BYTES)
    if DOCUMENT_TYPE.search(text):
        refuse(path, "has a document type (DOCTYPE), which annotation files do not have; it is not read")
    if not text.strip():
        refuse(path, "is empty, expected XML")
    depth: int = 0
    root: ElementTree.Element | None = None
    try:
        source = StringIO(XML_DECLARATION.sub("", text, count=1))
        for kind, element in ElementTree.iterparse(source, events=("start", "end")):
            root = element if root is None else root
            depth += 1 if kind == "start" else -1
            if depth > MAX_DEPTH:
                refuse(path, "is nested too deeply to be annotations: is it another file?")
    except ElementTree.ParseError as error:
        line, column = error.position
        cause = "the file is cut off" if "no element" in str(error) or "unclosed" in str(error) else str(error)
        refuse(path, f"is not XML at column {column + 1}: {cause}", line)
    except MemoryError:
        refuse(path, f"cannot be read: {NO_MEMORY}")
    if root is None:
        refuse(path, "has no element, expected XML")
    return root
