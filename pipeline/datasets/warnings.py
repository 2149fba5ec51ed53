"""The warnings about a data set: what does not prevent training, but probably is a mistake or too little."""

from collections.abc import Collection, Sequence

from pipeline.annotations.formats import registry
from pipeline.annotations.label_space import PRESENT
from pipeline.annotations.problems import MAX_OF_KIND, Problem, condense
from pipeline.datasets.class_groups import find_similar_groups
from pipeline.datasets.co_occurrence import find_doubtful_pairs
from pipeline.datasets.manifest import Source
from pipeline.datasets.scanned import Scan
from pipeline.datasets.support import SupportTable, find_shortages
from pipeline.files import canonical, is_hidden
from pipeline.text.wording import counted, listed

MAX_NAMES = 8  # in one warning


def find_warnings(
    scan: Scan, sources: Sequence[Source], support: SupportTable, *, reported: Collection[str] = ()
) -> list[str]:
    """Find what is doubtful about a data set.

    Args:
        scan: The content of the data set.
        sources: The sources of it that are used.
        support: How much of each class these have.
        reported: Classes that are known to be in no label and are not reported again.

    Returns:
        A sentence for each warning: of classes there is too little, classes always or never occur together, groups of
        classes are spelt almost alike, videos are in no split, files in labels/ are not read, label files have numbers
        that are probably not frames or labels of what nobody looked at.
    """
    shortages = find_shortages(support, reported=reported)
    pairs = find_doubtful_pairs((scan.labels[source.stem] for source in sources), scan.label_space)
    is_grouped = scan.class_list is not None and scan.label_space.groups == scan.class_list.groups
    groups = find_similar_groups(scan.class_list) if scan.class_list and is_grouped else []
    empty = _describe_empty(scan, [source.stem for source in sources])
    files = [*_describe_unsplit(scan), *_describe_unread(scan)]
    return [*map(str, (*shortages, *pairs, *groups)), *empty, *files, *map(str, condense(scan.warnings()))]


def find_notes(scan: Scan) -> list[str]:
    """Say what of a data set is read in a way that a user may not expect.

    Returns:
        A sentence for each kind of note and each file, at most MAX_OF_KIND of a kind; files of which the same is to be
        said are one sentence.
    """
    paths: dict[str, list[Problem]] = {}
    for note in scan.notes:
        paths.setdefault(note.message, []).append(note)
    of_kind: dict[str, list[str]] = {}
    for first, *others in paths.values():
        more = f" (and so in {counted(len(others), 'more file', separator=',')})" if others else ""
        of_kind.setdefault(first.kind, []).append(f"{first}{more}")
    return [sentence for sentences in of_kind.values() for sentence in _shortened(sentences)]


def _shortened(sentences: Sequence[str]) -> list[str]:
    num_more = len(sentences) - MAX_OF_KIND
    return [*sentences[:MAX_OF_KIND], *[f"{num_more:,} more notes of the same kind"] * (num_more > 0)]


def _describe_empty(scan: Scan, stems: Sequence[str]) -> list[str]:
    """Name the videos without any class, where classes overlap: there, a forgotten label file says "none of them"."""
    if scan.label_space.is_exclusive:
        return []
    empty = [stem for stem in stems if not (scan.labels[stem] == PRESENT).any()]
    if not empty:
        return []
    names = listed([*map(repr, empty)], MAX_NAMES)
    return [f"no frame of {counted(len(empty), 'video')} has a class: {names}. Is that so, or are labels missing?"]


def _describe_unsplit(scan: Scan) -> list[str]:
    """Name the videos without a problem that no file of splits/ names, so that they are left out."""
    folder = scan.root / "splits"
    unsplit = [stem for stem, source in sorted(scan.sources.items()) if not source.split and stem not in scan.problems]
    if not unsplit or not folder.is_dir():
        return []
    verb = "is" if len(unsplit) == 1 else "are"
    names = listed([*map(repr, unsplit)], MAX_NAMES)
    return [f"{folder}: {counted(len(unsplit), 'video')} {verb} in none of its files, and left out: {names}"]


def _describe_unread(scan: Scan) -> list[str]:
    """Name what is in labels/ and is not read; what stands there instead of a label file is named by a problem."""
    folder = scan.root / "labels"
    if not folder.is_dir():
        return []
    missing = {canonical(stem) for stem in scan.problems if stem is not None and stem not in scan.labels}
    unread = [
        path.name + "/" * path.is_dir()
        for path in sorted(folder.iterdir())
        if not is_hidden(path) and registry.format_of(path) is None and canonical(path.stem) not in missing
    ]
    if not unread:
        return []
    suffixes = " or ".join(layout.suffix for layout in registry.formats_of_people())
    names = listed(unread, MAX_NAMES)
    return [f"{folder}: {counted(len(unread), 'file')} not read, expected {suffixes}: {names}"]
