"""The scan of a captioned image set on disk, which reports all of its problems together.

Layout (docs/users/data_format.md): `images/`, `captions.csv` with several rows per image, optionally `splits/` and
`groups.csv`. Both may also name videos: the image `<video>_<frame number>.jpg` belongs to the split and the group of
its video, unless it is named itself.
"""

import contextlib
import csv
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.annotations.problems import AnnotationError, read_lines
from pipeline.datasets.caption_manifest import CaptionedImage
from pipeline.datasets.findings import Findings, Stems, digest, find_files, read_groups, read_splits
from pipeline.datasets.manifest import SPLITS
from pipeline.errors import InputError, describe_reason
from pipeline.files import canonical, leads_out
from pipeline.text.vocabulary import tokenize
from pipeline.video.image import IMAGE_SUFFIXES, read_image

Row = tuple[int, list[str]]  # the number of its first line, and its cells


@dataclass
class CaptionScan(Findings):
    """The content of a captioned image set and everything that is wrong with it.

    Attributes:
        images: The usable images by their stems.
    """

    images: dict[str, CaptionedImage] = field(default_factory=dict)


def scan_captions(
    root: Path,
    *,
    follow_links: bool = False,
    progress: Callable[[list[Path]], Iterable[Path]] = lambda paths: paths,
) -> CaptionScan:
    """Check every file of a captioned image set; every image is decoded.

    Args:
        root: The folder of the data set.
        follow_links: See `Findings`.
        progress: Wraps the list of image files, for a progress bar.

    Returns:
        The content and all problems: the function raises nothing because of the content. An image that cannot be
        decoded or has no caption is not among the images.
    """
    scan = CaptionScan(Path(root), follow_links)
    folder = scan.root / "images"
    if not folder.is_dir():
        scan.add(None, folder, "is not a folder: captioned images belong there, and their captions in captions.csv")
        return scan
    paths = find_files(scan, folder, IMAGE_SUFFIXES)
    if not paths:
        return scan  # otherwise each remaining file would be reported as belonging to no image
    captions = _read_captions(scan, paths)
    stems = _find_stems(scan, {path.stem for path in paths})
    groups = {stem: stems.video_of.get(stem, stem) for stem in stems.own} | read_groups(scan, stems)
    splits = read_splits(scan, stems, groups)
    for path in progress(paths):
        stem = path.stem
        sha256 = _check_image(scan, path)
        if sha256 and captions.get(stem):
            scan.images[stem] = CaptionedImage(
                stem, str(path.absolute()), groups[stem], splits.get(stem), sha256, tuple(captions[stem])
            )
    return scan


def _check_image(scan: CaptionScan, path: Path) -> str | None:
    """Return the digest of an image; None where it cannot be decoded, which is a problem."""
    try:
        read_image(path)
        return digest(path)
    except InputError as error:
        scan.add(path.stem, path, str(error).removeprefix(f"{path}: "))
    except OSError as error:
        scan.add(path.stem, path, f"cannot be read: {describe_reason(error)}")
    return None


def _find_stems(scan: CaptionScan, own: set[str]) -> Stems:
    """Return what splits and groups may name; a video is known by its file or because they name it."""
    others = {path.stem for folder in ("videos", "features") for path in (scan.root / folder).glob("[!.]*")}
    of_name = {canonical(stem): stem for stem in (*_named_stems(scan), *others)}
    matches = (match for stem in own if (match := re.fullmatch(r"(.+)_\d+", stem)))
    video_of = {match[0]: video for match in matches if (video := of_name.get(canonical(match[1])))}
    return Stems("images", own, video_of, others)


def _named_stems(scan: CaptionScan) -> set[str]:
    names: set[str] = set()
    for path in (scan.root / "groups.csv", *(scan.root / "splits" / f"{split}.txt" for split in SPLITS)):
        if leads_out(path, scan.root) and not scan.follow_links:
            continue
        with contextlib.suppress(AnnotationError):  # it is reported where the file is parsed
            names |= {line.partition(",")[0].strip() for line in read_lines(path)}
    return names


def _read_captions(scan: CaptionScan, images: list[Path]) -> dict[str, list[str]]:
    """Read captions.csv: for each stem its captions, in the order of the file.

    A run of spaces and line ends inside a caption becomes one space.
    """
    path = scan.root / "captions.csv"
    rows, is_whole = _read_rows(scan, path)
    if not rows or rows[0][1] != ["image", "caption"]:
        if is_whole:
            got = ",".join(rows[0][1]) if rows else ""
            scan.add(None, path, f"got the header {got!r}, expected 'image,caption'", 1)
        return {}
    names = {canonical(path.name): path.name for path in (scan.root / "images").iterdir()}
    _report_unknown_images(scan, path, rows[1:], names)
    captions: dict[str, list[str]] = {}
    for line, row in rows[1:]:
        if name := names.get(canonical(row[0])):
            captions.setdefault(Path(name).stem, []).extend(_caption_of(scan, path, line, row, name))
    for image in images:
        if is_whole and image.stem not in captions:
            scan.add(image.stem, image, "has no caption: captions.csv has no row for it")
    return captions


def _report_unknown_images(scan: CaptionScan, path: Path, rows: list[Row], names: Mapping[str, str]) -> None:
    """Report each name that is not the name of a file once, at its first line.

    `names` has the name of each file by its canonical form.
    """
    unknown: dict[str, int] = {}
    for line, row in rows:
        if canonical(row[0]) not in names:
            unknown.setdefault(row[0], line)
    name_of_stem = {Path(name).stem: name for name in names.values()}
    for name, line in unknown.items():
        similar = name_of_stem.get(name) or name_of_stem.get(Path(name).stem)
        guess = f": did you mean {similar!r}?" if similar else ": is it misspelt, or is the file missing?"
        scan.add(None, path, f"{name!r} is not a file of images/{guess}", line)


def _caption_of(scan: CaptionScan, path: Path, line: int, row: list[str], name: str) -> list[str]:
    """Return the caption of a row in a list; an empty list where the row is at fault, which is a problem of `name`."""
    stem = Path(name).stem
    if len(row) != 2:
        message = f"got {len(row)} cells, expected an image and its caption: a caption with a comma needs quotes"
        scan.add(stem, path, message, line)
    elif not tokenize(row[1]):
        scan.add(stem, path, f"the caption {row[1]!r} of {row[0]} has no word", line)
    else:
        return [" ".join(row[1].split())]
    return []


def _read_rows(scan: CaptionScan, path: Path) -> tuple[list[Row], bool]:
    """Return the rows that are not blank, and whether all of the file could be read."""
    if not scan.may_read(path):
        return [], False
    try:
        reader = csv.reader([f"{line}\n" for line in read_lines(path)], strict=True)
    except AnnotationError as error:
        scan.extend(None, error.problems)
        return [], False
    rows: list[Row] = []
    is_whole = True
    while True:
        line = reader.line_num + 1
        try:
            row = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return rows, is_whole
        except csv.Error as error:
            is_whole = False
            cause = "is a quote not closed, or a quote inside of a caption not doubled?"
            scan.add(None, path, f"is not CSV from here on ({error}): {cause}", line)
        else:
            if any(row):
                rows.append((line, row))
