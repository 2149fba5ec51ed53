"""What one video costs that fails, and what a stranger's files in the folder of the labels do."""

import json
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from made_models import write_video

from pipeline.errors import ERROR_LOG
from pipeline.labelling import one_video
from pipeline.labelling.folder import LabellingOutcome, label_videos
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.outputs import OutputOptions
from pipeline.labelling.staging import STAGING


@pytest.fixture(scope="module")
def model(video_model):
    return load_model(str(video_model), device="cpu")


@pytest.fixture
def clips(tmp_path):
    return [write_video(tmp_path / f"clip{index}.mp4", num_frames=6) for index in range(3)]


def label(
    paths: list[Path], model: Model, out: Path, outputs: OutputOptions | None = None, **options
) -> tuple[LabellingOutcome, list[str]]:
    printed: list[str] = []
    out.mkdir(exist_ok=True)
    outcome = label_videos(paths, model, out, outputs=outputs or OutputOptions(), on_failure=printed.append, **options)
    return outcome, printed


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes differ"),
        RecursionError("maximum recursion depth exceeded"),
        MemoryError(),
        av.error.PatchWelcomeError(1, "not yet implemented"),
        KeyError("x"),
    ],
)
@pytest.mark.parametrize("num_parallel", [1, 3])
def test_whatever_one_video_raises_costs_that_video_alone(clips, model, tmp_path, monkeypatch, error, num_parallel):
    whole = one_video.label_video_once

    def fail(path: Path, *arguments, **options):
        if path == clips[1]:
            raise error
        return whole(path, *arguments, **options)

    monkeypatch.setattr(one_video, "label_video_once", fail)
    out = tmp_path / "out"
    outcome, printed = label(clips, model, out, num_parallel=num_parallel)
    assert outcome == LabellingOutcome(2, 0, 0, 1)
    (sentence,) = printed
    assert sentence.startswith(f"{clips[1]}: could not be labelled: ")
    assert sentence.endswith(f"(the traceback is in {out / ERROR_LOG})")
    assert "\n" not in sentence
    assert type(error).__name__ in (out / ERROR_LOG).read_text()
    assert {path.name for path in out.glob("*.frames.csv")} == {"clip0.frames.csv", "clip2.frames.csv"}


def test_an_error_of_the_callers_callback_ends_the_call(clips, model, tmp_path):
    def stop(progress: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        label(clips, model, tmp_path / "out", on_progress=stop)


def test_a_pause_of_hours_is_drawn_with_a_coarser_clock(model, tmp_path):
    times = np.array([0, 0.04, 7 * 3600, 7 * 3600 + 0.04])
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for seconds in times:
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts = round(seconds * 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    outcome, printed = label([path], model, tmp_path / "out", OutputOptions(overlay=True))
    assert (outcome, printed) == (LabellingOutcome(1, 0, 0, 0), [])
    with av.open(str(tmp_path / "out" / "gap.overlay.mp4")) as drawn:
        assert [frame.time for frame in drawn.decode(video=0)] == pytest.approx(times, abs=1e-3)


def test_labels_are_written_where_the_overlay_fails(clips, model, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise av.error.PatchWelcomeError(1, "not yet implemented")

    monkeypatch.setattr(one_video, "write_overlay", fail)
    out = tmp_path / "out"
    outcome, printed = label(clips[:1], model, out, OutputOptions(overlay=True))
    assert outcome == LabellingOutcome(1, 1, 0, 0)
    assert "labelled, but without its overlay: PatchWelcomeError" in printed[0]
    assert len(pd.read_csv(out / "clip0.frames.csv")) == 6
    monkeypatch.undo()
    assert label(clips[:1], model, out, OutputOptions(overlay=True))[0] == LabellingOutcome(1, 0, 0, 0)
    assert (out / "clip0.overlay.mp4").exists()


def test_a_video_that_is_overwritten_while_it_is_read_is_read_again(clips, model, tmp_path):
    content = write_video(tmp_path / "other.mp4", num_frames=11).read_bytes()
    changes = iter([content])

    def overwrite(progress: object) -> None:
        for changed in changes:
            clips[0].write_bytes(changed)

    out = tmp_path / "out"
    assert label(clips[:1], model, out, on_progress=overwrite) == (LabellingOutcome(1, 0, 0, 0), [])
    assert len(pd.read_csv(out / "clip0.frames.csv")) == 11
    assert label(clips[:1], model, out)[0].num_finished_before == 1

    def keep_writing(progress: object) -> None:
        with clips[1].open("ab") as file:
            file.write(b"\0")

    outcome, printed = label(clips[1:2], model, out, on_progress=keep_writing)
    assert outcome.num_failed == 1
    assert "changed twice while it was read" in printed[0]
    assert not (out / "clip1.report.json").exists()


@pytest.mark.parametrize("name", ["{out}/../precious.txt", "../precious.txt", "other.frames.csv", "clip0.mp4", "sub/x"])
def test_a_strangers_report_removes_nothing(clips, model, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    paths = [tmp_path / "precious.txt", out / "other.frames.csv", out / "clip0.mp4", out / "sub" / "x"]
    paths[-1].parent.mkdir()
    for path in paths:
        path.write_text("precious")
    files = ["clip0.frames.csv", name.format(out=out)]
    stranger = {"video": {}, "model": {}, "files": files, "num_frames": 1, "decoding": None}
    (out / "clip0.report.json").write_text(json.dumps(stranger))
    assert label(clips[:1], model, out)[0].num_labelled == 1
    assert [path.read_text() for path in paths] == ["precious"] * 4


def test_files_of_an_earlier_call_are_removed_but_not_what_links_point_to(clips, model, tmp_path):
    out, precious = tmp_path / "out", tmp_path / "precious.txt"
    precious.write_text("precious")
    label(clips[:1], model, out, OutputOptions(formats=("csv", "jsonl", "vtt")))
    (out / "clip0.frames.jsonl").unlink()
    (out / "clip0.frames.jsonl").symlink_to(precious)
    (out / "clip0.frames.csv").unlink()
    (out / "clip0.frames.csv").symlink_to(precious)
    label(clips[:1], model, out)
    assert not (out / "clip0.segments.vtt").exists()
    assert precious.read_text() == "precious"
    assert not (out / "clip0.frames.csv").is_symlink()


@pytest.mark.parametrize(
    "content",
    [
        "[" * 200_000,
        '{"video": {}, "model": {}, "files": [["deep"]], "num_frames": 1, "decoding": null}',
        '{"video": {}, "model": {}, "files": [], "num_frames": 1, "decoding": {"problems": 3}}',
        "9" * 10_000,
        "x" * (3 << 20),
        "\udcff",
    ],
)
def test_a_broken_report_is_written_again(clips, model, tmp_path, content):
    out = tmp_path / "out"
    out.mkdir()
    (out / "clip0.report.json").write_text(content, errors="surrogateescape")
    assert label(clips[:1], model, out) == (LabellingOutcome(1, 0, 0, 0), [])
    assert json.loads((out / "clip0.report.json").read_text())["num_frames"] == 6


@pytest.mark.parametrize("name", ["clip0.report.json", "decode_report.csv", "clip0.frames.csv"])
def test_a_pipe_or_an_endless_file_is_not_waited_for(clips, model, tmp_path, name):
    for number, make in enumerate((os.mkfifo, lambda path: path.symlink_to("/dev/zero"))):
        out = tmp_path / f"out{number}"
        out.mkdir()
        make(out / name)
        assert label(clips[:1], model, out) == (LabellingOutcome(1, 0, 0, 0), [])
        assert (out / name).is_file()
        assert not (out / name).is_symlink()


@pytest.mark.parametrize("name", ["clip1.report.json", "clip1.frames.csv", "clip1.overlay.mp4"])
def test_a_folder_in_the_place_of_a_file_costs_that_video(clips, model, tmp_path, name):
    out = tmp_path / "out"
    (out / name / "inside").mkdir(parents=True)
    outcome, printed = label(clips, model, out, OutputOptions(overlay=True))
    assert outcome == LabellingOutcome(2, 0, 0, 1)
    assert printed[0].startswith(f"{out / name}: got a folder, expected a file")
    assert (out / name / "inside").is_dir()


@pytest.mark.parametrize(
    "row",
    [
        "x,labelled,1,two,0,0,False,0,64x48,,pyav",
        "x,labelled",
        "x,labelled,1,1,0,0,False,0,64x48,,pyav,more,cells",
        '"x',
        f"x,{'y' * 200_000},1,1,0,0,False,0,64x48,,pyav",
        "x,labelled,1,1,0,0,False,0,\0,,pyav",
        "x,labelled,1,-1,0,0,False,0,64x48,,pyav",
    ],
)
def test_bad_rows_of_the_decode_report_are_rewritten(clips, model, tmp_path, row):
    out = tmp_path / "out"
    label(clips[:1], model, out)
    report = out / "decode_report.csv"
    with report.open("a") as file:
        file.write(f"{row}\n")
    assert label(clips, model, out) == (LabellingOutcome(2, 0, 1, 0), [])
    rows = pd.read_csv(report)
    assert {"clip0", "clip1", "clip2"} <= set(rows["stem"]) <= {"clip0", "clip1", "clip2", "x"}
    assert list(rows["decoded_frames"].astype(int))[:3] == [6, 6, 6]


@pytest.mark.parametrize("process", ["99999999999999999999", "\N{SUPERSCRIPT TWO}", "x", ""])
def test_a_folder_with_the_name_of_a_temporary_one_ends_no_call(clips, model, tmp_path, process):
    out = tmp_path / "out"
    folder = out / f"{STAGING}{process}.1"
    folder.mkdir(parents=True)
    assert label(clips[:1], model, out)[0].num_labelled == 1
    assert folder.is_dir()


def test_pipes_and_devices_are_refused_without_being_opened(clips, model, tmp_path):
    pipe, device = tmp_path / "pipe.webm", tmp_path / "zero.mp4"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    outcome, printed = label([clips[0], pipe, device], model, tmp_path / "out")
    assert (outcome.num_labelled, outcome.num_failed) == (1, 2)
    assert printed == [f"{path}: is a pipe or a device, expected a file" for path in (pipe, device)]
