"""Which classes imported labels have, in which order, and which of them exclude each other."""

from collections.abc import Iterable, Mapping, Sequence

from pipeline.annotations.foreign.placing import PlacedSegment
from pipeline.annotations.label_space import LabelSpace
from pipeline.errors import InputError


class ClassOrder:
    """Keeps the classes that occur, and the order in which files declare their behaviours.

    Attributes:
        groups: The group of each class: its subject where subjects have classes of their own, otherwise "".
    """

    def __init__(self) -> None:
        self.groups: dict[str, str] = {}
        self._labels: dict[str, str] = {}

    def add(self, name: str, group: str, label: str) -> None:
        """Record a class, the behaviour of which is `label`."""
        self.groups.setdefault(name, group)
        self._labels.setdefault(name, label)

    def sort(self, names: Iterable[str], declared: Sequence[str]) -> list[str]:
        """Sort classes: by group, and within it as their behaviours are declared; others as they first occurred.

        Args:
            names: The classes.
            declared: The behaviours in the order in which files declare them.
        """
        groups = list(dict.fromkeys(self.groups.values()))
        places = {label: index for index, label in enumerate(declared)}
        seen = {name: index for index, name in enumerate(self.groups)}

        def place(name: str) -> tuple[int, int, int]:
            label = places.get(self._labels.get(name, name), len(places))
            return groups.index(self.groups[name]) if name in self.groups else 0, label, seen.get(name, len(seen))

        return sorted(names, key=place)


def find_overlap(segments: Sequence[PlacedSegment]) -> tuple[PlacedSegment, PlacedSegment] | None:
    """Return two segments of different classes of a video that overlap; None where none do.

    Args:
        segments: Sorted by their starts.
    """
    furthest: PlacedSegment | None = None
    for segment in segments:
        if furthest is not None and segment.start < furthest.stop and segment.name != furthest.name:
            return furthest, segment
        if furthest is None or segment.stop > furthest.stop:
            furthest = segment
    return None


def make_label_space(
    names: Sequence[str], groups: Mapping[str, str], videos: Iterable[Sequence[PlacedSegment]], *, may_overlap: bool
) -> LabelSpace:
    """Make the label space of imported labels.

    Classes exclude each other if no two of them overlap, unless the file or the caller says that they may. Where
    subjects have classes of their own, those of one subject exclude each other if no two of them overlap. A single
    class may be absent, as one that excludes no other.

    Args:
        names: The classes that occur, in order.
        groups: The group of each class; "" where it has none.
        videos: The segments of each video, sorted.
        may_overlap: Whether any classes may overlap, whatever the segments do.

    Raises:
        InputError: A name is not allowed as that of a class.
    """
    distinct = {groups.get(name, "") for name in names}
    overlapping = dict.fromkeys(distinct, False)
    for segments in videos:
        for group in distinct:
            inside = [segment for segment in segments if groups.get(segment.name, "") == group]
            overlapping[group] |= find_overlap(inside) is not None
    try:
        if len(distinct) == 1:
            (group,) = distinct
            is_independent = may_overlap or overlapping[group] or len(names) == 1
            return LabelSpace.independent(tuple(names)) if is_independent else LabelSpace(tuple(names))
        of_names = (groups.get(name, "") for name in names)
        chosen = (
            name if may_overlap or overlapping[group] else group or "no subject"
            for name, group in zip(names, of_names, strict=True)
        )
        return LabelSpace(tuple(names), groups=tuple(chosen))
    except InputError as error:
        raise InputError(f"{error}; give it another name with --classes") from None
