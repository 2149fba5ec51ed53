"""The command for live labelling, on real streams: its files, its messages and its exit codes."""

import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from import_graph import ROOT
from made_models import CLASSES, SETTINGS, save_video_model, write_other_container, write_video
from made_ports import free_port
from made_streams import MAX_SECONDS, FileServer, serving

from pipeline.cli import live as cli_live
from pipeline.cli.main import main

SUMMARY = r"labelled (\d+) frames? into (\S+), (\d+) dropped, (\d+) reconnections?, delay \d+ ms \(median\), \d+ ms .*"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def label(*arguments: object, model: Path, out: Path) -> int:
    return main(["label", *map(str, arguments), "--model", str(model), "--out", str(out)])


def test_a_followed_file_has_the_rows_of_the_finished_file(video_model, tmp_path, capsys):
    video, out = write_other_container(tmp_path / "clip.mkv", "libx264"), tmp_path / "out"
    assert label("--follow", video, "--idle", "0.3", model=video_model, out=out) == 0
    messages = capsys.readouterr()
    summary = re.fullmatch(SUMMARY, messages.out.strip())
    assert summary
    assert summary.groups() == ("60", str(out / "clip.live.csv"), "0", "0")
    assert [line[20:] for line in messages.err.splitlines()] == [
        f"{video}: waiting for its first frame; Ctrl-C ends",
        f"{video}: is labelled into {out / 'clip.live.csv'}",
    ]
    assert label(video, model=video_model, out=out) == 0
    live, finished = (rows_of(out / f"clip.{kind}.csv") for kind in ("live", "frames"))
    for name in ("frame", "time_seconds", "label"):
        assert [row[name] for row in live] == [row[name] for row in finished]
    probabilities = ([float(row["probability"]) for row in rows] for rows in (live, finished))
    np.testing.assert_allclose(*probabilities, atol=2e-4)


def test_the_wait_of_each_label_is_stated_before_and_after(tmp_path, capsys):
    model = save_video_model(tmp_path / "model", settings=SETTINGS.model_copy(update={"look_ahead": 5}))
    video, out = write_other_container(tmp_path / "clip.mkv", "libx264"), tmp_path / "out"
    assert label("--follow", video, "--idle", "0.3", model=model, out=out) == 0
    messages = capsys.readouterr()
    summary = re.fullmatch(SUMMARY, messages.out.strip())
    assert summary
    assert summary[1] == "60"
    assert messages.out.strip().endswith("(95th percentile), the wait for 5 more frames included")
    assert messages.err.splitlines()[1].endswith("clip.live.csv; each label waits for 5 more frames")
    assert [row["frame"] for row in rows_of(out / "clip.live.csv")] == [str(frame) for frame in range(60)]


def test_a_stream_is_labelled_without_showing_its_password(video_model, tmp_path, capfd):
    video, port, out = write_video(tmp_path / "clip.mp4", num_frames=100), free_port(), tmp_path / "out"
    address = f"http://me:secret@127.0.0.1:{port}/live?key=secret"
    with serving(video, port):
        assert label(address, "--seconds", "1", "--buffer", "64", model=video_model, out=out) == 0
    messages = capfd.readouterr()
    path = out / f"127.0.0.1_{port}_live.live.csv"
    summary = re.fullmatch(SUMMARY, messages.out.strip())
    assert summary
    assert summary[2] == str(path)
    rows = rows_of(path)
    assert list(rows[0]) == ["frame", "time_seconds", "label", "probability"]
    assert int(summary[1]) == len(rows) >= 5
    frames = [int(row["frame"]) for row in rows]
    assert frames == sorted(set(frames))
    assert frames[-1] + 1 <= len(rows) + int(summary[3])
    seconds = [float(row["time_seconds"]) for row in rows]
    assert sorted(seconds) == seconds
    assert 0 <= seconds[0] < seconds[-1] < MAX_SECONDS
    assert "secret" not in messages.out + messages.err + path.read_text() + "".join(map(str, out.iterdir()))


def test_a_finished_video_behind_an_address_gets_the_rows_of_the_file(video_model, tmp_path, capfd):
    video, out = write_other_container(tmp_path / "clip.mkv", "libx264"), tmp_path / "out"
    with FileServer(video) as server:
        assert label(server.address, "--buffer", "1", model=video_model, out=out) == 0
    messages = capfd.readouterr()
    path = out / f"127.0.0.1_{server.server_port}_clip.mkv.live.csv"
    summary = re.fullmatch(SUMMARY, messages.out.strip())
    assert summary
    assert summary.groups() == ("60", str(path), "0", "0")
    assert [line[20:] for line in messages.err.splitlines()] == [
        f"{server.name}: waiting for its first frame; Ctrl-C ends",
        f"{server.name}: is labelled into {path}",
    ]
    assert label(video, model=video_model, out=out) == 0
    for live, finished in zip(rows_of(path), rows_of(out / "clip.frames.csv"), strict=True):
        for name in ("frame", "time_seconds", "label"):
            assert live[name] == finished[name]
        assert float(live["probability"]) == pytest.approx(float(finished["probability"]), abs=2e-4)


def test_received_frames_of_a_lost_video_are_labelled_and_the_loss_is_reported(tmp_path, capfd):
    """The frames whose labels were held back are labelled too."""
    model = save_video_model(tmp_path / "model", settings=SETTINGS.model_copy(update={"min_segment_frames": 9}))
    video, out = write_other_container(tmp_path / "clip.mkv", "libx264"), tmp_path / "out"
    with FileServer(video, cut=0.5) as server:
        assert label(server.address, model=model, out=out) == 1
    messages = capfd.readouterr()
    error = re.fullmatch(rf"framescribe: {server.name}: lost after (\d+) frames \(.*", messages.err.splitlines()[-1])
    assert error
    summary = re.fullmatch(SUMMARY, messages.out.strip())
    assert summary
    assert 10 < int(error[1]) == int(summary[1]) < 55
    assert [int(row["frame"]) for row in rows_of(Path(summary[2]))] == list(range(int(error[1])))
    assert "secret" not in messages.out + messages.err


def test_a_lost_stream_is_given_up_and_received_frames_are_labelled(video_model, tmp_path, capfd):
    video, port, out = write_video(tmp_path / "clip.mp4", num_frames=25), free_port(), tmp_path / "out"
    with serving(video, port):
        assert label(f"http://me:secret@127.0.0.1:{port}/live", "--idle", "1", model=video_model, out=out) == 1
    messages = capfd.readouterr()
    first, *between, last = (
        re.sub(r"^[\d: -]{20}", "", line).split("/live: ")[1] for line in messages.err.splitlines()
    )
    assert first == "waiting for its first frame; Ctrl-C ends"
    # The thread that reads may report the loss before the first label is there.
    assert sorted(between) == [
        f"is labelled into {out / f'127.0.0.1_{port}_live.live.csv'}",
        "lost (the connection ended); trying again for 1 s",
    ]
    assert last == "given up, as no frame came for 1 s (Connection refused)"
    summary = re.fullmatch(SUMMARY, messages.out.strip())
    assert summary
    assert int(summary[1]) + int(summary[3]) == 25
    assert len(rows_of(Path(summary[2]))) == int(summary[1])
    assert "secret" not in messages.out + messages.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_terminal_shows_a_status_line(video_model, tmp_path, monkeypatch):
    video = write_other_container(tmp_path / "clip.mkv", "libx264")
    monkeypatch.setattr(cli_live, "STATUS_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert label("--follow", video, "--idle", "0.1", model=video_model, out=tmp_path / "out") == 0
    name, number = f"({'|'.join(CLASSES)})", r"\d+\.\d"
    line = rf"{name} [01]\.\d\d \| delay \d+ ms \| {number} frames/s \| 0 dropped \| 0 reconnections"
    shown = [part for part in re.split(r"[\r\n]+", terminal.getvalue()) if "|" in part]
    assert shown
    assert all(re.fullmatch(line, part.strip()) for part in shown)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "nothing to label: expected videos or folders, the address of a stream, --camera or --follow"),
        (["clip.mp4", "--camera", "0"], "clip.mp4: finished videos are labelled by a call of their own"),
        (["clip.mp4", "--seconds", "3"], "clip.mp4: finished videos are labelled by a call of their own"),
        (["rtsp://a/b", "rtsp://a/c"], "got 2 live inputs, expected one"),
        (["--camera", "0", "--follow", "clip.mp4"], "got 2 live inputs, expected one"),
        (["--camera", "-1"], "--camera: got -1, expected 0 or more"),
        (["--camera", "0", "--overlay"], "--overlay: is for finished videos only"),
        (["--camera", "0", "--formats", "vtt"], "--formats: is for finished videos only"),
        (["--camera", "0", "--static-threshold", "2"], "--static-threshold: is for finished videos only"),
        (["--camera", "0", "--frame-rate", "2"], "--frame-rate: is for finished videos only"),
        (["--camera", "0", "--on-error", "partial"], "--on-error: is for finished videos only"),
        (["--camera", "0", "--reader", "decord"], "--reader: is for finished videos only"),
        (["clip.mp4", "--idle", "3"], "clip.mp4: finished videos are labelled by a call of their own"),
        (["--follow", "clip.mp4", "--idle", "nan"], "--idle: got nan, expected more than 0 seconds"),
        (["--camera", "0", "--seconds", "0"], "--seconds: got 0.0, expected more than 0 seconds"),
        (["--camera", "0", "--buffer", "0"], "--buffer: got 0, expected at least 1 frame"),
        (["--follow", "gone.mkv"], "gone.mkv: there is no such file or folder"),
        (["http://me:secret@127.0.0.1:9/live"], "http://127.0.0.1:9/live: no frame came within"),
        (["nonsense://127.0.0.1"], "nonsense://127.0.0.1: no frame came within"),
        (["--camera", "87"], "camera 87: no frame came within"),
        (["--camera", "0", "--model", "both"], "both: the model reads videos in both directions"),
        (["--camera", "0", *2 * ["--model", "both"]], "both, both: got 2 models, expected one: live labelling"),
    ],
)
def test_an_impossible_call_is_refused(arguments, sentence, video_model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(Path("clip.mp4"), num_frames=3)
    if "both" in arguments:
        save_video_model(Path("both"), settings=SETTINGS.model_copy(update={"bidirectional": True}))
    model = [] if "--model" in arguments else ["--model", str(video_model)]
    assert main(["label", *model, "--out", "out", *arguments]) == 2
    messages = capsys.readouterr().err.strip().splitlines()
    assert messages[-1].startswith(f"framescribe: {sentence}")
    assert "secret" not in "".join(messages)
    assert not Path("out").exists() or not list(Path("out").iterdir())


def test_the_first_signal_requests_a_stop_and_the_second_ends_the_command():
    before = signal.getsignal(signal.SIGINT)
    with cli_live._signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


@contextmanager
def labelling(port: int, *, model: Path, out: Path) -> "Iterator[subprocess.Popen[str]]":
    """Run the command in a separate process on the stream at a port, and kill it at the end if it still runs."""
    command = [sys.executable, "-m", "pipeline.cli", "label", f"http://me:secret@127.0.0.1:{port}/live"]
    with subprocess.Popen(
        [*command, "--model", str(model), "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(path: Path, num_rows: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + MAX_SECONDS
    while not path.exists() or len(rows_of(path)) < num_rows:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_after_a_lost_connection_ends_the_command_cleanly(number, video_model, tmp_path):
    video, port, out = write_video(tmp_path / "clip.mp4", num_frames=500), free_port(), tmp_path / "out"
    path = out / f"127.0.0.1_{port}_live.live.csv"
    with ExitStack() as stack:
        first = stack.enter_context(serving(video, port))
        process = stack.enter_context(labelling(port, model=video_model, out=out))
        wait_for(path, 30, process)
        first.kill()
        first.wait()
        num_before = len(rows_of(path))
        stack.enter_context(serving(video, port))
        wait_for(path, num_before + 60, process)  # more than can have been in transit
        process.send_signal(number)
        printed, messages = process.communicate(timeout=MAX_SECONDS)
    assert process.returncode == 0
    assert "secret" not in printed + messages
    assert [re.sub(r"\(.*\)", "()", line.split(": ", 1)[1]) for line in messages.splitlines()] == [
        "waiting for its first frame; Ctrl-C ends",
        f"is labelled into {path}",
        "lost (); trying again for 600 s",
        "came back",
    ]
    summary = re.fullmatch(SUMMARY, printed.strip())
    assert summary
    assert int(summary[1]) == len(rows_of(path))
    assert summary[4] == "1"
    assert path.read_text().endswith("\n")


@pytest.mark.slow
def test_a_signal_ends_the_command_cleanly_while_a_stream_stalls(video_model, tmp_path):
    video, port, out = write_video(tmp_path / "clip.mp4", num_frames=500), free_port(), tmp_path / "out"
    path = out / f"127.0.0.1_{port}_live.live.csv"
    with serving(video, port) as server, labelling(port, model=video_model, out=out) as process:
        wait_for(path, 30, process)
        server.send_signal(signal.SIGSTOP)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        printed, messages = process.communicate(timeout=MAX_SECONDS)
    assert process.returncode == 0
    assert len(messages.splitlines()) == 2
    assert re.fullmatch(SUMMARY, printed.strip())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_cleanly_while_it_waits_for_a_lost_stream(number, video_model, tmp_path):
    video, port, out = write_video(tmp_path / "clip.mp4", num_frames=500), free_port(), tmp_path / "out"
    path = out / f"127.0.0.1_{port}_live.live.csv"
    with serving(video, port) as server, labelling(port, model=video_model, out=out) as process:
        wait_for(path, 30, process)
        server.kill()
        while "lost" not in (line := process.stderr.readline()):
            assert line
        process.send_signal(number)
        printed, messages = process.communicate(timeout=MAX_SECONDS)
    assert process.returncode == 0
    assert messages == ""
    summary = re.fullmatch(SUMMARY, printed.strip())
    assert summary
    assert int(summary[1]) == len(rows_of(path))


def test_whatever_a_live_source_raises_is_one_sentence_and_a_log(video_model, tmp_path, capsys, monkeypatch):
    from pipeline.labelling.live import LiveSession

    whole, out = LiveSession._label, tmp_path / "out"

    def fail(session: LiveSession, taken: list) -> list:
        if session.num_labelled:
            raise RuntimeError("shapes differ")
        return whole(session, taken)

    monkeypatch.setattr(LiveSession, "_label", fail)
    video = write_other_container(tmp_path / "clip.mkv", "libx264")
    assert label("--follow", video, "--idle", "0.3", model=video_model, out=out) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    log = out / "framescribe_errors.log"
    assert last == (
        f"framescribe: {video}: could not be labelled further: RuntimeError: shapes differ (the traceback is in {log})"
    )
    assert "shapes differ" in log.read_text()
    assert len(rows_of(out / "clip.live.csv")) > 0
