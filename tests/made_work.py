"""How much work something is, independent of the machine and of what else runs on it."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

FEW = 1000
MANY = 4000


def num_calls(action: Callable[[], object]) -> int:
    """The number of calls of functions, also of built-in ones, in this thread while an action runs."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


def assert_grows_linearly(prepare: Callable[[int], Callable[[], object]]) -> None:
    """Assert that four times as many items need at most five times as many calls.

    Args:
        prepare: It is called with the number of items, and returns the action, whose calls are counted.
    """
    few, many = (num_calls(prepare(number)) for number in (FEW, MANY))
    assert FEW < few < many < 5 * few
