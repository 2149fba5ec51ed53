"""The command line: its files, its messages and its exit codes."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from import_graph import ROOT
from made_models import CLASSES, drop_box, write_black_video, write_other_container, write_sound, write_video
from made_ports import free_port
from PIL import Image

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.read import read_predicted
from pipeline.cli.main import main
from pipeline.labelling import folder as labelling_folder
from pipeline.labelling.model import Model

TIMES = np.array([0.0, 0.04, 0.05, 0.3, 1.0, 1.04])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def label(*inputs: Path, model: Path | str, out: Path, more: tuple[str, ...] = ()) -> int:
    return main(["label", *map(str, inputs), "--model", str(model), "--out", str(out), *more])


def test_frames_and_segments_agree_and_have_the_time_of_each_frame(video_model, tmp_path, capsys):
    video = write_video(tmp_path / "clip.mp4", num_frames=6, times=TIMES)
    out = tmp_path / "out"
    assert label(video, model=video_model, out=out) == 0
    assert names_in(out) == ["clip.frames.csv", "clip.report.json", "clip.segments.csv", "decode_report.csv"]
    assert "labelled 1 of 1" in capsys.readouterr().out

    frames = rows_of(out / "clip.frames.csv")
    assert list(frames[0]) == ["frame", "time_seconds", "label", "probability"]
    assert [int(row["frame"]) for row in frames] == list(range(6))
    np.testing.assert_allclose([float(row["time_seconds"]) for row in frames], TIMES, atol=2e-5)
    assert {row["label"] for row in frames} <= set(CLASSES)
    assert all(1 / 3 <= float(row["probability"]) <= 1 for row in frames)

    segments = rows_of(out / "clip.segments.csv")
    assert list(segments[0]) == ["start", "stop", "start_seconds", "stop_seconds", "label", "probability"]
    assert [int(row["start"]) for row in segments] == [0, *(int(row["stop"]) for row in segments[:-1])]
    assert int(segments[-1]["stop"]) == 6
    for row in segments:
        inside = frames[int(row["start"]) : int(row["stop"])]
        assert {frame["label"] for frame in inside} == {row["label"]}
        assert row["start_seconds"] == inside[0]["time_seconds"]
        mean = np.mean([float(frame["probability"]) for frame in inside])
        assert float(row["probability"]) == pytest.approx(mean, abs=1e-3)
    ends = [row["stop_seconds"] for row in segments]
    assert ends[:-1] == [row["start_seconds"] for row in segments[1:]]
    assert float(ends[-1]) > TIMES[-1]


def test_files_and_folders_can_be_mixed_and_each_file_is_labelled_once(video_model, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    one = write_video(folder / "one.MP4", num_frames=3)
    write_video(folder / "two.mov", num_frames=4)
    write_video(folder / ".hidden.mp4", num_frames=3)
    write_video(folder / "old.overlay.mp4", num_frames=3)
    (folder / "notes.txt").write_text("nothing")
    other = write_video(tmp_path / "a.b.mp4", num_frames=5)
    assert label(folder, one, other, model=video_model, out=tmp_path / "out") == 0
    frames = {path.name: len(rows_of(path)) for path in (tmp_path / "out").glob("*.frames.csv")}
    assert frames == {"one.frames.csv": 3, "two.frames.csv": 4, "a.b.frames.csv": 5}
    assert "labelled 3 of 3" in capsys.readouterr().out


@pytest.mark.parametrize(("device", "max_parallel"), [("cpu", 4), ("cuda", 8)])
def test_with_a_gpu_more_videos_are_decoded_in_parallel_and_in_processes(
    device, max_parallel, video_model, tmp_path, monkeypatch
):
    def look(paths, model, out, **options):
        seen.update(options)
        return labelling_folder.LabellingOutcome(1, 0, 0, 0)

    seen: dict = {}
    monkeypatch.setattr(labelling_folder, "label_videos", look)
    monkeypatch.setattr(Model, "device", torch.device(device))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    video = write_video(tmp_path / "clip.mp4", num_frames=3)
    assert label(video, model=video_model, out=tmp_path / "out", more=("--device", "cpu")) == 0
    assert (seen["decoder_processes"], seen["num_parallel"]) == (device == "cuda", max_parallel)
    assert label(video, model=video_model, out=tmp_path / "out", more=("--device", "cpu", "--jobs", "3")) == 0
    assert seen["num_parallel"] == 3


def test_a_model_of_features_labels_npy_files_without_times(feature_model, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    np.save(folder / "clip.npy", np.random.default_rng(0).normal(size=(9, 6)).astype(np.float16))
    write_video(folder / "clip.mp4", num_frames=3)
    assert label(folder, model=feature_model, out=tmp_path / "out") == 0
    rows = rows_of(tmp_path / "out" / "clip.frames.csv")
    assert len(rows) == 9
    assert {row["time_seconds"] for row in rows} == {""}
    assert label(folder / "clip.mp4", model=feature_model, out=tmp_path / "out") == 1
    np.save(folder / "wide.npy", np.zeros((3, 7), np.float32))
    assert label(folder / "wide.npy", model=feature_model, out=tmp_path / "out") == 1
    printed = capsys.readouterr().err.splitlines()
    assert printed[0].endswith("clip.mp4: the model was trained on ready features, expected a .npy file")
    assert printed[1].endswith("wide.npy: has 7 features a frame, the model was trained on 6")
    assert label(folder / "clip.npy", model=feature_model, out=tmp_path / "out", more=("--overlay",)) == 2


def test_the_overlay_has_every_frame_at_its_time_and_is_removed_when_outdated(video_model, tmp_path):
    video = write_video(tmp_path / "clip.mp4", num_frames=6, times=TIMES, size=(65, 49))
    out = tmp_path / "out"
    assert label(video, model=video_model, out=out, more=("--overlay",)) == 0
    assert (out / "clip.overlay.mp4").exists()
    with av.open(str(out / "clip.overlay.mp4")) as container:
        drawn = [float(frame.time) for frame in container.decode(video=0)]
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")  # what every browser plays
    np.testing.assert_allclose(drawn, TIMES, atol=2e-5)
    assert label(video, model=video_model, out=out) == 0
    assert (out / "clip.overlay.mp4").exists(), "the labels are the same"
    write_video(video, num_frames=5)
    assert label(video, model=video_model, out=out) == 0
    assert not (out / "clip.overlay.mp4").exists()


def missing(folder: Path) -> Path:
    return folder / "gone.mp4"


def empty(folder: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


def cut(folder: Path) -> Path:
    path = write_video(folder / "cut.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def unfinished(folder: Path) -> Path:
    path = write_video(folder / "unfinished.mp4")
    drop_box(path, b"moov")
    return path


def cut_avi(folder: Path) -> Path:
    path = write_other_container(folder / "cut_avi.avi", "mpeg4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def cut_mkv(folder: Path) -> Path:
    path = write_other_container(folder / "cut_mkv.mkv", "libx264")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def text(folder: Path) -> Path:
    (folder / "text.mp4").write_text("These are no frames.\n" * 100)
    return folder / "text.mp4"


def sound(folder: Path) -> Path:
    return write_sound(folder / "sound.mp4")


def features(folder: Path) -> Path:
    np.save(folder / "features.npy", np.zeros((3, 6), np.float32))
    return folder / "features.npy"


BAD = {
    missing: "no such file",
    empty: "is empty (0 bytes)",
    cut: "is cut short",
    unfinished: "is cut short: its index (moov) is missing",
    cut_avi: "is cut short",
    cut_mkv: "is cut short",
    text: "cannot be read as a video",
    sound: "holds sound only",
    features: "the model was trained on videos",
}


def test_each_bad_file_is_reported_in_a_sentence_and_the_others_are_labelled(video_model, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    bad = {make(tmp_path): cause for make, cause in BAD.items()}
    earlier = out / "empty.frames.csv"
    earlier.write_text("frame,time_seconds,label,probability\n")
    good = [write_video(tmp_path / f"{name}.mp4", num_frames=4) for name in ("first", "last")]
    assert label(good[0], *bad, good[1], model=video_model, out=out, more=("--overlay",)) == 1
    printed = capsys.readouterr()
    sentences = printed.err.strip().splitlines()
    assert len(sentences) == len(bad)
    for sentence, (path, cause) in zip(sentences, bad.items(), strict=True):
        assert sentence.startswith(f"framescribe: {path}: {cause}")
        assert sentence.count(str(path)) == 1
    assert "labelled 2 of" in printed.out
    suffixes = (".frames.csv", ".overlay.mp4", ".report.json", ".segments.csv")
    earlier.unlink()  # the files of an earlier call are not lost
    labelled = [f"{name}{suffix}" for name in ("first", "last") for suffix in suffixes]
    assert names_in(out) == ["decode_report.csv", *labelled]


NO_TEXT = os.fsdecode(b"no\xfetext")


@pytest.mark.parametrize("stem", ["12:30:05", "data:clip", "pipe:0", "100%d é", "new\nline"])
def test_a_file_name_can_be_any_text(stem, video_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    video = write_video(Path(f"{stem}.mp4"), num_frames=4)
    assert label(video, model=video_model, out=Path("out"), more=("--overlay",)) == 0
    assert names_in(Path("out")) == sorted(
        [
            "decode_report.csv",
            *(f"{stem}.{end}" for end in ("frames.csv", "segments.csv", "overlay.mp4", "report.json")),
        ]
    )


def test_a_name_that_is_not_valid_text_is_reported_and_the_others_are_labelled(
    video_model, caption_model, tmp_path, capsys
):
    dataset, image = tmp_path / "dataset", tmp_path / f"{NO_TEXT}.png"
    (dataset / "videos").mkdir(parents=True)
    good = write_video(dataset / "videos" / "good.mp4", num_frames=4)
    try:
        shutil.copy(good, dataset / "videos" / f"{NO_TEXT}.mp4")
        Image.new("RGB", (64, 48)).save(image)
    except OSError:
        pytest.skip("names are text on this file system")
    sentence = "its name is not in UTF-8: rename it"
    assert label(dataset / "videos", model=video_model, out=tmp_path / "out") == 1
    assert names_in(tmp_path / "out") == [
        "decode_report.csv",
        "good.frames.csv",
        "good.report.json",
        "good.segments.csv",
    ]
    assert caption(image, good, model=caption_model, out=tmp_path / "captions.csv") == 1
    assert {row["path"] for row in rows_of(tmp_path / "captions.csv")} == {str(good)}
    assert main(["review", str(dataset / "videos"), "--model", str(video_model), "--out", str(tmp_path / "list")]) == 1
    assert main(["check", str(dataset)]) == 2
    printed = capsys.readouterr()
    assert printed.err.count(sentence) == 3
    assert f"no\\udcfetext.mp4: {sentence}" in printed.out


def test_two_videos_with_the_same_name_do_not_replace_each_other(video_model, tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_video(tmp_path / folder / "clip.mp4", num_frames=3 if folder == "a" else 5)
    assert label(tmp_path / "a", tmp_path / "b", model=video_model, out=tmp_path / "out") == 1
    assert "would replace those of" in capsys.readouterr().err
    assert len(rows_of(tmp_path / "out" / "clip.frames.csv")) == 3


def test_errors_of_the_operating_system_are_reported(video_model, tmp_path, capsys, monkeypatch):
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device", "clip.frames.csv")

    monkeypatch.setattr("pipeline.annotations.exports.write_frames", fail)
    video, out = write_video(tmp_path / "clip.mp4", num_frames=3), tmp_path / "out"
    assert label(video, model=video_model, out=out) == 1
    expected = "could not be labelled: cannot read or write clip.frames.csv (the disk is full)"
    assert capsys.readouterr().err.strip() == f"framescribe: {video}: {expected}"
    assert names_in(out) == []


def test_the_earlier_names_of_options_work_with_a_note_and_are_not_in_the_help(video_model, tmp_path, capsys):
    video = tmp_path / "clip.mp4"
    write_video(video)
    call = ["label", str(video), "--model", str(video_model), "--out"]
    assert main([*call, str(tmp_path / "now"), "--static-threshold", "2", "--overwrite"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*call, str(tmp_path / "then"), "--still", "2", "--again"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "framescribe: --still is now called --static-threshold; the earlier name still works",
        "framescribe: --again is now called --overwrite; the earlier name still works",
    ]
    for path in (tmp_path / "now").iterdir():
        assert path.read_bytes() == (tmp_path / "then" / path.name).read_bytes(), path.name
    with pytest.raises(SystemExit):
        main(["label", "--help"])
    shown = capsys.readouterr().out
    assert "--overwrite" in shown
    assert "--again" not in shown
    assert "--still" not in shown


def test_another_frame_rate_than_that_of_the_training_is_said(video_model, tmp_path, capsys):
    video, out = write_video(tmp_path / "clip.mp4"), tmp_path / "out"
    call = ["label", str(video), "--model", str(video_model), "--out", str(out), "--frame-rate", "5"]
    assert main(call) == 0
    said = capsys.readouterr().err
    assert said.startswith("framescribe: the model was trained on every frame, and now sees 5 frames per second: ")
    assert len((out / "clip.frames.csv").read_text().splitlines()) == 21


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["clip.mp4", "--model", "nothing", "--out", "out"], "nothing: no such folder"),
        (["clip.mp4", "--model", "empty", "--out", "out"], "empty: is not a checkpoint, it has no checkpoint.json"),
        (["empty", "--model", "model", "--out", "out"], "empty: holds no video"),
        (["clip.mp4", "--model", "model", "--out", "clip.mp4"], "clip.mp4: cannot be written: clip.mp4 is a file"),
        (["clip.mp4", "--model", "model", "--out", "clip.mp4/x"], "clip.mp4/x: cannot be written: clip.mp4 is a file"),
        (["clip.mp4", "--model", "model", "--out", "out", "--device", "cuda"], "device cuda was asked for, but"),
        (["clip.mp4", "--model", "model", "--out", "out", "--formats", "csv,xml"], "--formats: got 'xml', expected"),
        (["clip.mp4", "--model", "model", "--out", "out", "--formats", "vtt,vtt"], "--formats: got vtt,vtt, which"),
        (["clip.mp4", "--model", "model", "--out", "out", "--jobs", "0"], "--jobs: got 0, expected at least 1"),
        (
            ["clip.mp4", "--model", "model", "--out", "out", "--static-threshold", "-1"],
            "--static-threshold: got -1.0, expected 0 to 255",
        ),
        (
            ["clip.mp4", "--model", "model", "--out", "out", "--frame-rate", "0"],
            "--frame-rate: got 0, expected more than 0 frames per second",
        ),
    ],
)
def test_an_impossible_call_is_refused(arguments, sentence, video_model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    write_video(Path("clip.mp4"), num_frames=3)
    Path("empty").mkdir()
    shutil.copytree(video_model, "model")
    assert main(["label", *arguments]) == 2
    printed = capsys.readouterr().err.strip()
    assert printed.startswith(f"framescribe: {sentence}")
    assert "\n" not in printed
    assert not Path("out").exists()


def caption(*inputs: Path, model: Path, out: Path, more: tuple[str, ...] = ()) -> int:
    return main(["caption", *map(str, inputs), "--model", str(model), "--out", str(out), *more])


@pytest.fixture
def pictures(tmp_path):
    """Make a folder of three images, of one colour each, and a video of six frames at TIMES."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, color in (("a.png", "red"), ("b.jpg", "navy"), ("c.webp", "white")):
        Image.new("RGB", (40, 30), color).save(folder / name)
    write_video(folder / "clip.mp4", num_frames=6, times=TIMES)
    return folder


def test_images_and_videos_of_a_folder_are_described_in_csv_and_json_lines(caption_model, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    for name in ("captions.csv", "captions.jsonl"):
        more = ("--captions", "2", "--every", "0.5")
        assert caption(pictures, pictures / "a.png", model=caption_model, out=out / name, more=more) == 0
    assert capsys.readouterr().out.splitlines()[1] == f"described 4 of 4 into {out / 'captions.jsonl'}"

    rows = rows_of(out / "captions.csv")
    assert list(rows[0]) == ["path", "start_seconds", "stop_seconds", "label", "caption", "probability"]
    paths = [str(pictures / name) for name in ("a.png", "b.jpg", "c.webp", "clip.mp4")]
    assert [row["path"] for row in rows] == [path for path in paths for _ in range(2)]
    assert {row["start_seconds"] for row in rows[:6]} == {row["label"] for row in rows} == {""}
    times = [(float(row["start_seconds"]), float(row["stop_seconds"])) for row in rows[6:]]
    assert times[0] == (0.0, 0.5)
    assert times[1][0] == 0.5
    assert times[1][1] > TIMES[-1]

    objects = [json.loads(line) for line in (out / "captions.jsonl").read_text().splitlines()]
    for row, described in zip(rows, objects, strict=True):
        assert described.keys() == row.keys()
        assert (described["path"], described["caption"]) == (row["path"], row["caption"])
        assert [described[name] is None for name in row] == [value == "" for value in row.values()]
        assert float(row["probability"]) == pytest.approx(described["probability"], rel=1e-3)
        assert 0 < described["probability"] < 1

    assert names_in(out) == sorted(
        ["captions.csv", "captions.jsonl", "clip.captions.srt", "clip.captions.vtt", "clip.summary.txt"]
    )
    subtitles = (out / "clip.captions.vtt").read_text()
    assert subtitles.startswith(f"WEBVTT\n\n00:00:00.000 --> 00:00:00.500\n{rows[6]['caption']}\n")
    summary = (out / "clip.summary.txt").read_text()
    assert summary.startswith("The video is 1.")
    assert rows[6]["caption"] in summary


def test_a_video_is_described_segment_by_segment_in_the_folder_of_its_labels(
    video_model, caption_model, pictures, tmp_path
):
    labels, out = tmp_path / "labels", tmp_path / "out" / "captions.csv"
    video = pictures / "clip.mp4"
    assert label(video, model=video_model, out=labels) == 0
    assert caption(video, model=caption_model, out=out, more=("--labels", str(labels))) == 0
    columns = ("start_seconds", "stop_seconds", "label")
    segments = rows_of(labels / "clip.segments.csv")
    assert [[row[c] for c in columns] for row in rows_of(out)] == [[row[c] for c in columns] for row in segments]
    assert set(names_in(labels)) > {"clip.captions.srt", "clip.captions.vtt", "clip.summary.txt"}
    assert "labelled" in (labels / "clip.summary.txt").read_text()
    assert names_in(out.parent) == ["captions.csv"]


def test_a_file_that_cannot_be_described_is_reported_and_the_others_are_described(
    caption_model, pictures, tmp_path, capsys
):
    bad = [pictures / "cut.png", pictures / "empty.jpg", tmp_path / "gone.jpg", cut(pictures)]
    bad[0].write_bytes((pictures / "a.png").read_bytes()[:50])
    bad[1].touch()
    out = tmp_path / "captions.csv"
    assert caption(*bad, model=caption_model, out=out) == 1
    assert not out.exists()
    assert capsys.readouterr().out == "described 0 of 4\n"
    assert caption(pictures, *bad, model=caption_model, out=out) == 1
    printed = capsys.readouterr()
    assert printed.out == f"described 4 of 8 into {out}\n"
    sentences = printed.err.splitlines()
    assert [line.split(": ")[1] for line in sentences] == [str(path) for path in bad]
    assert all(line.startswith("framescribe: ") for line in sentences)
    assert {Path(row["path"]).name for row in rows_of(out)} == {"a.png", "b.jpg", "c.webp", "clip.mp4"}


def test_a_wider_search_for_many_captions_is_said(caption_model, pictures, tmp_path, capsys):
    trained = json.loads((caption_model / "checkpoint.json").read_text())["captioner"]["decoding"]["beam_size"]
    for number, is_said in ((trained, False), (trained + 1, True)):
        more = ("--captions", str(number))
        assert caption(pictures, model=caption_model, out=tmp_path / "out" / "captions.csv", more=more) == 0
        expected = f"--captions {number}: the search keeps so many captions, instead of {trained} as set in training"
        assert (expected in capsys.readouterr().err) == is_said


def test_all_impossible_options_are_reported_together(caption_model, pictures, tmp_path, capsys):
    more = ("--captions", "4", "--beam", "2", "--every", "nan", "--labels", str(tmp_path / "gone"))
    assert caption(pictures, model=caption_model, out=tmp_path / "captions.txt", more=more) == 2
    printed = capsys.readouterr().err.splitlines()
    assert [line.removeprefix("framescribe: ").split(": ")[0] for line in printed] == [
        "--out",
        "--beam",
        "--every",
        "--every and --labels both say which spans are described",
        "--labels",
    ]
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    for more, out in ((("--captions", "0"), "a.csv"), (("--beam", "0"), "a.csv"), ((), "folder.csv")):
        assert caption(pictures, model=caption_model, out=tmp_path / out, more=more) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert names_in(tmp_path) == ["folder.csv", "pictures"]


def test_an_impossible_caption_call_is_refused(video_model, caption_model, pictures, tmp_path, capsys):
    out = tmp_path / "captions.csv"
    (tmp_path / "empty").mkdir()
    assert caption(pictures, model=video_model, out=out) == 2
    assert caption(tmp_path / "empty", model=caption_model, out=out) == 2
    assert caption(pictures, model=caption_model, out=pictures / "a.png" / "captions.csv") == 2
    assert caption(pictures, model=caption_model, out=out, more=("--prefix", "two yaks and a dog")) == 2
    assert [line.split(": ", 2)[2] for line in capsys.readouterr().err.splitlines()] == [
        "holds a labeller, expected a captioner: was another model meant?",
        "holds no image and no video",
        f"cannot be written: {pictures / 'a.png'} is a file, expected a folder",
        "the model does not know 'yaks', 'and': no caption that it was trained on has such words",
    ]
    assert not out.exists()


def test_an_interrupted_caption_call_keeps_the_earlier_file(caption_model, pictures, tmp_path, monkeypatch):
    out = tmp_path / "out" / "captions.csv"
    assert caption(pictures, model=caption_model, out=out) == 0
    before = out.read_bytes()

    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.captioning.describe.caption_video", interrupt)  # after the images
    assert caption(pictures, model=caption_model, out=out) == 128 + signal.SIGINT
    assert out.read_bytes() == before
    assert not list(out.parent.glob(".*"))


def run_until_drawing(video_model: Path, video: Path, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pipeline.cli", "label", str(video), "--model", str(video_model)]
    process = subprocess.Popen(
        [*command, "--out", str(out), "--overlay"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # which is ignored in the background
    )
    deadline = time.monotonic() + 120
    while not list(out.glob(".labelling.*/.*")):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_call_leaves_no_partial_file(number, video_model, tmp_path):
    # It is labelled in seconds and drawn in many more, so that the signal arrives long before the last frame.
    video = write_black_video(tmp_path / "long.mp4", num_frames=1500, size=(1280, 720))
    out = tmp_path / "out"
    out.mkdir()
    (out / "done.frames.csv").write_text("frame,time_seconds,label,probability\n")
    process = run_until_drawing(video_model, video, out)
    process.send_signal(number)
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert printed.strip().endswith("framescribe: interrupted; what was finished stays")
    assert "Traceback" not in printed
    assert names_in(out) == ["done.frames.csv"]


def test_a_call_that_cannot_be_tracked_is_refused_before_the_work(video_model, pictures, tmp_path, monkeypatch, capsys):
    place = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{place}")
    out = tmp_path / "out"
    assert label(pictures, model=video_model, out=out, more=("--track",)) == 2
    assert f"http://{place}: MLflow does not answer" in capsys.readouterr().err
    assert not out.exists()


def test_check_lists_problems_and_ends_with_exit_code_2(feature_dataset, capsys):
    assert main(["check", str(feature_dataset)]) == 0
    clean = capsys.readouterr().out.splitlines()
    assert clean[-1] == f"{feature_dataset}: 6 features, 240 frames, 3 classes, 0 problems"
    labels = feature_dataset / "labels" / "clip0.csv"
    labels.write_text(labels.read_text() + "39,50,walk\n")
    (feature_dataset / "classes.txt").write_text("idle\nleft\nright\njump\n")
    assert main(["check", str(feature_dataset)]) == 2
    printed = capsys.readouterr().out.split("\n\n")[1].splitlines()
    places = [line.removeprefix(f"{feature_dataset}/").split(": ")[0] for line in printed[:-1]]
    assert places == ["labels/clip0.csv:7"] * 3 + ["classes.txt:4"]
    assert printed[-1].endswith("4 problems")


def test_check_takes_the_classes_of_a_plain_list_as_independent(feature_dataset, capsys):
    path = feature_dataset / "labels" / "clip0.csv"
    path.write_text(path.read_text() + "0,1,left\n0,1,right\n")
    assert main(["check", str(feature_dataset)]) == 2
    assert "should these classes be independent?" in capsys.readouterr().out
    main(["check", "--independent", str(feature_dataset)])
    shown = capsys.readouterr()
    assert "should these classes be independent?" not in shown.out
    assert "scored" in shown.out.splitlines()[1]


def test_check_shows_the_support_of_each_class(feature_dataset, capsys):
    """A partly labelled data set with a class in one video only is a warning and not a problem: exit code 0."""
    labels = feature_dataset / "labels" / "clip0.csv"
    labels.write_text("start,stop,class\n0,4,jump\n")
    (feature_dataset / "classes.txt").write_text("idle\nleft\nright\njump\n")
    assert main(["check", str(feature_dataset)]) == 0
    shown = capsys.readouterr()
    table = {line.split()[0]: line.split()[1:] for line in shown.out.splitlines() if line}
    assert table["jump"] == ["4", "1", "1"]
    assert table["(unlabelled)"] == ["36", "1", "1"]
    assert shown.out.endswith("6 features, 240 frames, 4 classes, 15.0% of the frames unlabelled, 0 problems\n")
    warnings = [line for line in shown.err.splitlines() if line.startswith("warning: ")]
    assert warnings[0].startswith("warning: 1 class is in one video only: 'jump'. ")
    assert len(warnings) == 2, "and one that names all classes with few segments"
    labels.unlink()
    assert main(["check", str(feature_dataset)]) == 2
    shown = capsys.readouterr()
    assert "classes.txt:4: no frame is labelled 'jump'" in shown.out
    assert "'jump'" not in shown.err, "reported once"


def test_check_also_checks_captioned_images(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    (tmp_path / "captions.csv").write_text("image,caption\na.png,a dark square\n")
    assert main(["check", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 1 images, 1 captions, 0 problems\n"
    (tmp_path / "images" / "b.png").write_bytes(b"")
    assert main(["check", str(tmp_path)]) == 2
    printed = capsys.readouterr().out
    assert "b.png" in printed
    assert printed.endswith(f"{tmp_path}: 1 images, 1 captions, 2 problems\n")


def test_evaluate_scores_the_files_of_framescribe_label(feature_dataset, feature_model, tmp_path, capsys):
    out = tmp_path / "out"
    assert label(feature_dataset / "features", model=feature_model, out=out) == 0
    truth, report = feature_dataset / "labels", tmp_path / "results" / "report.json"
    arguments = ["evaluate", "--truth", str(truth), "--predicted", str(out), "--background", "idle"]
    assert main([*arguments, "--json", str(report)]) == 0
    table = capsys.readouterr().out
    space = LabelSpace(CLASSES)
    equal = [
        read_predicted(out / f"clip{index}.frames.csv", space) == read_predicted(truth / f"clip{index}.csv", space)
        for index in range(6)
    ]
    accuracy = f"{100 * np.concatenate(equal).mean():.1f}"
    assert accuracy in next(line for line in table.splitlines() if line.startswith("frame accuracy"))
    assert json.loads(report.read_text())["classes"].keys() == set(CLASSES)

    assert main([*arguments[:-1], "nobody"]) == 2
    assert main(["evaluate", "--truth", str(tmp_path / "gone"), "--predicted", str(out)]) == 2
    assert main([*arguments, "--json", str(truth)]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 3
    assert str(truth) in printed[2]
    assert "partial" not in printed[2]


MOST_OVERLAID_FRAMES = 200  # the overlays of the longer videos take most of a minute


@pytest.mark.slow
def test_every_real_video_has_a_row_per_frame_with_its_time(real_data, video_model, tmp_path):
    with (real_data / "media" / "media.csv").open(newline="") as file:
        expected = {row["file"]: int(row["decoded_frames"]) for row in csv.DictReader(file)}
    for name, num_frames in expected.items():
        video = real_data / "media" / name
        more = ("--overlay",) if num_frames <= MOST_OVERLAID_FRAMES else ()
        assert label(video, model=video_model, out=tmp_path, more=more) == 0
        rows = rows_of(tmp_path / f"{video.stem}.frames.csv")
        assert len(rows) == num_frames, name
        with av.open(str(video)) as container:
            times = sorted(float(frame.time) for frame in container.decode(video=0))
        np.testing.assert_allclose([float(row["time_seconds"]) for row in rows], times, atol=1e-6, err_msg=name)
        assert int(rows_of(tmp_path / f"{video.stem}.segments.csv")[-1]["stop"]) == num_frames
