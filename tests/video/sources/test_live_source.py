"""Frames of cameras and growing files: all of them, scaled like those of a file, and what happens when they stop."""

import time
from itertools import islice
from pathlib import Path
from threading import Event, Thread, Timer

import cv2
import numpy as np
import pytest
from made_models import drop_box, write_sound
from made_streams import FRAGMENTED, PREPROCESS, STREAMABLE, VARIABLE, pixels_of, read_scaled
from made_videos import MakeVideo

from pipeline.errors import InputError
from pipeline.video.preprocess import Preprocess
from pipeline.video.sources.camera import CameraSource
from pipeline.video.sources.growing_file import GrowingFile
from pipeline.video.types import VideoError

# Cameras. Tests have none, so a file is opened instead of a camera.


@pytest.mark.parametrize("crop", [None, (8, 4, 40, 30)])
def test_frames_of_opencv_equal_those_of_a_file_to_a_few_grey_levels(
    make_video: MakeVideo, stop: Event, crop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(num_frames=12)
    monkeypatch.setattr(CameraSource, "_open", lambda source: cv2.VideoCapture(str(path)))
    preprocess = Preprocess(size=(24, 32), crop=crop)
    frames = list(islice(CameraSource(0, preprocess, idle_seconds=1).frames(stop), 12))
    expected, _ = read_scaled(path, preprocess)
    difference = np.abs(pixels_of(frames).astype(int) - expected)
    assert difference.mean() < 3
    following = np.abs(pixels_of(frames)[:-1].astype(int) - expected[1:])
    assert difference.mean() * 4 < following.mean()  # no frame was skipped


def test_a_lost_camera_is_given_up(make_video: MakeVideo, stop: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [str(make_video(num_frames=12)), "gone", str(make_video(num_frames=12)), *["gone"] * 20]
    monkeypatch.setattr(CameraSource, "_open", lambda source: cv2.VideoCapture(pictures.pop(0)))
    printed, frames = [], []
    source = CameraSource(0, PREPROCESS, idle_seconds=1.8, on_event=printed.append)
    with pytest.raises(VideoError, match=r"^camera 0: given up, as no frame came for 1.8 s \(OpenCV gets none\)$"):
        frames.extend(source.frames(stop))
    lost = "camera 0: lost (OpenCV gets none); trying again for 1.8 s"
    assert printed == [lost, "camera 0: came back", lost]
    assert source.num_reconnections == 1


def test_a_missing_camera_is_refused(stop: Event) -> None:
    source = CameraSource(87, PREPROCESS, idle_seconds=1)
    assert source.stem == "camera_87"
    with pytest.raises(VideoError, match=r"camera 87: no frame came .* /dev/video87"):
        next(source.frames(stop))


# Files that grow


class Recording(Thread):
    """Writes the bytes of a finished file into another file, in parts of different sizes."""

    def __init__(self, finished: Path, path: Path) -> None:
        super().__init__()
        self._content, self.path = finished.read_bytes(), path
        path.touch()

    def run(self) -> None:
        sizes = np.random.default_rng(0).integers(1, len(self._content) // 8, 1000)
        with self.path.open("ab", buffering=0) as file:
            position = 0
            while position < len(self._content):
                part = self._content[position : position + int(sizes[position % 1000])]
                position += file.write(part)
                time.sleep(0.03)


GROWING = {
    "clip.mkv": {"options": {"bf": "3", "g": "12"}},
    "clip.ts": {"options": {"bf": "2", "g": "10"}},
    "fragmented.mp4": FRAGMENTED,
    "variable.mkv": VARIABLE,
}


@pytest.mark.parametrize("name", GROWING)
def test_a_growing_file_has_exactly_the_frames_of_the_finished_file(
    name: str, make_video: MakeVideo, tmp_path: Path, stop: Event
) -> None:
    finished = make_video(name, **GROWING[name])
    recording = Recording(finished, tmp_path / f"growing{finished.suffix}")
    recording.start()
    frames = list(GrowingFile(recording.path, PREPROCESS, idle_seconds=0.5).frames(stop))
    recording.join()
    assert not stop.is_set()
    pixels, pts_seconds = read_scaled(finished)
    np.testing.assert_array_equal(pixels_of(frames), pixels)
    np.testing.assert_array_equal([frame.seconds for frame in frames], pts_seconds)


def test_all_whole_frames_of_a_truncated_recording_are_read(make_video: MakeVideo, stop: Event) -> None:
    path = make_video("clip.mkv", **STREAMABLE)
    pixels, _ = read_scaled(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = list(GrowingFile(path, PREPROCESS, idle_seconds=0.1).frames(stop))
    assert 5 < len(frames) < 35
    np.testing.assert_array_equal(pixels_of(frames), pixels[: len(frames)])


def test_reading_waits_the_requested_time_for_data_unless_it_is_stopped(make_video: MakeVideo, stop: Event) -> None:
    path = make_video("clip.ts", num_frames=10, **STREAMABLE)
    start = time.monotonic()
    assert len(list(GrowingFile(path, PREPROCESS, idle_seconds=1.5).frames(stop))) == 10
    assert 1.5 <= time.monotonic() - start < 3  # once, independent of how often FFmpeg asks
    Timer(0.3, stop.set).start()
    start = time.monotonic()
    assert len(list(GrowingFile(path, PREPROCESS, idle_seconds=1000).frames(stop))) <= 10
    assert time.monotonic() - start < 10


def without_index(make_video: MakeVideo) -> Path:
    path = make_video("clip.mp4")
    drop_box(path, b"moov")
    return path


def sound(make_video: MakeVideo) -> Path:
    return write_sound(make_video("clip.mp4"))


def empty(make_video: MakeVideo) -> Path:
    path = make_video("clip.mkv")
    path.write_bytes(b"")
    return path


def damaged(make_video: MakeVideo) -> Path:
    path = make_video("clip.ts", num_frames=60, **STREAMABLE)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(content)
    return path


def missing(make_video: MakeVideo) -> Path:
    return make_video("clip.mkv").with_name("gone.mkv")


def folder(make_video: MakeVideo) -> Path:
    return make_video("clip.mkv").parent


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (without_index, "index at their end"),
        (sound, "holds sound only"),
        (empty, "is it being written"),
        (damaged, "is damaged, or was cut off"),
        (missing, "there is no such file"),
        (folder, "it is a folder"),
    ],
)
def test_a_file_that_cannot_be_followed_is_reported(make, cause: str, make_video: MakeVideo, stop: Event) -> None:
    path = make(make_video)
    with pytest.raises(VideoError, match=cause) as refused:
        list(GrowingFile(path, PREPROCESS, idle_seconds=0.1).frames(stop))
    assert str(refused.value).startswith(f"{path}: ")


def test_a_frame_smaller_than_the_region_of_interest_is_refused(make_video: MakeVideo, stop: Event) -> None:
    source = GrowingFile(make_video("clip.mkv"), Preprocess(size=(24, 32), crop=(0, 0, 100, 20)), idle_seconds=0.1)
    with pytest.raises(InputError, match="64 wide and 48 high"):
        next(source.frames(stop))
