"""The cells of tables that other programs write: times, formulas, and names of columns."""

import re
from collections.abc import Iterable
from enum import Enum, auto

from pipeline.annotations.layouts import PROBABILITY_DECIMALS

MAX_SECONDS = float(1 << 31)  # 68 years; BORIS has the same bound
FORMULA = re.compile(r"'*[=+\-@\t\r]")
PROTECTED = re.compile(r"'+[=+\-@\t\r]")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
CLOCK = re.compile(r"(?P<sign>-?)(?:(?P<hours>\d{1,6}):)?(?P<minutes>\d{1,2}):(?P<seconds>\d{1,2}(?:\.\d*)?)", re.ASCII)
DATE = re.compile(r"\d{4}-\d\d?-\d\d?|\d\d?[./]\d\d?[./]\d{2,4}", re.ASCII)
SCORE = re.compile(r"probability ([01]\.\d{1,9})", re.ASCII)
MAX_DECIMALS = 3  # programs that write more decimals do not measure them
NO_VALUE = frozenset({"", "na", "nan", "n/a", "-", "none", "null"})


class TimeFault(Enum):
    """What a text is instead of a time."""

    EMPTY = auto()
    DATE = auto()
    DECIMAL_COMMA = auto()
    OTHER = auto()


def protect(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would compute as a formula.

    >>> protect("=1+1"), protect("walk"), protect("'-x")
    ("'=1+1", 'walk', "''-x")
    """
    return f"'{text}" if FORMULA.match(text) else text


def unprotect(text: str) -> str:
    """Take off the apostrophe that `protect` puts before a text.

    >>> unprotect("'=1+1"), unprotect("'tis")
    ('=1+1', "'tis")
    """
    return text[1:] if PROTECTED.match(text) else text


def number(text: str, *, decimal_comma: bool = False, bound: float = MAX_SECONDS) -> float | None:
    """Return the number of a cell; None where it has none, or one that no time or length has.

    Args:
        text: The cell.
        decimal_comma: Whether a comma is a decimal point, as in tables whose cells are not separated by commas.
        bound: What the number is smaller than.

    >>> number("1.5"), number("1,5", decimal_comma=True), number("1,5"), number("nan"), number("1e999")
    (1.5, 1.5, None, None, None)
    """
    text = _with_point(text.strip(), decimal_comma)
    if len(text) > 100 or not NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if abs(value) < bound else None  # not where it is infinite


def seconds(text: str, *, decimal_comma: bool = False) -> float | None:
    """Return the seconds of a cell, which has a number of seconds or `hours:minutes:seconds`; None where it has not.

    Args:
        text: The cell.
        decimal_comma: See `number`.

    >>> seconds("62.5"), seconds("0:01:02.5"), seconds("01:02"), seconds("2016-12-01 23:01:31")
    (62.5, 62.5, 62.0, None)
    """
    clock = CLOCK.fullmatch(_with_point(text.strip(), decimal_comma))
    if clock is None:
        return number(text, decimal_comma=decimal_comma)
    parts = int(clock["hours"] or 0), int(clock["minutes"]), float(clock["seconds"])
    value = parts[0] * 3600 + parts[1] * 60 + parts[2]
    return None if value >= MAX_SECONDS else -value if clock["sign"] else value


def _with_point(text: str, decimal_comma: bool) -> str:
    return text.replace(",", ".") if decimal_comma and text.count(",") == 1 and "." not in text else text


def why_no_time(text: str) -> str:
    """Say what a cell has instead of a time, in words that follow "got".

    >>> why_no_time("1,5"), why_no_time("2016-12-01"), why_no_time("")
    ("'1,5', which has a decimal comma", "'2016-12-01', which is a date", 'an empty cell')
    """
    shown = repr(text.strip()[:40])
    match fault_of_time(text):
        case TimeFault.EMPTY:
            return "an empty cell"
        case TimeFault.DATE:
            return f"{shown}, which is a date"
        case TimeFault.DECIMAL_COMMA:
            return f"{shown}, which has a decimal comma"
        case TimeFault.OTHER:
            return shown


def fault_of_time(text: str) -> TimeFault:
    """Return what a text that is not a time seems to be."""
    if not text.strip():
        return TimeFault.EMPTY
    if DATE.match(text.strip()):
        return TimeFault.DATE
    return TimeFault.OTHER if number(text, decimal_comma=True) is None else TimeFault.DECIMAL_COMMA


def resolution_of(texts: Iterable[str]) -> float:
    """Return the distance of neighbouring times that are written with as many decimals as these, 0.001 s or more.

    The texts show how a program writes its times; `values.resolution_of` has numbers, of which decimals may be missing.

    >>> resolution_of(["1.5", "2", "0:00:03.25"]), resolution_of(["1", "2"])
    (0.01, 1.0)
    """
    decimals = 0
    for text in texts:
        decimals = max(decimals, len(re.split(r"[.,]", text.strip(), maxsplit=1)[-1]) if re.search("[.,]", text) else 0)
        if decimals >= MAX_DECIMALS:
            break
    return 10.0 ** -min(decimals, MAX_DECIMALS)


def score_comment(score: float) -> str:
    """Return the comment that states the probability of a behaviour, for programs that have no field for it.

    >>> score_comment(0.98765)
    'probability 0.9877'
    """
    return f"probability {score:.{PROBABILITY_DECIMALS}f}"


def split_score(comment: str) -> tuple[float | None, str]:
    """Return the probability that `score_comment` states, and the rest of the comment.

    >>> split_score("probability 0.9877"), split_score("probability unclear")
    ((0.9877, ''), (None, 'probability unclear'))
    """
    found = SCORE.fullmatch(comment)
    return (float(found[1]), "") if found else (None, comment)


def is_empty(text: str) -> bool:
    """Return whether a cell has no value, or a word for it such as NA."""
    return text.strip().casefold() in NO_VALUE


def column_name(text: str) -> str:
    """Return the form of a name of a column by which columns are found.

    >>> column_name(" Start  (s)")
    'start (s)'
    """
    return " ".join(text.split()).casefold()
