"""The table by which behaviours of other programs are renamed, joined, or left out."""

from pathlib import Path

from pipeline.annotations.foreign.placing import plain_name
from pipeline.annotations.formats.parsing import raise_problems
from pipeline.annotations.formats.rows import parse_rows
from pipeline.annotations.problems import Problem

HEADER = ("from", "to")


def read_class_map(path: Path) -> dict[str, str]:
    """Read a class map: from,to; an empty cell in `to` leaves a behaviour out.

    Raises:
        AnnotationError: Every problem of the file.
    """
    problems: list[Problem] = []
    found: dict[str, tuple[str, int]] = {}
    for line, (old, new) in parse_rows(path, HEADER, problems):
        name, new = plain_name(old), plain_name(new)
        if not name:
            problems.append(Problem(path, line, "names no behaviour in the column 'from'"))
        elif found.setdefault(name, (new, line)) != (new, line):
            problems.append(Problem(path, line, f"behaviour {name!r} is already on line {found[name][1]}"))
    raise_problems(problems)
    return {name: new for name, (new, _) in found.items()}
