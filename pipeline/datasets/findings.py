"""The problems, files, groups and splits of a data set, of videos or of images."""

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pipeline.annotations.problems import AnnotationError, Problem, condense, did_you_mean, read_lines, without_content
from pipeline.datasets.manifest import SPLITS
from pipeline.errors import InputError
from pipeline.files import canonical, check_name, is_dangling, is_hidden, leads_out
from pipeline.text.wording import listed
from pipeline.video.types import VIDEO_SUFFIXES

# Of the files that cameras and their programs write beside a video: thumbnails, previews, positions, settings.
SIDE_SUFFIXES = frozenset(
    {".aae", ".bdm", ".cpi", ".glv", ".gpx", ".lrf", ".lrv", ".moi", ".mpl", ".sav", ".srt", ".thm", ".xml", ".xmp"}
)
MEDIA_FOLDERS = frozenset({"videos", "features", "images"})


@dataclass
class Findings:
    """Everything that is wrong with a data set.

    Attributes:
        root: The folder of the data set.
        follow_links: Whether text files are read that are links out of the data set. Links of videos, features and
            images are always followed: git-annex and DVC store them so, and no message quotes what they hold.
        problems: By the stem of the file that they make unusable, or None for the whole data set.
    """

    root: Path
    follow_links: bool = False
    problems: dict[str | None, list[Problem]] = field(default_factory=dict)

    def add(self, stem: str | None, path: Path, message: str, line: int | None = None) -> None:
        """Add a problem of the file `stem`, or None for the whole data set; see `Problem` for the other arguments."""
        self.extend(stem, [Problem(path, line, message)])

    def extend(self, stem: str | None, problems: Sequence[Problem]) -> None:
        """Add problems of the file `stem`, or None for the whole data set, without the content of files elsewhere."""
        is_text = bool(problems) and not _is_media(problems[0].path)
        shown = without_content(problems, self.root) if self.follow_links and is_text else problems
        self.problems.setdefault(stem, []).extend(shown)

    def may_read(self, path: Path, stem: str | None = None) -> bool:
        """Return whether a text file may be read; that it may not is a problem of the file `stem`, see `extend`."""
        if self.follow_links or is_dangling(path) or not leads_out(path, self.root):
            return True
        remedy = "copy the file, or set follow_links to true (framescribe check --follow-links) if you trust it"
        self.add(stem, path, f"is a link out of the data set, and is not read: {remedy}")
        return False

    def all_problems(self) -> list[Problem]:
        """Return the problems of the whole data set, then those of each file, in the order in which they were added."""
        return [problem for stem in sorted(self.problems, key=lambda s: s or "") for problem in self.problems[stem]]

    def raise_or_skip(self, *, skip_broken: bool, section: str, files: str) -> list[Problem]:
        """Return the problems of the files to leave out, as they are printed (see `condense`).

        Args:
            skip_broken: Whether files with a problem are left out.
            section: The section of the settings with `skip_broken`, for the message.
            files: The noun for the files, for the message.

        Raises:
            InputError: The data set as a whole has a problem, or a file has one and `skip_broken` is false.
        """
        problems = self.all_problems()
        if problems and (None in self.problems or not skip_broken):
            hint = "" if None in self.problems else f"\n({section}.skip_broken=true leaves these {files} out)"
            raise InputError("\n".join(map(str, condense(problems))) + hint)
        return condense(problems)


def _is_media(path: Path) -> bool:
    return path.parent.name in MEDIA_FOLDERS or path.suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class Stems:
    """The stems that groups.csv and splits/ may name.

    Attributes:
        folder: The name of the folder of the files.
        own: The stems of the files in <root>/`folder`.
        video_of: For each image that is a frame of a video, the stem of the video; the group and the split of the video
            also hold for the image.
        others: Stems that may be named and are irrelevant here.
    """

    folder: str
    own: set[str]
    video_of: dict[str, str] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)

    @cached_property
    def known(self) -> dict[str, str]:
        """All stems that may be named, by their `canonical` form."""
        return {canonical(stem): stem for stem in self.own | set(self.video_of.values()) | self.others}

    def find(self, name: str) -> str | None:
        """Return the stem with a name in any Unicode form; None where there is no such stem."""
        return self.known.get(canonical(name))

    def inherit(self, of_stem: Mapping[str, str]) -> dict[str, str]:
        """Return `of_stem` with an added entry for each image that it does not name, but whose video it names."""
        inherited = {stem: of_stem[video] for stem, video in self.video_of.items() if video in of_stem}
        return inherited | dict(of_stem)

    def unknown(self, name: str) -> str:
        """Describe an unknown name, with a guess at what was meant."""
        stem = self.find(Path(name).stem)
        guess = f": did you mean {stem!r}?" if stem else did_you_mean(name, sorted(self.known.values()))
        return f"{name!r} is not a stem of {self.folder}/{guess}"


def find_files(
    findings: Findings, folder: Path, suffixes: Set[str], *, among: Iterable[Path] | None = None
) -> list[Path]:
    """Find the media files of a folder.

    Hidden files and the files that systems and cameras put beside videos are passed over.

    Args:
        findings: Files with other suffixes or with the stem of another file, links to what is not there, and an empty
            folder, are added to it.
        folder: The folder.
        suffixes: The suffixes, in lower case; those of the files may be in upper case.
        among: The files of the folder that are looked at; None for all.

    Returns:
        The files, sorted; of those with the same stem, the first.
    """
    paths = sorted(p for p in among or folder.iterdir() if (p.is_file() or is_dangling(p)) and not is_hidden(p))
    paths = [path for path in paths if path.suffix.lower() not in SIDE_SUFFIXES]
    found: dict[str, Path] = {}  # by the canonical form of the stem
    for path in paths:
        try:
            check_name(path)
        except InputError as error:
            findings.add(None, path, str(error).removeprefix(f"{path}: "))
            continue
        if path.suffix.lower() not in suffixes:
            findings.add(None, path, f"is not one of {', '.join(sorted(suffixes))}: move it out of {folder.name}/")
        elif (other := found.setdefault(canonical(path.stem), path)) != path:
            message = f"has the same stem as {other.name}: rename one of them"
            findings.extend(other.stem, [Problem(path, None, message, fault="same stem")])
    if not paths:
        findings.add(None, folder, "is empty")
    return list(found.values())


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_groups(findings: Findings, stems: Stems) -> dict[str, str]:
    """Read <root>/groups.csv.

    A stem without a row is its own group only where the file is missing or names only other files (videos); otherwise
    it is a problem.

    Args:
        findings: Problems of the file are added to it.
        stems: The stems that the file may name.

    Returns:
        The group of each stem that has one; empty where the file is missing.
    """
    path = findings.root / "groups.csv"
    if not path.exists() or not findings.may_read(path):
        return {}
    groups: dict[str, str] = {}
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(read_lines(path))]
    except AnnotationError as error:
        findings.extend(None, error.problems)
        return {}
    except csv.Error as error:
        findings.add(None, path, f"is not CSV ({error}): is a quote not closed?")
        return {}
    if not rows or rows[0] != ["stem", "group"]:
        got = ",".join(rows[0]) if rows else ""
        findings.add(None, path, f"got the header {got!r}, expected 'stem,group'", 1)
        return {}
    for line, row in enumerate(rows[1:], 2):
        if not any(row):
            continue
        if len(row) != 2 or not all(row):
            findings.add(None, path, f"got {','.join(row)!r}, expected a stem and its group", line)
        elif (stem := stems.find(row[0])) is None:
            findings.add(None, path, stems.unknown(row[0]), line)
        elif stem in groups:
            findings.add(None, path, f"{row[0]!r} is here a second time", line)
        else:
            groups[stem] = canonical(row[1])
    groups = stems.inherit(groups)
    is_of_others = bool(groups.keys() & stems.others) and not groups.keys() & stems.own
    if is_of_others:
        return groups
    if missing := sorted(stems.own - groups.keys()):
        shown = listed([*map(repr, missing)], 5)
        findings.add(None, path, f"has no row for {shown}: without its group a file could leak between splits")
    return groups


def read_splits(findings: Findings, stems: Stems, groups: Mapping[str, str]) -> dict[str, str]:
    """Read the files of <root>/splits.

    Args:
        findings: Problems of the files are added to it, also where the stems of a group are in several splits.
        stems: The stems that the files may name.
        groups: The group of each stem; a stem that is not in it is its own group.

    Returns:
        The split of each stem; a stem that is in none of the files has no entry.
    """
    folder = findings.root / "splits"
    if not folder.is_dir():
        return {}
    names = [f"{split}.txt" for split in SPLITS]
    for path in sorted(p for p in folder.iterdir() if p.name not in names and not p.name.startswith(".")):
        findings.add(None, path, f"is not one of {', '.join(names)}")
    places: dict[str, tuple[str, int]] = {}  # split and line of each stem
    for split in SPLITS:
        _read_split(findings, split, stems, places)
    _check_groups_stay_together(findings, places, groups)
    return stems.inherit({stem: split for stem, (split, _) in places.items()})


def _check_groups_stay_together(
    findings: Findings, places: Mapping[str, tuple[str, int]], groups: Mapping[str, str]
) -> None:
    homes: dict[str, str] = {}  # the first stem of each group
    split_groups: set[tuple[str, str]] = set()  # (group, split); each is reported once
    for stem, (split, line) in places.items():
        group = groups.get(stem, stem)
        first = homes.setdefault(group, stem)
        home, home_line = places[first]
        if home != split and (group, split) not in split_groups:
            split_groups.add((group, split))
            where = f"{first!r} in {home}.txt, line {home_line}"
            message = f"{stem!r} is of group {group!r}, as is {where}: a group belongs in one split"
            findings.add(None, findings.root / "splits" / f"{split}.txt", message, line)


def _read_split(findings: Findings, split: str, stems: Stems, places: dict[str, tuple[str, int]]) -> None:
    path = findings.root / "splits" / f"{split}.txt"
    if not path.exists() or not findings.may_read(path):
        return
    try:
        lines = [line.strip() for line in read_lines(path)]
    except AnnotationError as error:
        findings.extend(None, error.problems)
        return
    for line, name in enumerate(lines, 1):
        if not name:
            continue
        stem = stems.find(name)
        if stem is None:
            findings.add(None, path, stems.unknown(name), line)
        elif stem in places:
            other, other_line = places[stem]
            where = f"on line {other_line}" if other == split else f"in {other}.txt, line {other_line}"
            findings.add(None, path, f"{stem!r} is already {where}: it belongs in one split, once", line)
        else:
            places[stem] = split, line
