"""The scan of a data set on disk, which reports its content and all of its problems together.

Layout (docs/users/data_format.md): `videos/` or `features/`, or videos beside the labels; `labels/` or `labels.csv`;
optionally `classes.txt` or `classes.csv`, `scored.csv`, `splits/` and `groups.csv`.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from pipeline.annotations.problems import Problem
from pipeline.annotations.times import FrameTimes
from pipeline.datasets.features import describe_transposed, read_feature_file
from pipeline.datasets.findings import Stems, digest, find_files, read_groups, read_splits
from pipeline.datasets.manifest import Source
from pipeline.datasets.scanned import Scan
from pipeline.datasets.scanned_labels import (
    check_strays,
    read_label_space,
    read_labels_of_videos,
    read_scored_ranges,
    scan_labels,
)
from pipeline.errors import InputError, describe_reason
from pipeline.video.open import open_indexed
from pipeline.video.types import VIDEO_SUFFIXES, Backend, ReaderName, scaling_reader


def scan_dataset(
    root: Path,
    *,
    reader: Backend = "auto",
    independent: bool = False,
    follow_links: bool = False,
    progress: Callable[[list[Path]], Iterable[Path]] = lambda paths: paths,
) -> Scan:
    """Check every file of a data set.

    Args:
        root: The folder of the data set.
        reader: The reader that will decode the videos: a video that it refuses is a problem.
        independent: Whether each class is a group of its own, see `ClassList.label_space`.
        follow_links: See `Findings`.
        progress: Wraps the list of media files, for a progress bar.

    Returns:
        The content and all problems: the function raises nothing because of the content.
    """
    scan = Scan(Path(root), follow_links)
    if not scan.root.is_dir():
        scan.add(None, scan.root, "is not a folder: a data set is a folder with videos/ or features/, and labels/")
        return scan
    read_label_space(scan, independent=independent)
    media = _find_media(scan)
    if not media:
        return scan  # otherwise each remaining file would be reported as belonging to no source
    stems = Stems(scan.kind, {path.stem for path in media})
    groups = read_groups(scan, stems)
    video_labels = read_labels_of_videos(scan, stems)
    scored = read_scored_ranges(scan, stems)
    for path in progress(media):
        _scan_source(scan, path, groups.get(path.stem, path.stem), scaling_reader(reader))
        scan_labels(scan, path, video_labels, scored, scan.times.get(path.stem))
    _check_widths(scan)
    check_strays(scan, stems)
    for stem, split in read_splits(scan, stems, groups).items():
        if stem in scan.sources:
            scan.sources[stem] = replace(scan.sources[stem], split=split)
    return scan


def _find_media(scan: Scan) -> list[Path]:
    """Find the videos, or files of features: in their folder, or as videos beside labels/."""
    folders = [scan.root / name for name in ("videos", "features") if (scan.root / name).is_dir()]
    if len(folders) > 1:
        scan.add(None, scan.root, "has both videos/ and features/: keep one")
        return []
    if not folders:
        beside = [path for path in scan.root.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES]
        if not beside:
            scan.add(None, scan.root, "has neither videos/ nor features/")
            return []
        return find_files(scan, scan.root, VIDEO_SUFFIXES, among=beside)
    scan.kind = "videos" if folders[0].name == "videos" else "features"
    suffixes = VIDEO_SUFFIXES if scan.kind == "videos" else {".npy"}
    return find_files(scan, folders[0], suffixes)


def _scan_source(scan: Scan, path: Path, group: str, reader: ReaderName) -> None:
    """Read what is known of a source without decoding it."""
    try:
        if scan.kind == "videos":
            scan.sources[path.stem], scan.times[path.stem] = _read_video(path, group, reader)
        else:
            scan.sources[path.stem] = _read_features(path, group)
    except InputError as error:
        scan.add(path.stem, path, str(error).removeprefix(f"{path}: "))
    except OSError as error:
        scan.add(path.stem, path, f"cannot be read: {describe_reason(error)}")


def _read_video(path: Path, group: str, reader: ReaderName) -> tuple[Source, FrameTimes]:
    from pipeline.video.survey import index_video  # decoders are slow to import

    index = index_video(path)
    with open_indexed(index, backend=reader) as video:
        p = video.properties
        source = Source(
            stem=path.stem,
            path=str(path),
            group=group,
            num_frames=p.num_frames,
            frame_rate=str(p.frame_rate),
            width=p.width,
            height=p.height,
            declared_frames=p.declared_frames,
            variable_frame_rate=p.variable_frame_rate,
            sha256=digest(path),
        )
        return source, FrameTimes(index.pts_seconds, frame_seconds=float(1 / p.frame_rate))


def _read_features(path: Path, group: str) -> Source:
    num_frames, num_features = read_feature_file(path).shape
    return Source(path.stem, str(path), group, num_frames, width=num_features, sha256=digest(path))


def _check_widths(scan: Scan) -> None:
    """Report the feature files whose width differs from that of most files: it must be the same in all of them.

    Where all lengths are the same and the widths are as different as lengths are, the files are transposed.
    """
    if scan.kind == "videos":
        return
    named = {str(problem.path) for problems in scan.problems.values() for problem in problems}
    sources = {stem: source for stem, source in scan.sources.items() if source.path not in named}
    widths = Counter(source.width or 0 for source in sources.values())
    if len(widths) < 2:
        return
    usual = widths.most_common(1)[0][0]
    are_lengths = len(widths) >= max(3, len(sources) / 2) and len({s.num_frames for s in sources.values()}) == 1
    for stem, source in sources.items():
        path, width = Path(source.path), source.width or 0
        if are_lengths:
            message = describe_transposed((source.num_frames, width), "features of one frame")
            scan.problems[stem] = [Problem(path, None, message)]  # instead of those of its labels
        elif width != usual:
            scan.add(stem, path, f"has {width} features a frame where most files have {usual}")
