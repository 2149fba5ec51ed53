"""Converted copies: each frame of the pipeline once, at its own time."""

import io
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_numbers import read_number, write_numbered
from made_studio import serving

from pipeline.studio.clocks import Clocks
from pipeline.studio.pixels.frames import Frames
from pipeline.studio.pixels.proxy import CHUNK_SECONDS, MAX_CHUNK_FRAMES, Kind, Proxies, chunk_starts
from pipeline.studio.places import Video, id_of


@pytest.fixture
def frames(tmp_path: Path) -> Iterator[Frames]:
    frames = Frames(Clocks(tmp_path / "clocks"))
    yield frames
    frames.close()


def proxies_of(tmp_path: Path, frames: Frames) -> Proxies:
    return Proxies(tmp_path / "proxies", frames._clocks, frames)


def video_of(path: Path) -> Video:
    return Video(id_of(path.stem), path)


def frames_of(content: bytes) -> list[tuple[float, np.ndarray]]:
    with av.open(io.BytesIO(content)) as container:
        return [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_each_frame_is_in_the_copy_once_at_its_own_time(tmp_path: Path, frames: Frames, kind: Kind) -> None:
    ticks = list(itertools.accumulate([20, 33, 40, 100, 7] * 40, initial=1500))
    video = video_of(write_numbered(tmp_path / "a.mp4", ticks=ticks))
    proxies = proxies_of(tmp_path, frames)
    starts = proxies.describe(video)["starts"]
    assert isinstance(starts, list)
    assert len(starts) > 1
    times = frames._clocks.clock(video).times.pts_seconds
    seen = 0
    for number, start in enumerate(starts):
        for seconds, pixels in frames_of(proxies.chunk(video, number, kind)):
            assert read_number(pixels) == seen
            assert abs(times[start] + seconds - times[seen]) < 0.001
            seen += 1
    assert seen == len(ticks)


def test_files_of_one_frame_odd_sizes_long_pauses_and_turned_ones_are_converted(
    tmp_path: Path, frames: Frames, real_data: Path
) -> None:
    proxies = proxies_of(tmp_path, frames)
    one = video_of(write_numbered(tmp_path / "one.mp4", num_frames=1))
    [(seconds, pixels)] = frames_of(proxies.chunk(one, 0, "mp4"))
    assert (seconds, read_number(pixels)) == (0, 0)
    day = 86_400_000
    pause = video_of(write_numbered(tmp_path / "pause.mkv", ticks=[0, 40, day, day + 40]))
    assert proxies.describe(pause)["starts"] == [0, 2]
    assert [read_number(pixels) for _, pixels in frames_of(proxies.chunk(pause, 0, "mp4"))] == [0, 1]
    odd = video_of(real_data / "media" / "torchcodec__testsrc2_odd_height_and_width_444.mp4")
    turned = video_of(real_data / "media" / "torchcodec__nasa_13013_rotated.mp4")
    for video in (odd, turned):
        facts = frames._clocks.clock(video).facts
        for _, pixels in frames_of(proxies.chunk(video, 0, "mp4")):
            assert pixels.shape[:2] == tuple(side + side % 2 for side in (facts.height, facts.width))


@given(st.lists(st.floats(0.001, 10), max_size=600))
def test_chunks_are_short_and_cover_all_frames(steps: list[float]) -> None:
    times = np.cumsum([5.0, *steps])
    starts = chunk_starts(times)
    assert starts[0] == 0
    for start, stop in itertools.pairwise([*starts, len(times)]):
        assert 0 < stop - start <= MAX_CHUNK_FRAMES
        assert times[stop - 1] - times[start] <= CHUNK_SECONDS


def test_the_next_chunk_is_made_meanwhile_and_a_kept_one_is_read(tmp_path: Path, frames: Frames) -> None:
    video = video_of(write_numbered(tmp_path / "a.mp4", num_frames=250))
    proxies = proxies_of(tmp_path, frames)
    content = proxies.chunk(video, 0, "mp4")
    end = time.monotonic() + 60
    while len(kept := [path for path in (tmp_path / "proxies").iterdir() if not path.name.startswith(".")]) < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert {path.suffixes[0] for path in kept} == {".0", ".1"}
    frames.close()
    video.path.touch()  # another version: it is converted again
    assert proxies.chunk(video, 0, "mp4") == content
    assert len({path.name.split(".")[0] for path in (tmp_path / "proxies").iterdir()} - {""}) == 2


def test_the_copies_together_have_a_bounded_size(
    tmp_path: Path, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.studio.pixels.proxy.MAX_CACHE_BYTES", 1)
    video = video_of(write_numbered(tmp_path / "a.mp4", num_frames=150))
    proxies = proxies_of(tmp_path, frames)
    proxies.chunk(video, 1, "mp4")
    proxies.chunk(video, 0, "mp4")
    end = time.monotonic() + 60
    while len(list((tmp_path / "proxies").iterdir())) > 1:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_kill_leaves_nothing_half_written_that_is_sent_later(dataset: Path) -> None:
    write_numbered(dataset / "videos" / "a.avi", codec="mpeg4", num_frames=500)
    for _ in range(3):
        with serving(dataset) as studio:
            path = f"/api/videos/{studio.ids()['a']}/proxy/0"
            whole = studio.get(path)  # the next chunk is being made now
            assert whole.status == 200
            studio.kill()
        for kept in (dataset / ".studio" / "proxies").iterdir():
            if not kept.name.startswith("."):
                assert len(frames_of(kept.read_bytes())) == 100
    with serving(dataset) as studio:
        path = f"/api/videos/{studio.ids()['a']}/proxy"
        assert studio.get(f"{path}/4").status == 200
        assert studio.get(f"{path}/5").error == "there is no part 5: the video has 5 parts"
        assert studio.get(f"{path}/0?kind=exe").status == 400
