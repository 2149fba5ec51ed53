"""Pictures made ahead: the same bytes, the nearest first, within a bound, and never in the way."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_numbers import write_numbered

from pipeline.errors import InputError
from pipeline.studio.clocks import Clocks
from pipeline.studio.pixels.ahead import CHUNK_FRAMES, MAX_SECONDS, MIN_SECONDS, Ahead, Shown
from pipeline.studio.pixels.frames import Frames, to_jpeg
from pipeline.studio.places import Video, id_of
from pipeline.studio.requests import RefusedError

NUM_CHUNKS = 10
NUM_FRAMES = NUM_CHUNKS * CHUNK_FRAMES - 30
SIZE = 100  # bytes of a picture


def video_of(path: Path) -> Video:
    return Video(id_of(path.stem), path)


def until(holds: Callable[[], bool]) -> None:
    latest = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < latest
        time.sleep(0.005)


class Making:
    """Pictures that say what they show."""

    def __init__(self) -> None:
        self.made: list[Shown] = []
        self.may_work = True
        self.damaged: set[int] = set()
        self.seconds = 2 * MIN_SECONDS
        self.sizes: dict[int, int] = {}  # of the pictures of some chunks
        self.failure: Exception = InputError("a frame cannot be decoded")
        self.now = 0.0

    def __call__(self, shown: Shown, is_wanted: Callable[[], bool]) -> bytes:
        if shown.frame in self.damaged:
            raise self.failure
        self.made.append(shown)
        self.now += self.seconds
        return self.picture(shown)

    def picture(self, shown: Shown) -> bytes:
        size = self.sizes.get(shown.frame // CHUNK_FRAMES, SIZE + shown.frame % 3)
        return f"{shown.video.id} {shown.frame} {shown.width}".encode().ljust(size)

    def chunks(self) -> list[int]:
        """The numbers of the chunks, in the order in which they were begun."""
        return list(dict.fromkeys(shown.frame // CHUNK_FRAMES for shown in self.made))


@pytest.fixture
def making(monkeypatch) -> Making:
    making = Making()
    clock = SimpleNamespace(monotonic=lambda: making.now, sleep=time.sleep)
    monkeypatch.setattr("pipeline.studio.pixels.ahead.time", clock)
    return making


@pytest.fixture
def make_ahead(tmp_path: Path, making: Making) -> Iterator[Callable[..., Ahead]]:
    made: list[Ahead] = []

    def make(**options: int) -> Ahead:
        made.append(Ahead(tmp_path / "pictures", making, lambda: making.may_work, **options))
        return made[-1]

    yield make
    for ahead in made:
        ahead.close()


@pytest.fixture
def video(tmp_path: Path) -> Video:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"as it was")
    return video_of(path)


def num_found(ahead: Ahead, video: Video, width: int = 640) -> int:
    return sum(ahead.find(Shown(video, frame, width)) is not None for frame in range(NUM_FRAMES))


def test_all_pictures_of_a_slow_video_are_made_and_the_nearest_first(make_ahead, making, video):
    ahead = make_ahead()
    ahead.look(Shown(video, 450, 640), NUM_FRAMES)
    until(lambda: len(making.made) == NUM_FRAMES)
    until(lambda: num_found(ahead, video) == NUM_FRAMES)
    assert [abs(chunk - 4) for chunk in making.chunks()] == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    for frame in (0, 99, 100, 731, NUM_FRAMES - 1):
        shown = Shown(video, frame, 640)
        assert ahead.find(shown) == making.picture(shown)
    assert ahead.find(Shown(video, NUM_FRAMES, 640)) is None
    assert ahead.find(Shown(video, 450, 320)) is None


@pytest.mark.parametrize("seconds", [MIN_SECONDS / 2, MAX_SECONDS * 2])
def test_where_it_is_not_worth_it_only_the_first_stretch_is_made(seconds, make_ahead, making, video, tmp_path):
    making.seconds = seconds
    ahead = make_ahead()
    ahead.look(Shown(video, 450, 640), NUM_FRAMES)
    until(lambda: num_found(ahead, video) == CHUNK_FRAMES)
    ahead.look(Shown(video, 0, 640), NUM_FRAMES)
    other = video_of(tmp_path / "other.mp4")
    other.path.write_bytes(b"another one")
    ahead.look(Shown(other, 0, 640), 1)
    until(lambda: ahead.find(Shown(other, 0, 640)) is not None)
    assert making.chunks() == [4, 0]  # 0 of the other video


def test_a_decoder_on_its_way_to_a_frame_is_stopped_when_the_studio_ends(tmp_path, video):
    begun = threading.Event()

    def decode(shown: Shown, is_wanted: Callable[[], bool]) -> bytes:
        while is_wanted():
            begun.set()
            time.sleep(0.001)
        raise RefusedError(409, "no longer wanted")

    ahead = Ahead(tmp_path / "pictures", decode, lambda: True)
    ahead.look(Shown(video, 0, 640), NUM_FRAMES)
    assert begun.wait(30)
    ahead.close()
    assert not (tmp_path / "pictures").exists()


def test_the_work_goes_on_where_the_page_is(make_ahead, making, video):
    ahead = make_ahead()
    making.may_work = False
    ahead.look(Shown(video, 0, 640), NUM_FRAMES)
    time.sleep(0.2)
    assert making.made == []  # while the page asks for something
    ahead.look(Shown(video, NUM_FRAMES - 1, 640), NUM_FRAMES)  # found quickly, as most are soon
    making.may_work = True
    until(lambda: num_found(ahead, video) == NUM_FRAMES)
    later = [chunk for chunk in making.chunks() if chunk != 0]  # which may have been chosen before
    assert later == list(range(NUM_CHUNKS - 1, 0, -1))


def test_the_folder_stays_within_its_bound_and_keeps_the_nearest(make_ahead, making, video, tmp_path):
    room = 4 * CHUNK_FRAMES * (SIZE + 2)
    ahead = make_ahead(max_bytes=room)

    def is_within() -> bool:  # but for the chunk that is just written, and what makes room for it
        sizes = []
        for path in (tmp_path / "pictures").iterdir():
            with suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return sum(sizes) <= room

    ahead.look(Shown(video, 0, 640), NUM_FRAMES)
    until(lambda: num_found(ahead, video) == 4 * CHUNK_FRAMES)
    time.sleep(0.1)
    assert making.chunks() == [0, 1, 2, 3]
    until(is_within)
    ahead.look(Shown(video, 750, 640), NUM_FRAMES)
    until(lambda: all(ahead.find(Shown(video, frame, 640)) for frame in (550, 650, 750, 850)))
    assert ahead.find(Shown(video, 0, 640)) is None
    until(is_within)
    num_made = len(making.made)
    for frame in range(700, 760):  # steps within what is there make nothing again
        ahead.look(Shown(video, frame, 640), NUM_FRAMES)
        time.sleep(0.002)
    assert len(making.made) == num_made
    ahead.look(Shown(video, 750, 320), NUM_FRAMES)  # the window has become smaller
    until(lambda: num_found(ahead, video, width=320) == 4 * CHUNK_FRAMES)
    until(lambda: num_found(ahead, video) == 0)
    until(is_within)


def test_where_the_bound_is_reached_nothing_is_made_again(make_ahead, making, video):
    making.sizes = {5: 100, 4: 100, 6: 100, 3: 100, 7: 150} | dict.fromkeys((0, 1, 2, 8, 9), 160)
    ahead = make_ahead(max_bytes=50_500)
    ahead.look(Shown(video, 550, 640), NUM_FRAMES)
    until(lambda: num_found(ahead, video) >= 4 * CHUNK_FRAMES)
    time.sleep(0.2)
    assert making.chunks() in ([5, 4, 6, 3], [5, 4, 6, 3, 7])
    num_made = len(making.made)
    for frame in range(540, 560):
        ahead.look(Shown(video, frame, 640), NUM_FRAMES)
        time.sleep(0.005)
    assert len(making.made) == num_made <= 5 * CHUNK_FRAMES


def test_a_video_with_many_damaged_stretches_is_left_alone(make_ahead, making, video):
    making.damaged = set(range(500, 1000))
    ahead = make_ahead()
    ahead.look(Shown(video, 550, 640), NUM_FRAMES)
    until(lambda: num_found(ahead, video) == CHUNK_FRAMES)  # 5 and 6 are damaged, and 4 is between them
    time.sleep(0.1)
    assert making.chunks() == [4]


@pytest.mark.parametrize("failure", [ValueError("of a decoder"), OSError("the disk is full")])
def test_after_an_unforeseen_failure_the_next_look_tries_again(failure, make_ahead, making, video):
    making.damaged, making.failure = {50}, failure
    ahead = make_ahead()
    ahead.look(Shown(video, 0, 640), CHUNK_FRAMES)
    until(lambda: len(making.made) == 50)
    time.sleep(0.1)
    assert len(making.made) == 50
    making.damaged = set()
    ahead.look(Shown(video, 0, 640), CHUNK_FRAMES)
    until(lambda: ahead.find(Shown(video, 0, 640)) is not None)


def test_a_file_that_was_replaced_meanwhile_waits_for_the_next_look(make_ahead, making, video):
    ahead = make_ahead()
    making.may_work = False
    ahead.look(Shown(video, 0, 640), 150)
    video.path.write_bytes(b"a longer one")
    making.may_work = True
    until(lambda: len(making.made) == CHUNK_FRAMES)
    time.sleep(0.1)
    assert num_found(ahead, video) == 0
    ahead.look(Shown(video, 0, 640), 250)
    until(lambda: num_found(ahead, video) == 250)


def test_a_stretch_with_a_frame_that_cannot_be_decoded_is_left_out(make_ahead, making, video):
    making.damaged = {310}
    ahead = make_ahead()
    ahead.look(Shown(video, 350, 640), NUM_FRAMES)
    until(lambda: num_found(ahead, video) == NUM_FRAMES - CHUNK_FRAMES)
    num_made = len(making.made)
    ahead.look(Shown(video, 351, 640), NUM_FRAMES)
    time.sleep(0.1)
    assert len(making.made) == num_made


def test_pictures_of_a_file_that_changed_are_not_shown(make_ahead, video):
    ahead = make_ahead()
    ahead.look(Shown(video, 0, 640), 50)
    until(lambda: ahead.find(Shown(video, 0, 640)) is not None)
    video.path.write_bytes(b"as it is now")
    assert ahead.find(Shown(video, 0, 640)) is None


def test_a_file_that_was_removed_or_cut_is_not_there(make_ahead, video, tmp_path):
    ahead = make_ahead()
    ahead.look(Shown(video, 0, 640), 50)
    until(lambda: ahead.find(Shown(video, 0, 640)) is not None)
    (kept,) = (tmp_path / "pictures").iterdir()
    kept.write_bytes(kept.read_bytes()[:150])
    assert ahead.find(Shown(video, 0, 640)) is not None
    assert ahead.find(Shown(video, 1, 640)) is None
    kept.unlink()
    assert ahead.find(Shown(video, 0, 640)) is None
    ahead.look(Shown(video, 0, 640), 50)  # and is made again
    until(lambda: ahead.find(Shown(video, 1, 640)) is not None)


def test_a_studio_that_ends_leaves_nothing_also_not_of_a_killed_one(make_ahead, making, video, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "of a killed one").write_bytes(b"?")
    ahead = make_ahead()
    assert not pictures.exists()
    ahead.look(Shown(video, 0, 640), NUM_FRAMES)
    until(lambda: len(making.made) > 250)
    ahead.close()
    assert not pictures.exists()
    assert "pictures ahead" not in {thread.name for thread in threading.enumerate()}
    ahead.look(Shown(video, 1, 640), NUM_FRAMES)
    assert not pictures.exists()


def test_the_bytes_are_those_that_the_page_would_get(tmp_path, monkeypatch):
    clocks = Clocks(tmp_path / "clocks")
    frames, behind = Frames(clocks), Frames(clocks, max_open=1)
    video = video_of(write_numbered(tmp_path / "a.mp4", num_frames=130))

    def make(shown: Shown, is_wanted: Callable[[], bool]) -> bytes:
        return to_jpeg(behind.pixels(shown.video, shown.frame, width=shown.width, is_wanted=is_wanted))

    ahead = Ahead(tmp_path / "pictures", make, lambda: True)
    monkeypatch.setattr("pipeline.studio.pixels.ahead.MIN_SECONDS", 0.0)
    ahead.look(Shown(video, 120, 200), 130)
    until(lambda: all(ahead.find(Shown(video, frame, 200)) for frame in (0, 129)))
    for frame in (0, 57, 99, 100, 129):
        assert ahead.find(Shown(video, frame, 200)) == to_jpeg(frames.pixels(video, frame, width=200))
    ahead.close()
    behind.close()
    frames.close()
