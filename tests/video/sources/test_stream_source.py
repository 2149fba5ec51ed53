"""Streams: a lost stream is opened again, a video with an end ends there, and no message contains a secret."""

import doctest
import re
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import av
import imageio_ffmpeg
import numpy as np
import pytest
from made_models import write_other_container
from made_ports import free_port
from made_streams import (
    FRAGMENTED,
    MAX_SECONDS,
    PREPROCESS,
    STREAMABLE,
    VARIABLE,
    FileServer,
    pixels_of,
    read_scaled,
    serving,
)
from made_videos import MakeVideo

from pipeline.errors import InputError
from pipeline.video.preprocess import Preprocess
from pipeline.video.sources import stream as sources_stream
from pipeline.video.sources.base import FIRST_PAUSE_SECONDS, LiveFrame
from pipeline.video.sources.stream import StreamSource, shown_address
from pipeline.video.types import VideoError

# Streams without an end


def test_a_lost_stream_is_opened_again_and_its_time_continues(make_video: MakeVideo, stop: Event) -> None:
    path, port = make_video("clip.mkv", num_frames=50, **STREAMABLE), free_port()
    printed, frames = [], []
    with ExitStack() as servers:
        first = servers.enter_context(serving(path, port))

        def on_event(event: str) -> None:
            printed.append(event)
            if "lost" in event:
                assert not source.connected
                servers.enter_context(serving(path, port))

        source = StreamSource(f"http://me:secret@127.0.0.1:{port}/live", PREPROCESS, idle_seconds=20, on_event=on_event)
        for frame in source.frames(stop):
            assert source.connected
            frames.append(frame)
            if len(frames) == 10:
                first.kill()
            if source.num_reconnections:
                break
    name = f"http://127.0.0.1:{port}/live"
    assert len(printed) == 2
    assert re.fullmatch(rf"{name}: lost \([\w/ ]+\); trying again for 20 s", printed[0])
    assert printed[1] == f"{name}: came back"
    assert not source.can_wait
    assert source.num_reconnections == 1
    assert 10 < len(frames) <= 51
    np.testing.assert_array_equal(frames[-1].pixels, frames[0].pixels)  # the stream begins again
    seconds = [frame.seconds for frame in frames]
    assert seconds[0] == 0
    assert (np.diff(seconds) > 0).all()
    assert seconds[-1] - seconds[-2] >= FIRST_PAUSE_SECONDS
    np.testing.assert_allclose(np.diff([frame.captured for frame in frames]), np.diff(seconds), atol=1e-6)


@pytest.mark.slow
def test_a_stream_that_stalls_counts_as_lost_after_the_timeout(make_video: MakeVideo, stop: Event) -> None:
    path, port = make_video("clip.mkv", num_frames=200, **STREAMABLE), free_port()
    printed: list[float] = []
    options = {"open_timeout_seconds": 2.0, "read_timeout_seconds": 1.0, "longest_pause_seconds": 0.5}

    def on_event(event: str) -> None:
        printed.append(time.monotonic())
        stop.set()

    with serving(path, port) as server:
        source = StreamSource(
            f"http://127.0.0.1:{port}/live", PREPROCESS, idle_seconds=20, on_event=on_event, **options
        )
        for number, frame in enumerate(source.frames(stop)):
            if number == 20:
                server.send_signal(signal.SIGSTOP)
                stopped = frame.captured
    assert len(printed) == 1
    assert 1.0 <= printed[0] - stopped < 5


@pytest.mark.slow
def test_an_rtsp_stream_is_read(make_video: MakeVideo, stop: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """ffmpeg can send RTSP but not serve it, so here the reader listens. The transmission is the same."""
    monkeypatch.setattr(sources_stream, "STREAM_OPTIONS", {"rtsp_flags": "listen", "listen_timeout": "20"})
    path, address = make_video("clip.mkv", num_frames=50, **STREAMABLE), f"rtsp://127.0.0.1:{free_port()}/live"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "quiet", "-nostdin", "-re", "-i", str(path)]
    command += ["-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", address]

    def send() -> None:  # until a server listens
        while not stop.is_set() and subprocess.run(command, timeout=MAX_SECONDS).returncode != 0:
            time.sleep(0.1)

    sending = Thread(target=send)
    sending.start()
    source = StreamSource(
        address, PREPROCESS, idle_seconds=20, open_timeout_seconds=20, on_event=lambda event: stop.set()
    )
    frames = list(source.frames(stop))
    sending.join(MAX_SECONDS)
    expected, _ = read_scaled(path)
    np.testing.assert_array_equal(pixels_of(frames), expected)


@pytest.mark.parametrize("answers", [False, True])
def test_a_stream_without_a_first_frame_is_refused_without_showing_its_password(answers: bool, stop: Event) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if answers:
            server.listen()  # it accepts the connection and sends nothing
        port = server.getsockname()[1]
        source = StreamSource(
            f"http://me:secret@127.0.0.1:{port}/live?key=secret", PREPROCESS, idle_seconds=20, open_timeout_seconds=0.5
        )
        start = time.monotonic()
        reason = "it did not answer in time" if answers else "Connection refused"
        with pytest.raises(VideoError, match=rf"no frame came within [\d.]+ s \({reason}\)") as refused:
            next(source.frames(stop))
    assert time.monotonic() - start < 5
    assert str(refused.value).startswith(f"http://127.0.0.1:{port}/live: ")
    assert "secret" not in str(refused.value) + source.name + source.stem
    assert source.stem == f"127.0.0.1_{port}_live"


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://me:secret@cam:554/live",
        "rtsp://me:se/cr@et:secret@cam:554/live",
        "http://cam:554/live?user=me&password=secret#secret",
        "rtsp://secret@cam:554/live?secret",
        "rtsp://cam:554/user=secret&password=secret_channel=1/live",
    ],
)
def test_the_displayed_address_has_no_secrets(address: str) -> None:
    assert doctest.testmod(sources_stream).failed == 0
    shown = shown_address(address)
    assert shown.startswith("rtsp://cam:554/" if address.startswith("rtsp") else "http://cam:554/")
    assert shown.endswith("/live")
    assert "secret" not in shown


def test_a_lost_stream_is_given_up_after_the_requested_time(make_video: MakeVideo, stop: Event) -> None:
    path, port = make_video("clip.mkv", num_frames=25, **STREAMABLE), free_port()
    printed, frames = [], []
    source = StreamSource(
        f"http://me:secret@127.0.0.1:{port}/live", PREPROCESS, idle_seconds=1, on_event=printed.append
    )
    with (
        serving(path, port),
        pytest.raises(VideoError, match=r"given up, as no frame came for 1 s \(Connection refused\)") as given_up,
    ):
        frames.extend(source.frames(stop))
    assert 1 <= time.monotonic() - frames[-1].captured < 3
    assert len(frames) == 25
    assert len(printed) == 1
    assert "secret" not in str(given_up.value) + printed[0]


def test_a_video_in_fragments_without_a_length_has_no_end(make_video: MakeVideo, stop: Event) -> None:
    """FFmpeg states the sum of the fragments that it has read as the duration."""
    path = make_video("clip.mp4", **FRAGMENTED)
    printed: list[str] = []
    with FileServer(path, states_length=False) as server:
        source = StreamSource(server.address, PREPROCESS, idle_seconds=20, on_event=printed.append)
        for _ in source.frames(stop):
            if source.num_reconnections:
                break
    assert [event.split(" (")[0] for event in printed] == [f"{server.name}: lost", f"{server.name}: came back"]


def test_a_stream_whose_picture_stops_while_its_sound_continues_is_lost(
    make_video: MakeVideo, stop: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_sound(make_video("clip.ts", num_frames=10, **STREAMABLE), seconds=20)
    ticks = count()  # it is sent immediately: here each call of the clock advances the time
    monkeypatch.setattr(sources_stream, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 100))
    printed: list[str] = []

    def on_event(event: str) -> None:
        printed.append(event)
        stop.set()

    with FileServer(path, states_length=False) as server:
        source = StreamSource(server.address, PREPROCESS, idle_seconds=20, read_timeout_seconds=1, on_event=on_event)
        assert 5 < len(list(source.frames(stop))) <= 10
    assert printed == [f"{server.name}: lost (nothing but sound, or damage, for 1 s); trying again for 20 s"]


# Streams that say where they end: finished videos behind HTTP


FINISHED = {
    "clip.mkv": {},
    "clip.ts": {"options": {"bf": "2", "g": "10"}},
    "clip.avi": {"options": {"bf": "0"}},
    "faststart.mp4": {"container_options": {"movflags": "faststart"}},
    "fragmented.mp4": FRAGMENTED,
    "variable.mkv": VARIABLE,
}


def with_sound(path: Path, *, seconds: float, font: bytes = b"") -> Path:
    """Make a copy with silence of this length. With a font, the silence is the first stream, and the font the last."""
    copy = path.with_stem(f"{path.stem}_sound")
    with av.open(str(path)) as video, av.open(str(copy), "w") as container:
        sound = container.add_stream("aac", rate=48000) if font else None
        picture = container.add_stream_from_template(video.streams.video[0])
        sound = sound or container.add_stream("aac", rate=48000)
        if font:
            container.add_attachment("font.ttf", "font/ttf", font)
        for packet in video.demux(video.streams.video[0]):
            if packet.size:
                packet.stream = picture
                container.mux(packet)
        for start in range(0, round(48000 * seconds), 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 48000, start
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return copy


def assert_same_frames(frames: list[LiveFrame], path: Path) -> None:
    pixels, pts_seconds = read_scaled(path)
    np.testing.assert_array_equal(pixels_of(frames), pixels[: len(frames)])
    np.testing.assert_array_equal([frame.seconds for frame in frames], pts_seconds[: len(frames)])


def assert_whole(frames: list[LiveFrame], error: str, path: Path) -> None:
    assert error == ""
    assert len(frames) == len(read_scaled(path)[1])
    assert_same_frames(frames, path)


def take_all(server: FileServer, stop: Event) -> tuple[list[LiveFrame], str]:
    """The frames, and the error at the end. A loss is never reported and retried."""
    frames, printed, error = [], [], ""
    source = StreamSource(server.address, PREPROCESS, idle_seconds=20, on_event=printed.append)
    try:
        for frame in source.frames(stop):
            assert source.can_wait
            frames.append(frame)
    except VideoError as raised:
        error = str(raised)
        assert error.startswith(f"{server.name}: ")
    assert not stop.is_set()
    assert printed == []
    return frames, error


@pytest.mark.parametrize("sends_parts", [False, True])
@pytest.mark.parametrize("name", FINISHED)
def test_a_finished_video_ends_at_its_end_with_each_frame_once(
    name: str, sends_parts: bool, make_video: MakeVideo, stop: Event
) -> None:
    path = make_video(name, **FINISHED[name])
    with FileServer(path, sends_parts=sends_parts) as server:
        frames, error = take_all(server, stop)
    assert_whole(frames, error, path)


@pytest.mark.parametrize("states_length", [True, False])
def test_other_streams_in_a_file_cause_no_lost_frame(states_length: bool, make_video: MakeVideo, stop: Event) -> None:
    """The file has sound before the picture, and a font after it."""
    path = make_video("clip.mkv", options={"bf": "2"})
    mixed = with_sound(path, seconds=0.02, font=b"no font")
    with FileServer(mixed, states_length=states_length) as server:
        frames, error = take_all(server, stop)
    assert error == ""
    assert len(frames) == len(read_scaled(path)[0])
    assert_same_frames(frames, mixed)


@pytest.mark.parametrize("states_length", [True, False])
@pytest.mark.parametrize(
    ("name", "cut"),
    [("clip.mkv", 0.5), ("clip.ts", 0.37), ("clip.ts", 0.4), ("faststart.mp4", 0.5)],
)
def test_a_video_whose_connection_breaks_is_reported_and_not_started_again(
    name: str, cut: float, states_length: bool, make_video: MakeVideo, stop: Event
) -> None:
    if name == "clip.ts" and not states_length:
        pytest.skip("neither the file nor the server says where it ends: it is a stream without an end")
    path = make_video(name, num_frames=60, **FINISHED[name])
    with FileServer(path, cut=cut, states_length=states_length) as server:
        frames, error = take_all(server, stop)
    assert 10 < len(frames) < 55
    assert_same_frames(frames, path)
    assert f": lost after {len(frames)} frames (" in error
    assert server.num_requests == 1


@pytest.mark.parametrize("name", FINISHED)
def test_after_a_lost_connection_the_rest_is_requested_from_a_server_with_ranges(
    name: str, make_video: MakeVideo, stop: Event
) -> None:
    path = make_video(name, **FINISHED[name])
    with FileServer(path, cut=0.6, cut_once=True, sends_parts=True) as server:
        frames, error = take_all(server, stop)
    assert_whole(frames, error, path)
    assert server.num_requests > 1


def test_a_video_without_a_stated_length_ends_where_its_container_says(make_video: MakeVideo, stop: Event) -> None:
    video = make_video("clip.mkv")
    for path in (video, with_sound(video, seconds=5)):
        with FileServer(path, states_length=False) as server:
            frames, error = take_all(server, stop)
        assert_whole(frames, error, path)


def test_damaged_frames_are_left_out_and_reported(make_video: MakeVideo, stop: Event) -> None:
    path = make_video("clip.mp4", num_frames=60, **STREAMABLE, container_options={"movflags": "faststart"})
    with FileServer(path) as server:
        content = bytearray(server.content)
        middle = len(content) // 2
        content[middle : middle + 300] = np.random.default_rng(0).bytes(300)
        server.content = bytes(content)
        frames, error = take_all(server, stop)
    assert 20 < len(frames) < 60
    assert frames[-1].seconds == read_scaled(path)[1][-1]
    assert re.search(r"\d of its frames are damaged, and have no label", error)


def test_a_video_with_its_index_at_the_end_needs_a_server_that_sends_parts(tmp_path: Path, stop: Event) -> None:
    path = write_other_container(tmp_path / "clip.mp4", "libx264", num_frames=100)  # more than FFmpeg reads ahead
    with FileServer(path) as server:
        frames, error = take_all(server, stop)
    assert not frames
    assert "no frame came (the connection ended): where the index of a video is at its end" in error
    with FileServer(path, sends_parts=True) as server:
        frames, error = take_all(server, stop)
    assert error == ""
    assert_same_frames(frames, path)


def test_a_frame_smaller_than_the_region_of_interest_is_refused(make_video: MakeVideo, stop: Event) -> None:
    with FileServer(make_video("clip.mkv")) as server:
        source = StreamSource(server.address, Preprocess(size=(24, 32), crop=(0, 0, 100, 20)), idle_seconds=1)
        with pytest.raises(InputError, match="64 wide and 48 high"):
            next(source.frames(stop))
