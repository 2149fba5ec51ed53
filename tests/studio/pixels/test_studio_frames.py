from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_numbers import HEIGHT, WIDTH, read_number, write_numbered
from made_studio import Studio, serving

from pipeline.studio.clocks import Clocks
from pipeline.studio.pixels.frames import MAX_OPEN, Frames
from pipeline.studio.places import Video, id_of
from pipeline.studio.requests import RefusedError
from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.survey import index_video


def video_of(path: Path) -> Video:
    return Video(id_of(path.stem), path)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    dataset = tmp_path_factory.mktemp("frames")
    (dataset / "videos").mkdir()
    write_numbered(dataset / "videos" / "clip.mp4", num_frames=60)
    (dataset / "videos" / "broken.mp4").write_bytes(b"not a video")
    with serving(dataset) as studio:
        yield studio


@pytest.fixture
def frames(tmp_path: Path) -> Iterator[Frames]:
    frames = Frames(Clocks(tmp_path / "clocks"))
    yield frames
    frames.close()


def decoded(content: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels[..., ::-1]


def test_a_frame_is_sent_as_a_picture_of_at_most_the_asked_width(studio: Studio) -> None:
    path = f"/api/videos/{studio.ids()['clip']}/frames"
    for frame in (0, 41, 59):
        answer = studio.get(f"{path}/{frame}")
        assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
        assert decoded(answer.content).shape == (HEIGHT, WIDTH, 3)
        assert read_number(decoded(answer.content)) == frame
    small = decoded(studio.get(f"{path}/41?width=160").content)
    assert small.shape == (HEIGHT // 2, 160, 3)
    assert read_number(small) == 41


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("clip/60", 404, "there is no frame 60: the video has the frames 0 to 59"),
        ("clip/0?width=3", 400, "width: got 3, expected at least 16"),
        ("clip/0?width=x", 400, "width: expected an integer"),
        ("broken/0", 422, "broken.mp4"),
    ],
)
def test_a_request_that_cannot_be_met_is_answered_in_words(studio: Studio, query: str, status: int, words: str) -> None:
    stem, frame = query.split("/")
    answer = studio.get(f"/api/videos/{studio.ids()[stem]}/frames/{frame}")
    assert answer.status == status
    assert words in answer.error
    assert studio.get("/api/videos/0123456789abcdef/frames/0").status == 404


def test_the_pixels_are_those_of_the_pipeline(tmp_path: Path, frames: Frames) -> None:
    path = write_numbered(tmp_path / "a.mp4", ticks=[1000 + 40 * i + i % 3 for i in range(50)])
    with PyAVReader(index_video(path)) as reader:
        expected = np.concatenate([batch.pixels for batch in reader.read()])
    for frame in (30, 2, 49, 3):
        assert np.array_equal(frames.pixels(video_of(path), frame, width=10_000), expected[frame])


def test_a_request_of_a_page_that_was_overtaken_is_dropped(tmp_path: Path, frames: Frames) -> None:
    video = video_of(write_numbered(tmp_path / "a.mp4", num_frames=100))
    frames.pixels(video, 5, width=320, page="one", number=7)
    with pytest.raises(RefusedError, match="has asked for another frame since") as refused:
        frames.pixels(video, 6, width=320, page="one", number=6)
    assert refused.value.status == 409
    assert read_number(frames.pixels(video, 6, width=320, page="other", number=1)) == 6
    assert read_number(frames.pixels(video, 7, width=320)) == 7  # a caller without a page waits for all


def test_many_requests_at_once_get_their_own_frames_with_few_open_decoders(tmp_path: Path, frames: Frames) -> None:
    videos = [video_of(write_numbered(tmp_path / f"v{i}.mp4", num_frames=30)) for i in range(MAX_OPEN + 2)]
    asked = [(videos[(7 * i) % len(videos)], (11 * i) % 30) for i in range(60)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda each: read_number(frames.pixels(each[0], each[1], width=WIDTH)), asked))
    assert got == [frame for _, frame in asked]
    assert len(frames._sessions) == MAX_OPEN


def test_a_file_that_changed_is_opened_again(tmp_path: Path, frames: Frames) -> None:
    video = video_of(write_numbered(tmp_path / "a.mp4", num_frames=30))
    frames.pixels(video, 29, width=320)
    write_numbered(tmp_path / "a.mp4", num_frames=50)
    assert read_number(frames.pixels(video, 49, width=320)) == 49
