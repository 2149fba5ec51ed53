"""`framescribe evaluate --agreement`: compare the label files of two annotators.

T frames, K classes.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.annotations.formats.scored import Scored
from pipeline.annotations.problems import AnnotationError, condense
from pipeline.errors import InputError
from pipeline.metrics.agreement import compare_annotators
from pipeline.metrics.label_files import (
    LabelReader,
    StampsOf,
    find_label_files,
    find_label_space,
    find_list,
    no_stamps,
    other_length,
    stem_of,
)
from pipeline.metrics.videos import Report


def agreement_of(
    first: Path,
    second: Path,
    *,
    independent: bool = False,
    follow_links: bool = False,
    stamps_of: StampsOf = no_stamps,
) -> Report:
    """Compare the labels of two annotators.

    The class list is that of the first side, or failing that of the second, in the folder or beside it; failing both,
    the sorted names that the files use. What the scored.csv of a side says that its annotator did not look at is left
    out.

    Args:
        first: The folder with the label files of the first annotator; or one label file.
        second: That of the second one; a file where `first` is a file, whatever its stem.
        independent: See `folders.evaluate_folders`.
        follow_links: See `folders.evaluate_folders`.
        stamps_of: See `LabelReader`: labels in seconds need it, and it says how long videos are.

    Returns:
        The report of `compare_annotators`, and:
            only_first, only_second   the stems that one of the annotators has not labelled
            length_not_known          as in `folders.evaluate_folders`
            not_compared              the stems on both sides that are left out because of a problem
            failures                  the problems, and those of a scored.csv, shortened by `condense`
            has_class_list            where classes overlap: whether it is a class list, or `independent`, that says so

    Raises:
        InputError: A folder has no label files, one side is a file and the other a folder, no video is on both sides,
            or no video is left to be compared: then an AnnotationError with every problem of every file.
    """
    first, second = Path(first), Path(second)
    one_files, two_files = _files_of_sides(first, second)
    places = [first if first.is_dir() else first.parent, second if second.is_dir() else second.parent]
    files = [*one_files.values(), *two_files.values()]
    label_space = find_label_space(places, files, independent=independent, follow_links=follow_links)
    both = sorted(one_files.keys() & two_files.keys())
    if not both:
        raise InputError(f"no video has labels in both {first} and {second}: do the stems differ?")
    scored = [Scored.of(place, label_space, follow_links=follow_links) for place in places]
    videos = _Videos(LabelReader(label_space, follow_links, stamps_of), scored)
    for stem in both:
        videos.read(stem, one_files[stem], two_files[stem])
    unknown = [problem for of_side in scored for problem in of_side.find_unknown(one_files.keys() | two_files.keys())]
    problems = [
        *(dict.fromkeys(unknown) if first.is_dir() else ()),  # beside a file there may be other videos
        *videos.reader.all_problems(),
    ]
    if not videos.first:
        raise AnnotationError(problems)
    is_listed = independent or find_list(places, follow_links=follow_links) is not None
    return compare_annotators(videos.first, videos.second, label_space) | {
        "only_first": sorted(one_files.keys() - two_files.keys()),
        "only_second": sorted(two_files.keys() - one_files.keys()),
        "length_not_known": [stem for stem in videos.first if stem in videos.reader.without_length],
        "not_compared": sorted(videos.reader.problems),
        "failures": [str(problem) for problem in condense(problems)],
        **({} if label_space.is_exclusive else {"has_class_list": is_listed}),
    }


@dataclass
class _Videos:
    """The labels of the videos that can be compared, by their stems.

    Attributes:
        reader: It reads their files, and has the problems of the videos that cannot be compared.
        scored: What each annotator looked at.
        first: The labels of the first annotator: int64 [T], or int8 [T, K] where classes overlap.
        second: Those of the second one.
    """

    reader: LabelReader
    scored: list[Scored]
    first: dict[str, np.ndarray] = field(default_factory=dict)
    second: dict[str, np.ndarray] = field(default_factory=dict)

    def read(self, stem: str, *files: Path) -> None:
        """Read both label files of a video."""
        one, two = (self.reader.read(stem, path, other=other) for path, other in (files, files[::-1]))
        if one is None or two is None:
            return
        stems_of_files = [stem_of(path) for path in files]
        one = self.reader.lengthen_to_scored(stem, one, files, list(zip(self.scored, stems_of_files, strict=True)))
        one, two = self.reader.same_length(one, files[0], two, files[1])
        if len(one) != len(two):
            message = f"got {len(two)} labels for {len(one)} of {files[0]}"
            self.reader.add(stem, [other_length(files[1], message)])
            return
        first, second = (
            self.reader.keep_scored(stem, labels, scored, stem_of_file=stem_of_file)
            for labels, scored, stem_of_file in zip((one, two), self.scored, stems_of_files, strict=True)
        )
        if first is not None and second is not None:
            self.first[stem], self.second[stem] = first, second


def _files_of_sides(first: Path, second: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the label files of both sides by stem; two files are labels of one video."""
    if not first.is_file() and not second.is_file():
        return find_label_files(first), find_label_files(second)
    if not (first.is_file() and second.is_file()):
        file, other = (first, second) if first.is_file() else (second, first)
        raise InputError(
            f"{file} is a file and {other} is not: expected two folders of label files, or two label files"
        )
    stem = stem_of(first)
    return {stem: first}, {stem: second}
