"""The commands import and export: what people see, exit codes, and labels that come back as they went."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_videos import MEDIA, make_video

from pipeline.annotations.foreign.registry import FOREIGN_FORMATS
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segments import segments_from_frames
from pipeline.cli.main import main
from pipeline.datasets.scan import scan_dataset
from pipeline.interchange.videos import read_times

__all__ = ["make_video"]
WRITTEN = [layout for layout in FOREIGN_FORMATS if layout.write]
CLASSES = ("walk", "rest", "eat")


@pytest.fixture
def clip(make_video: Callable[..., Path], tmp_path: Path) -> Path:
    """A video that starts late, with steps of many lengths between its frames."""
    steps = np.random.default_rng(0).integers(20, 90, 60)
    path = make_video("source.mp4", ticks=[480, *(480 + np.cumsum(steps)).tolist()])
    (tmp_path / "videos").mkdir()
    return path.rename(tmp_path / "videos" / "clip.mp4")


def write_labels(folder: Path, labels: dict[str, np.ndarray], space: LabelSpace) -> None:
    (folder / "labels").mkdir(parents=True)
    for stem, of_video in labels.items():
        rows = [f"{run.start},{run.stop},{space.classes[run.class_index]}" for run in segments_from_frames(of_video)]
        (folder / "labels" / f"{stem}.csv").write_text("\n".join(["start,stop,class", *rows]) + "\n")
    if space.groups is None:
        (folder / "classes.txt").write_text("\n".join(space.classes) + "\n")
    else:
        rows = [f"{name},{group}" for name, group in zip(space.classes, space.groups, strict=True)]
        (folder / "classes.csv").write_text("\n".join(["class,group", *rows]) + "\n")


def random_labels(num_frames: int, *, overlapping: bool, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if not overlapping:
        return np.repeat(rng.permutation(np.arange(num_frames) % 3), rng.integers(1, 5, num_frames))[:num_frames]
    columns = [np.repeat(rng.integers(0, 2, num_frames), rng.integers(1, 6, num_frames))[:num_frames] for _ in CLASSES]
    return np.stack(columns, axis=1).astype(np.int8)


def there_and_back(layout: str, labels: dict[str, np.ndarray], space: LabelSpace, folder: Path, videos: Path) -> None:
    write_labels(folder / "before", labels, space)
    out = folder / "written"
    per_video = next(each.is_per_video for each in WRITTEN if each.name == layout)
    target = out if per_video else out.with_suffix(next(each for each in WRITTEN if each.name == layout).suffixes[0])
    assert main(["export", layout, str(folder / "before"), "--videos", str(videos), "--out", str(target)]) == 0
    back = [str(target), "--videos", str(videos), "--out", str(folder / "after")]
    assert main(["import", layout, *back, *["--independent"] * (not space.is_exclusive)]) == 0
    scan = scan_dataset(folder / "after")
    assert [str(problem) for problem in scan.all_problems()] == []
    assert sorted(scan.label_space.classes) == sorted(space.classes)
    order = [scan.label_space.classes.index(name) for name in space.classes]
    for stem, expected in labels.items():
        found = scan.labels[stem]
        assert (found == np.array(order)[expected]).all() if space.is_exclusive else (found[:, order] == expected).all()


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("layout", [each.name for each in WRITTEN])
def test_labels_come_back_on_the_same_frames(layout: str, overlapping: bool, clip: Path, tmp_path: Path) -> None:
    if layout == "ms-tcn" and overlapping:
        pytest.skip("a line of this format has one class")
    space = LabelSpace.independent(CLASSES) if overlapping else LabelSpace(CLASSES)
    labels = random_labels(read_times(clip).times.num_frames, overlapping=overlapping, seed=1)
    there_and_back(layout, {"clip": labels}, space, tmp_path, clip.parent)


@pytest.mark.slow
@pytest.mark.parametrize("layout", [each.name for each in WRITTEN])
def test_labels_of_real_files_come_back_on_the_same_frames(layout: str, tmp_path: Path) -> None:
    if not MEDIA.is_dir():
        pytest.skip(f"{MEDIA} is missing")
    (tmp_path / "videos").mkdir()
    labels = {}
    for path in sorted(MEDIA.iterdir()):
        if path.suffix != ".csv" and (num_frames := read_times(path).times.num_frames) > 5:
            (tmp_path / "videos" / path.name).symlink_to(path)
            labels[path.stem] = random_labels(num_frames, overlapping=False, seed=len(labels))
    there_and_back(layout, labels, LabelSpace(CLASSES), tmp_path, tmp_path / "videos")


def test_the_list_names_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "--list"]) == 0
    printed = capsys.readouterr().out
    assert all(f"{layout.name}: {layout.title}" in printed for layout in FOREIGN_FORMATS)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["import"], "expected FORMAT, FILE, --videos DIR, --out DATASET as well"),
        (["import", "bori", "{file}", "--videos", "{videos}", "--out", "{out}"], "did you mean 'boris'?"),
        (["import", "boris", "{file}", "--videos", "{out}", "--out", "{out}"], "expected the folder of the videos"),
        (["import", "elan", "{file}", "--videos", "{videos}", "--out", "{out}"], "it looks like FERAL labels"),
        (["import", "auto", "{file}", "--videos", "{videos}", "--out", "{videos}"], "never overwritten"),
        (["import", "auto", "{video}", "--videos", "{videos}", "--out", "{out}"], "looks like none of the formats"),
        (["import", "feral", "{file}", "--videos", "{videos}", "--out", "{out}", "--points", "0"], "above 0"),
        (["export", "cvat", "{videos}", "--videos", "{videos}", "--out", "{out}"], "got the format 'cvat' to write"),
        (["check", "{file}"], "name its videos with --videos DIR"),
    ],
)
def test_a_call_that_cannot_be_right_is_refused_in_a_sentence(
    arguments: list[str], expected: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {"class_names": {"0": "walk"}, "is_multilabel": True, "labels": {"clip.mp4": [[1]] * 61}}
    (tmp_path / "labels.json").write_text(json.dumps(content | {"splits": {}}))
    places = {"file": tmp_path / "labels.json", "videos": clip.parent, "video": clip, "out": tmp_path / "out"}
    assert main([argument.format(**places) for argument in arguments]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_exists_is_not_overwritten_by_an_export(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = random_labels(61, overlapping=False, seed=0)
    write_labels(tmp_path / "data", {"clip": labels}, LabelSpace(CLASSES))
    (tmp_path / "mine.boris").write_text("{}")
    call = ["export", "boris", str(tmp_path / "data"), "--videos", str(clip.parent), "--out"]
    assert main([*call, str(tmp_path / "mine.boris")]) == 2
    assert "is not overwritten" in capsys.readouterr().err
    assert (tmp_path / "mine.boris").read_text() == "{}"


def test_labels_that_do_not_fit_cost_their_video_only(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = random_labels(61, overlapping=False, seed=0)
    write_labels(tmp_path / "data", {"clip": labels, "absent": labels}, LabelSpace(CLASSES))
    call = ["export", "boris", str(tmp_path / "data"), "--videos", str(clip.parent), "--out"]
    assert main([*call, str(tmp_path / "new.boris")]) == 1
    assert "not exported" in (printed := capsys.readouterr()).err
    assert "there is no video 'absent'" in printed.err
    assert "1 video in 1 file for BORIS project" in printed.out


def test_the_truth_may_be_a_file_of_another_program(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = random_labels(61, overlapping=False, seed=0)
    write_labels(tmp_path / "data", {"clip": labels}, LabelSpace(CLASSES))
    project, videos = str(tmp_path / "new.boris"), str(clip.parent)
    assert main(["export", "boris", str(tmp_path / "data"), "--videos", videos, "--out", project]) == 0
    call = ["evaluate", "--truth", project, "--predicted", str(tmp_path / "data" / "labels")]
    assert main([*call, "--videos", videos, "--json", str(tmp_path / "scores.json")]) == 0
    assert json.loads((tmp_path / "scores.json").read_text())["frames"]["accuracy"]["pooled"] == 100.0
    assert main(["evaluate", "--agreement", project, project, "--videos", videos]) == 0
    assert main(["check", project, "--videos", videos]) == 0
    assert "1 video" in capsys.readouterr().out


def test_annotators_are_compared_on_all_frames_by_the_classes_of_both(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = {"anna": [(5, 20, "walk"), (30, 40, "rest")], "ben": [(10, 20, "walk"), (40, 50, "groom")]}
    for name, rows in sides.items():
        labels = np.full(61, -100)
        for start, stop, label in rows:
            labels[start:stop] = ("walk", "rest", "groom").index(label)
        write_labels(tmp_path / name, {"clip": labels}, LabelSpace(("walk", "rest", "groom")))
        (tmp_path / name / "classes.txt").unlink()
        call = ["export", "elan", str(tmp_path / name), "--videos", str(clip.parent)]
        assert main([*call, "--out", str(tmp_path / f"{name}.eaf")]) == 0
    files = [str(tmp_path / f"{name}.eaf") for name in sides]
    assert main(["evaluate", "--agreement", *files, "--videos", str(clip.parent)]) == 0
    of_frames = {"anna": ["none"] * 61, "ben": ["none"] * 61}
    for name, rows in sides.items():
        for start, stop, label in rows:
            of_frames[name][start:stop] = [label] * (stop - start)
    agreed = sum(map(str.__eq__, *of_frames.values())) / 61
    by_chance = sum(
        math.prod(side.count(name) / 61 for side in of_frames.values()) for name in (*CLASSES, "groom", "none")
    )
    expected = (agreed - by_chance) / (1 - by_chance)  # Cohen 1960
    assert f"{expected:.3f}" in capsys.readouterr().out


def test_videos_say_how_long_they_are_and_which_frames_seconds_are(clip: Path, tmp_path: Path) -> None:
    times = read_times(clip).times
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "clip.csv").write_text(
        "start_seconds,stop_seconds,class\n0.480,1.200,walk\n1.000,2.000,eat\n"
    )
    out = tmp_path / "out"
    videos = ["--videos", str(clip.parent)]
    assert main(["export", "one-hot", str(tmp_path / "labels"), *videos, "--out", str(out), "--independent"]) == 0
    rows = (out / "clip_labels.csv").read_text().splitlines()[1:]
    assert len(rows) == times.num_frames
    assert sum(row.split(",")[-1] == "1" for row in rows) == times.frame_shown_at(1.2, resolution=0.001)
    call = ["evaluate", "--agreement", str(tmp_path / "labels"), str(tmp_path / "labels"), "--independent", *videos]
    assert main([*call, "--json", str(tmp_path / "report.json")]) == 0
    assert json.loads((tmp_path / "report.json").read_text())["length_not_known"] == []


def test_an_export_checks_all_names_before_it_writes(clip: Path, tmp_path: Path) -> None:
    labels = random_labels(61, overlapping=False, seed=0)
    (clip.parent / "other.mp4").write_bytes(clip.read_bytes())
    write_labels(tmp_path / "data", {"clip": labels, "other": labels}, LabelSpace(CLASSES))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "other.eaf").write_text("mine")
    call = ["export", "elan", str(tmp_path / "data"), "--videos", str(clip.parent), "--out", str(tmp_path / "out")]
    assert main(call) == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["other.eaf"]
