"""Videos decoded in separate processes. test_reader.py tests that their readers keep the contract."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from damaged_copies import damage, read_as_labelling_does
from made_videos import MakeVideo, decode_fully

from pipeline.video.decoder_process import DecoderProcesses, ProcessReader
from pipeline.video.open import open_scaled
from pipeline.video.region import Region
from pipeline.video.types import Backend, VideoError

LARGE = Region((200, 300))  # 32 frames of it do not fit into a pipe
LONGEST_SECONDS = 10.0


@pytest.fixture
def processes() -> Iterator[DecoderProcesses]:
    with DecoderProcesses(1) as found:
        yield found


def pid_of(reader: ProcessReader) -> int:
    assert reader._process
    return reader._process._popen.pid


def frames_of(reader: ProcessReader) -> np.ndarray:
    return np.concatenate([batch.pixels for batch in reader.read(batch_size=7)])


def test_a_process_imports_nothing_slow() -> None:
    code = "import sys, pipeline.video.decoder_process;print({'torch', 'cv2', 'decord', 'mlflow'} & set(sys.modules))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout == "set()\n"


def test_many_threads_can_share_a_few_processes(make_video: MakeVideo) -> None:
    paths = [make_video(f"{number}.mp4", num_frames=20 + number) for number in range(7)]

    def read(path: Path) -> tuple[np.ndarray, int]:
        with processes.open_scaled(path, Region((48, 64))) as video:
            return frames_of(video), pid_of(video)

    with DecoderProcesses(2) as processes, ThreadPoolExecutor(5) as threads:
        found = list(threads.map(read, paths * 3))
    for (pixels, _), path in zip(found, paths * 3, strict=True):
        np.testing.assert_array_equal(pixels, decode_fully(path)[0])
    assert len({pid for _, pid in found}) == 2
    assert not any(is_alive(pid) for _, pid in found)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("reader", ["pyav", "decord", "opencv"])
def test_a_process_can_use_each_reader(
    reader: Backend, processes: DecoderProcesses, make_video: MakeVideo, capfd: pytest.CaptureFixture
) -> None:
    path = make_video(options={"bf": "2", "g": "5"})
    region = Region((20, 30), (4, 2, 40, 30))
    with open_scaled(path, region, reader=reader) as here, processes.open_scaled(path, region, reader=reader) as there:
        for expected, found in zip(here.read(batch_size=9), there.read(batch_size=9), strict=True):
            np.testing.assert_array_equal(found.pixels, expected.pixels)
        assert there.report() == here.report()
        assert there.report().reader == reader
    assert capfd.readouterr() == ("", "")


def test_damaged_files_are_read_or_refused_like_without_a_process(
    processes: DecoderProcesses, make_video: MakeVideo
) -> None:
    path = make_video(num_frames=30, size=(96, 64), options={"g": "10"})
    content = path.read_bytes()
    outcomes = set()
    for seed in range(42):
        path.write_bytes(damage(content, seed)[1])
        expected, found = read_as_labelling_does(path), read_as_labelling_does(path, processes.open_scaled)
        np.testing.assert_array_equal(found.pop("pixels", 0), expected.pop("pixels", 0))
        assert found == expected
        outcomes.add(found["outcome"])
    assert outcomes == {"read", "partly", "refused"}


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_decoder_that_crashes_costs_one_video(
    number: signal.Signals, processes: DecoderProcesses, make_video: MakeVideo
) -> None:
    path = make_video()
    with processes.open_scaled(path, LARGE) as video:
        batches = video.read(batch_size=8)
        next(batches)
        os.kill(pid_of(video), number)
        with pytest.raises(VideoError) as caught:
            list(batches)
        with pytest.raises(VideoError):
            video.report()
    assert str(caught.value) == (
        f"{path}: the process that decodes it was ended by {number.name}: the file is damaged, or memory is short"
    )
    with processes.open_scaled(path, Region((48, 64))) as video:
        np.testing.assert_array_equal(frames_of(video), decode_fully(path)[0])


def test_a_process_that_cannot_start_is_reported(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video()
    with DecoderProcesses(1) as processes:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "false")
            with pytest.raises(VideoError, match="ended with exit code 1"):
                processes.open_scaled(path, LARGE)
            patch.setattr(sys, "executable", "/nowhere/python")
            with pytest.raises(FileNotFoundError):
                processes.open_scaled(path, LARGE)
        with processes.open_scaled(path, Region((48, 64))) as video:
            np.testing.assert_array_equal(frames_of(video), decode_fully(path)[0])


def test_an_interrupted_answer_is_not_mistaken_for_the_next_answer(
    processes: DecoderProcesses, make_video: MakeVideo
) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    path = make_video()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with processes.open_scaled(path, LARGE) as video:
            os.kill(pid_of(video), signal.SIGSTOP)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                next(video.read())
    finally:
        signal.signal(signal.SIGALRM, before)
    with processes.open_scaled(path, Region((48, 64))) as video:
        np.testing.assert_array_equal(frames_of(video), decode_fully(path)[0])


def test_an_error_that_is_not_due_to_the_file_has_its_traceback(
    processes: DecoderProcesses, make_video: MakeVideo
) -> None:
    with processes.open_scaled(make_video(), LARGE) as video, pytest.raises(TypeError) as caught:
        next(video.read(batch_size="many"))  # type: ignore[arg-type]
    assert "Traceback" in caught.value.__notes__[0]


def test_a_closed_reader_raises_an_error_that_names_the_cause(
    processes: DecoderProcesses, make_video: MakeVideo
) -> None:
    video = processes.open_scaled(make_video(), LARGE)
    video.close()
    video.close()
    with pytest.raises(ValueError, match="closed"):
        next(video.read())


@pytest.mark.parametrize("state", ["waiting", "answering"])
def test_a_decoder_process_ends_with_its_parent_process(state: str, make_video: MakeVideo) -> None:
    code = f"""
import sys, time
from pathlib import Path
from pipeline.video.decoder_process import DecoderProcesses
from pipeline.video.region import Region

video = DecoderProcesses(1).open_scaled(Path(sys.argv[1]), Region({LARGE.size}))
batches = video.read()
process = video._process
if {state == "waiting"}:
    next(batches)
else:
    process._requests.write(__import__("pickle").dumps(("next", ())))
    process._requests.flush()
print(process._popen.pid, flush=True)
time.sleep(60)
"""
    path = make_video(num_frames=64)
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout
        pid = int(asking.stdout.readline())
        assert is_alive(pid)
        asking.kill()
    deadline = time.monotonic() + LONGEST_SECONDS
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(pid)
