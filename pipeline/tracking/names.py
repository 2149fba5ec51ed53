"""Names that MLflow takes."""

import re
from collections.abc import Iterable

LONGEST_METRIC_NAME = 250  # MLflow's limit


def metric_names(names: Iterable[str]) -> dict[str, str]:
    """Find for each name one that MLflow takes: a class may be called anything. No two become the same.

    >>> metric_names(["f1/cut (left)", "f1/cut [left]", "f1/.."])
    {'f1/cut (left)': 'f1/cut _left_', 'f1/cut [left]': 'f1/cut _left__2', 'f1/..': 'f1/__'}
    """
    taken: dict[str, str] = {}
    for name in names:
        parts = re.sub(r"[^\w\-. :/]", "_", name).split("/")
        plain = "/".join("_" * max(1, len(part)) if part.strip(".") == "" else part for part in parts)
        candidate, count = plain[:LONGEST_METRIC_NAME], 1
        while candidate in taken.values():
            count += 1
            ending = f"_{count}"
            candidate = plain[: LONGEST_METRIC_NAME - len(ending)] + ending
        taken[name] = candidate
    return taken
