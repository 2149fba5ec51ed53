"""Folders of videos: files, finished videos, resuming after a kill, damaged videos, and parallel labelling."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from import_graph import ROOT
from made_models import (
    CLASSES,
    LINEAGE,
    PREPROCESS,
    damage,
    files_of,
    save_video_model,
    write_endless_video,
    write_video,
)

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.read import read_predicted
from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.encoding.batches import SharedBatches
from pipeline.encoding.cuda_graph import make_pixel_encoder
from pipeline.encoding.runtime import TorchRuntime
from pipeline.errors import InputError
from pipeline.labelling.folder import (
    LabellingOutcome,
    Progress,
    check_outputs,
    label_videos,
    track_call,
)
from pipeline.labelling.inputs import find_inputs
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.outputs import OutputOptions
from pipeline.labelling.video import label_video

EVERYTHING = OutputOptions(formats=("csv", "jsonl", "parquet", "vtt", "srt"), overlay=True)


@pytest.fixture(scope="module")
def model(video_model):
    return load_model(str(video_model), device="cpu")


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for index in range(4):
        write_video(folder / f"clip{index}.mp4", num_frames=10 + 9 * index)
    return folder


def label(
    videos: Path, model: Model, out: Path, outputs: OutputOptions | None = None, **options
) -> tuple[LabellingOutcome, list[str]]:
    out.mkdir(exist_ok=True)
    printed: list[str] = []
    outcome = label_videos(
        find_inputs([videos], model),
        model,
        out,
        outputs=outputs or OutputOptions(),
        on_failure=printed.append,
        **options,
    )
    return outcome, printed


def test_the_same_bytes_are_written_whether_videos_are_labelled_in_parallel_or_not(model, videos, tmp_path):
    label(videos, model, tmp_path / "one", EVERYTHING)
    outcome, printed = label(videos, model, tmp_path / "three", EVERYTHING, num_parallel=3)
    assert (outcome, printed) == (LabellingOutcome(4, 0, 0, 0), [])
    label(videos, model, tmp_path / "processes", EVERYTHING, num_parallel=3, decoder_processes=True)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "three") == files_of(tmp_path / "processes")
    assert len(files_of(tmp_path / "one")) == 4 * 8 + 1


def test_every_format_has_the_same_labels_and_names_the_model(model, videos, tmp_path):
    out = tmp_path / "out"
    label(videos, model, out, EVERYTHING)
    table = pd.read_csv(out / "clip3.frames.csv")
    origin = {"run_id": LINEAGE.run_id, "data_fingerprint": LINEAGE.data_fingerprint, "git_commit": LINEAGE.git_commit}
    lines = [json.loads(line) for line in (out / "clip3.frames.jsonl").read_text().splitlines()]
    for found in (pd.DataFrame(lines), pd.read_parquet(out / "clip3.frames.parquet")):
        pd.testing.assert_frame_equal(found[list(table)], table, check_dtype=False, check_categorical=False)
        assert {name: set(found[name]) for name in origin} == {name: {value} for name, value in origin.items()}
    segments = pd.read_csv(out / "clip3.segments.csv")
    vtt = (out / "clip3.segments.vtt").read_text()
    assert all(f"{name} {value}" in vtt.splitlines()[2] for name, value in origin.items())
    for text in (vtt, (out / "clip3.segments.srt").read_text()):
        shown = [line for line in text.splitlines() if line in CLASSES]
        assert shown == list(segments["label"])
    report = json.loads((out / "clip3.report.json").read_text())
    assert {name: report["model"][name] for name in origin} == origin
    assert report["num_frames"] == report["decoding"]["decoded_frames"] == len(table)


def test_finished_videos_are_left_alone_until_something_changes(model, videos, tmp_path):
    out = tmp_path / "out"
    label(videos, model, out)
    before = files_of(out)
    times = {path: path.stat().st_mtime_ns for path in out.glob("clip*")}
    assert label(videos, model, out)[0] == LabellingOutcome(0, 0, 4, 0)
    assert {path: path.stat().st_mtime_ns for path in out.glob("clip*")} == times
    assert label(videos, model, out, OutputOptions(overwrite=True))[0] == LabellingOutcome(4, 0, 0, 0)
    assert files_of(out) == before

    write_video(videos / "clip0.mp4", num_frames=7)
    assert label(videos, model, out)[0] == LabellingOutcome(1, 0, 3, 0)
    assert len(read_predicted(out / "clip0.frames.csv", LabelSpace(CLASSES))) == 7
    (out / "clip1.segments.csv").unlink()
    assert label(videos, model, out)[0] == LabellingOutcome(1, 0, 3, 0)
    assert label(videos, model, out, OutputOptions(formats=("csv", "vtt")))[0] == LabellingOutcome(4, 0, 0, 0)
    assert label(videos, model, out)[0] == LabellingOutcome(4, 0, 0, 0)
    assert not list(out.glob("*.vtt")), "formats that are no longer requested would become outdated"


def test_an_overlay_of_the_same_labels_stays_and_one_of_others_is_removed_with_a_note(model, videos, tmp_path):
    out, notes = tmp_path / "out", []
    label(videos, model, out, OutputOptions(overlay=True))
    overlays = {path: path.read_bytes() for path in out.glob("*.overlay.mp4")}
    assert label(videos, model, out, on_note=notes.append)[0] == LabellingOutcome(0, 0, 4, 0)
    again = OutputOptions(formats=("csv", "vtt"), overwrite=True)
    assert label(videos, model, out, again, on_note=notes.append)[0] == LabellingOutcome(4, 0, 0, 0)
    assert {path: path.read_bytes() for path in out.glob("*.overlay.mp4")} == overlays
    assert len(overlays) == 4
    assert notes == []
    both = OutputOptions(formats=("csv", "vtt"), overlay=True)
    assert label(videos, model, out, both)[0] == LabellingOutcome(0, 0, 4, 0)

    write_video(videos / "clip0.mp4", num_frames=7)
    assert label(videos, model, out, OutputOptions(formats=("csv", "vtt")), on_note=notes.append)[0].num_labelled == 1
    assert len(list(out.glob("*.overlay.mp4"))) == 3
    assert "labels replaced those of another clip0.mp4" in notes[0]
    assert notes[1].startswith(f"{out / 'clip0.overlay.mp4'}: was removed")
    assert len(notes) == 2


def test_labels_of_another_video_of_that_name_are_replaced_with_a_note(model, videos, tmp_path):
    out, notes = tmp_path / "out", []
    label(videos, model, out, on_note=notes.append)
    (tmp_path / "others").mkdir()
    other = tmp_path / "others" / "clip1.mkv"
    write_video(other, num_frames=5)
    num_bytes = (videos / "clip1.mp4").stat().st_size
    assert label(other, model, out, on_note=notes.append) == (LabellingOutcome(1, 0, 0, 0), [])
    assert notes == [
        f"{other}: its labels replaced those of another clip1.mp4, of {num_bytes} bytes, in {out}: was that file"
        " changed, or another one meant?"
    ]


def test_another_model_labels_finished_videos_again(model, videos, tmp_path):
    out = tmp_path / "out"
    label(videos, model, out)
    other = save_video_model(tmp_path / "other", preprocess=PREPROCESS.model_copy(update={"size": (48, 48)}))
    assert label(videos, load_model(str(other), device="cpu"), out)[0] == LabellingOutcome(4, 0, 0, 0)


def test_another_static_threshold_labels_finished_videos_again(video_model, model, videos, tmp_path):
    out = tmp_path / "out"
    label(videos, model, out)
    static_threshold = load_model(str(video_model), device="cpu", static_threshold=255.0)
    assert label(videos, static_threshold, out)[0] == LabellingOutcome(4, 0, 0, 0)
    assert json.loads((out / "clip0.report.json").read_text())["model"]["still"] == 255.0
    assert label(videos, static_threshold, out)[0] == LabellingOutcome(0, 0, 4, 0)


class Killed(BaseException):
    """Stands for a signal that no process can catch."""


@pytest.mark.parametrize("num_writes", range(12))
def test_a_call_killed_between_any_two_writes_resumes_with_the_same_bytes(
    num_writes, model, videos, tmp_path, monkeypatch
):
    for path in list(videos.iterdir())[2:]:
        path.unlink()
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    outputs = OutputOptions(formats=("csv", "vtt"))
    label(videos, model, out)  # an earlier call that requested fewer formats
    label(videos, model, undisturbed, outputs)
    replace, count = os.replace, iter(range(1000))

    def replace_or_die(source: Path, target: Path) -> None:
        if next(count) >= num_writes:
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_or_die)
        with pytest.raises(Killed):
            label(videos, model, out, outputs)
    assert label(videos, model, out, outputs)[0].num_failed == 0
    assert files_of(out) == files_of(undisturbed)


@pytest.mark.slow
def test_a_call_killed_at_random_moments_resumes_with_the_same_bytes(video_model, model, videos, tmp_path):
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    label(videos, model, undisturbed, EVERYTHING)
    command = [sys.executable, "-m", "pipeline.cli", "label", str(videos), "--model", str(video_model)]
    command += ["--out", str(out), "--overlay", "--formats", ",".join(EVERYTHING.formats)]
    start = time.monotonic()
    subprocess.run(command, check=True, cwd=ROOT, timeout=300)
    seconds = time.monotonic() - start
    for part in (0.6, 0.8, 0.95):
        for path in out.glob("*"):
            path.unlink()
        process = subprocess.Popen(command, cwd=ROOT)
        time.sleep(part * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        subprocess.run(command, check=True, cwd=ROOT, timeout=300)
        assert files_of(out) == files_of(undisturbed)


def test_a_damaged_video_is_skipped_labelled_in_part_or_ends_the_call(model, videos, tmp_path):
    path = videos / "clip1.mp4"
    write_video(path, num_frames=60)
    damage(path)
    outcome, printed = label(videos, model, tmp_path / "skip")
    assert outcome == LabellingOutcome(3, 0, 0, 1)
    assert len(printed) == 1
    assert "--on-error partial" in printed[0]
    assert not list((tmp_path / "skip").glob("clip1.*"))

    outcome, printed = label(videos, model, tmp_path / "partial", OutputOptions(overlay=True, on_error="partial"))
    assert outcome == LabellingOutcome(4, 1, 0, 0)
    assert printed[0].startswith(f"{path}: labelled in part: ")
    labels = read_predicted(tmp_path / "partial" / "clip1.frames.csv", LabelSpace(CLASSES))
    rows = pd.read_csv(tmp_path / "partial" / "decode_report.csv").set_index("stem")
    row = rows.loc["clip1"]
    assert (row["outcome"], row["declared_frames"]) == ("partly", 60)
    assert (labels == IGNORE_INDEX).sum() == row["substituted_frames"] > 0
    found = label_video(path, model, partial=True)
    assert np.isnan(found.probabilities).tolist() == (labels == IGNORE_INDEX).tolist()
    assert np.isnan(found.class_probabilities).all(axis=1).tolist() == (labels == IGNORE_INDEX).tolist()
    assert np.isfinite(found.class_probabilities[labels != IGNORE_INDEX]).all()
    assert row["decoded_frames"] + row["failed_frames"] == 60
    segments = pd.read_csv(tmp_path / "partial" / "clip1.segments.csv")
    assert (segments["stop"] - segments["start"]).sum() == row["decoded_frames"]
    assert (tmp_path / "partial" / "clip1.overlay.mp4").stat().st_size > 0
    skipped = pd.read_csv(tmp_path / "skip" / "decode_report.csv").set_index("stem").loc["clip1"]
    assert (skipped["outcome"], skipped["decoded_frames"]) == ("failed", row["decoded_frames"])

    outcome, printed = label(videos, model, tmp_path / "stop", OutputOptions(on_error="stop"))
    assert (outcome.num_failed, len(printed)) == (1, 1)
    assert not (tmp_path / "stop" / "clip3.report.json").exists()
    # a video labelled in part is finished only for calls with on_error partial
    assert label(videos, model, tmp_path / "partial", OutputOptions(overlay=True, on_error="partial"))[
        0
    ] == LabellingOutcome(0, 0, 4, 0)
    assert label(videos, model, tmp_path / "partial", OutputOptions(overlay=True))[0] == LabellingOutcome(0, 0, 3, 1)


def test_progress_counts_every_frame_of_every_video(model, videos, tmp_path):
    printed: list[Progress] = []
    (videos / "broken.mp4").write_bytes(b"nothing")
    label(videos, model, tmp_path / "out", num_parallel=2, on_progress=printed.append)
    assert printed[-1] == Progress(10 + 19 + 28 + 37, 10 + 19 + 28 + 37, 5, 5)
    assert all(progress.num_frames_done <= progress.num_frames for progress in printed)


def test_several_videos_are_labelled_in_parallel(video_model, videos, tmp_path):
    model = load_model(str(video_model), device="cpu")
    meeting = threading.Barrier(2, timeout=60)

    class Meeting(TorchRuntime):
        def submit(self, pixels):
            if threading.current_thread().name not in met:
                met.add(threading.current_thread().name)
                meeting.wait()
            return super().submit(pixels)

    met: set[str] = set()
    model.__dict__["runtime"] = Meeting(model.checkpoint.frame_encoder)
    assert label(videos, model, tmp_path / "out", num_parallel=2)[0] == LabellingOutcome(4, 0, 0, 0)
    assert len(met) == 2


class Sharing:
    """A runtime that collects the frames of all videos, and encodes each frame independently."""

    def __init__(self, frames: FrameEncoder) -> None:
        self.frame_encoder = frames
        self._encode = make_pixel_encoder(frames, precision="full")
        self._batches = SharedBatches([self._encode_each] * 2, batch_size=5)

    def _encode_each(self, parts: list[np.ndarray]) -> torch.Tensor:
        return torch.cat([self._encode(frame[None]) for frame in torch.from_numpy(np.concatenate(parts))])

    def submit(self, pixels: np.ndarray) -> Future[torch.Tensor]:
        return self._batches.submit(pixels)


def test_videos_that_share_batches_get_the_same_bytes(video_model, videos, tmp_path):
    model = load_model(str(video_model), device="cpu")
    model.__dict__["runtime"] = Sharing(model.checkpoint.frame_encoder)
    for num_parallel in (1, 4):
        assert label(videos, model, tmp_path / str(num_parallel), num_parallel=num_parallel)[0] == LabellingOutcome(
            4, 0, 0, 0
        )
    names = sorted(path.name for path in (tmp_path / "1").glob("*.csv"))
    assert len(names) == 9
    assert all((tmp_path / "1" / name).read_bytes() == (tmp_path / "4" / name).read_bytes() for name in names)


def test_a_call_that_is_interrupted_leaves_no_batch_behind(video_model, videos, tmp_path):
    model = load_model(str(video_model), device="cpu")
    model.__dict__["runtime"] = Sharing(model.checkpoint.frame_encoder)

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label(videos, model, tmp_path / "out", num_parallel=4, on_progress=interrupt)
    assert label(videos, model, tmp_path / "out", num_parallel=4)[0] == LabellingOutcome(4, 0, 0, 0)


def test_a_signal_that_another_thread_receives_ends_the_call(video_model, tmp_path):
    # The caller waits for the thread that labels the video, and the operating system may choose any thread.
    model = load_model(str(video_model), device="cpu")
    endless = write_endless_video(tmp_path / "endless.mp4")
    signalled: list[float] = []

    def interrupt(progress: Progress) -> None:
        if not signalled:
            signalled.append(time.monotonic())
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            label_videos([endless], model, tmp_path, on_failure=pytest.fail, on_progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() < signalled[0] + 10
    assert not list(tmp_path.glob("endless.*.csv"))


def test_a_tracked_call_is_a_run_below_the_training_run_of_the_model(workspace, video_model, model, videos, tmp_path):
    from mlflow import MlflowClient

    from pipeline.tracking import store

    label(videos, model, tmp_path / "labels")
    (videos / "clip3.mp4").unlink()  # its row stays in the decode report
    outcome, _ = label(videos, model, tmp_path / "labels", OutputOptions(overwrite=True))
    paths = sorted(videos.iterdir())
    with store.open_run(None, name="training") as trained:
        pass
    lineage = model.spec.lineage.model_copy(update={"run_id": trained})
    spec = model.spec.model_copy(update={"lineage": lineage})
    run = MlflowClient().get_run(
        track_call(Model(replace(model.checkpoint, spec=spec)), paths, outcome, tmp_path / "labels")
    )
    assert run.info.run_name == "label labels"
    assert run.data.tags["mlflow.parentRunId"] == run.data.tags["model_run_id"] == trained
    assert run.data.metrics["num_labelled"] == 3
    assert run.data.metrics["decoded_frames"] == 10 + 19 + 28
    assert [file.path for file in MlflowClient().list_artifacts(run.info.run_id)] == ["decode_report.csv"]
    other = MlflowClient().get_run(track_call(model, paths, outcome, tmp_path / "labels"))
    assert "mlflow.parentRunId" not in other.data.tags  # the store does not have that run


def test_temporary_folders_of_a_killed_call_are_removed(model, videos, tmp_path):
    import socket

    out = tmp_path / "out"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = out / f".labelling.{socket.gethostname()}.{ended.pid}.1"
    working = out / f".labelling.{socket.gethostname()}.{os.getpid()}.1"
    for folder in (left, working):
        folder.mkdir(parents=True)
    label(videos, model, out)
    assert not left.exists()
    assert working.exists()


def test_outputs_with_times_or_pixels_are_refused_for_a_model_of_features(feature_model):
    model = load_model(str(feature_model), device="cpu")
    check_outputs(OutputOptions(formats=("csv", "jsonl", "parquet")), model)
    for outputs in (
        OutputOptions(overlay=True),
        OutputOptions(formats=("vtt",)),
        OutputOptions(formats=("srt", "csv")),
    ):
        with pytest.raises(InputError, match="ready features"):
            check_outputs(outputs, model)
