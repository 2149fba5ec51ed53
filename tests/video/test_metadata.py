"""Titles and names in a file may be in any encoding."""

from pathlib import Path
from threading import Event

import av
import numpy as np
import pytest
from made_videos import decode_fully, moving_scene

from pipeline.video.ffmpeg import METADATA_OPTIONS
from pipeline.video.index import estimate_num_frames
from pipeline.video.open import open_video
from pipeline.video.region import Region
from pipeline.video.sources.growing_file import GrowingFile

TITLE = "Cafe Muenchen 2008"
LATIN_1 = b"Caf\xe9 M\xfc\xff\xfechen 2008"  # neither UTF-8 nor of another length


def write_titled(path: Path) -> None:
    with av.open(str(path), "w") as container:
        container.metadata["title"] = TITLE
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata["handler_name"] = TITLE
        for pixels in moving_scene(10, width=64, height=48):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("name", ["title.mp4", "title.mov", "title.avi", "title.mkv"])
def test_metadata_that_is_not_utf_8_does_not_matter(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write_titled(path)
    whole, _ = decode_fully(path)
    content = path.read_bytes()
    assert TITLE.encode() in content
    path.write_bytes(content.replace(TITLE.encode(), LATIN_1))
    if METADATA_OPTIONS:
        with pytest.raises(UnicodeDecodeError):
            av.open(str(path))
    for backend in ("auto", "pyav"):
        with open_video(path, backend=backend) as video:  # type: ignore[arg-type]
            np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in video.read()]), whole)
    assert estimate_num_frames(path) > 0


def test_metadata_of_a_growing_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "title.mkv"
    write_titled(path)
    path.write_bytes(path.read_bytes().replace(TITLE.encode(), LATIN_1))
    growing = GrowingFile(path, Region((48, 64)), idle_seconds=0.1)
    assert len(list(growing.frames(Event()))) == 10
