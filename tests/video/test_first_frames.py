"""Videos that were cut from the middle of another: the frames before the first key frame are counted and reported."""

from pathlib import Path

import numpy as np
import pytest
from made_videos import MakeVideo, decode_fully

from pipeline.video.open import open_scaled
from pipeline.video.region import Region
from pipeline.video.survey import index_video

TS_PACKET = 188
KINDS: dict[str, dict] = {
    "h264": {"options": {"g": "20", "bf": "0", "sc_threshold": "0"}},
    "h264 with B-frames": {"options": {"g": "20", "bf": "2", "sc_threshold": "0"}},
    "hevc": {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=20:scenecut=0"}},
    "mpeg2": {"codec": "mpeg2video", "options": {"g": "20", "bf": "2", "sc_threshold": "1000000000"}},
    "mpeg4": {"codec": "mpeg4", "options": {"g": "20"}},
}


def cut_start(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[int(share * len(content) / TS_PACKET) * TS_PACKET :])


@pytest.mark.parametrize("share", [0.06, 0.1, 0.2])
@pytest.mark.parametrize("kind", KINDS)
def test_frames_before_the_first_key_frame_are_counted(kind: str, share: float, make_video: MakeVideo) -> None:
    path = make_video("clip.ts", num_frames=60, size=(192, 128), **KINDS[kind])
    whole, times = decode_fully(path)
    cut_start(path, share)
    with open_scaled(path, Region(whole.shape[1:3])) as video:
        batches = list(video.read())
        report = video.report()
    pixels = np.concatenate([batch.pixels for batch in batches])
    np.testing.assert_array_equal(pixels, whole[-len(pixels) :])
    np.testing.assert_allclose(np.concatenate([batch.pts_seconds for batch in batches]), times[-len(pixels) :])
    assert report.problems == ()
    assert 0 < report.failed_frames <= 60 - len(pixels)
    assert len(pixels) in (20, 39, 40)  # 39: one is shown before the key frame, and refers to a frame that is gone
    assert report.notes == (
        f"{report.failed_frames} frames before its first key frame cannot be decoded: it was cut from the middle of a"
        " video",
    )


def test_a_video_that_begins_with_a_key_frame_has_no_such_note(make_video: MakeVideo) -> None:
    path = make_video("clip.ts", num_frames=60, options={"g": "20", "bf": "2"})
    for surveyed in (False, True):
        index = index_video(path, surveyed=surveyed)
        assert (index.notes, index.num_failed) == ((), 0)
