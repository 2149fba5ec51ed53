"""What does not become a label, or not as it was: counted by kind, with the first of each kind as an example."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.annotations.foreign.document import Loss

MAX_KINDS = 20  # lines about what is lost
MAX_EXAMPLE = 300  # characters of an example


@dataclass(frozen=True)
class LossCount:
    """The losses of one kind in a recording.

    Attributes:
        path: The file.
        recording: The recording in it; "" for the file as a whole.
        kind: See `Loss`.
        count: How many there are.
        first: The first of them.
    """

    path: Path
    recording: str
    kind: str
    count: int
    first: Loss

    def describe_first(self) -> str:
        """Describe the first of them, with its place, such as "day1.boris, observation 3, event 7: walk"."""
        place = ", ".join(part for part in (self.path.name, self.recording, self.first.place) if part)
        return f"{place}{': ' if self.first.what else ''}{self.first.what[:MAX_EXAMPLE]}"


class Losses:
    """Losses, of which only their numbers and examples are kept: a thousand files may have millions of them."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Path, str, str], LossCount] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, path: Path, recording: str, losses: Iterable[Loss]) -> None:
        """Count the losses of a recording."""
        for loss in losses:
            key = path, recording, loss.kind
            before = self._counts.get(key)
            first, count = (before.first, before.count) if before else (loss, 0)
            self._counts[key] = LossCount(*key, count + 1, first)

    def by_recording(self) -> list[LossCount]:
        """Return the losses of each kind in each recording, in the order in which they first occurred."""
        return list(self._counts.values())

    def by_kind(self) -> dict[str, LossCount]:
        """Return the losses of each kind in all files together, the commonest first."""
        totals: Counter[str] = Counter()
        first: dict[str, LossCount] = {}
        for found in self._counts.values():
            totals[found.kind] += found.count
            first.setdefault(found.kind, found)
        return {kind: replace(first[kind], count=count) for kind, count in totals.most_common()}

    def describe(self) -> list[str]:
        """Describe the losses, in a line for each kind, the commonest first."""
        kinds = list(self.by_kind().values())
        lines = [f"{found.kind} ({found.count:,}; the first: {found.describe_first()})" for found in kinds[:MAX_KINDS]]
        return lines + [f"{len(kinds) - MAX_KINDS} more kinds of losses"] * (len(kinds) > MAX_KINDS)
