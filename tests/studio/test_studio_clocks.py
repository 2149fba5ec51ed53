import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.studio import clocks as module
from pipeline.studio.clocks import Clocks
from pipeline.studio.places import Video, id_of
from pipeline.video.survey import index_video


def _video(path):
    return Video(id_of(path.stem), path)


def test_a_clock_has_the_times_of_the_index(make_video, tmp_path):
    ticks = [3000, 3040, 3200, 3210, 9000]
    path = make_video(ticks=ticks)
    clock = Clocks(tmp_path / "clocks").clock(_video(path))
    np.testing.assert_array_equal(clock.times.pts_seconds, index_video(path).pts_seconds)
    facts = clock.facts
    assert (facts.num_frames, facts.start_seconds, facts.codec, facts.variable_frame_rate) == (5, 3.0, "h264", True)
    assert facts.duration_seconds == pytest.approx(clock.times.end_seconds - 3.0)


def test_a_clock_is_read_from_the_video_once_until_the_file_changes(make_video, tmp_path, monkeypatch):
    path = make_video(num_frames=5)
    first = Clocks(tmp_path / "clocks").clock(_video(path))
    calls = []
    read = module.read_clock
    monkeypatch.setattr(module, "read_clock", lambda path: calls.append(path) or read(path))
    again = Clocks(tmp_path / "clocks")
    kept = again.clock(_video(path))
    assert not calls
    assert kept.facts == first.facts
    np.testing.assert_array_equal(kept.times.pts_seconds, first.times.pts_seconds)
    assert kept.times.frame_seconds == pytest.approx(first.times.frame_seconds)
    make_video(num_frames=7)
    assert again.clock(_video(path)).facts.num_frames == 7
    assert calls == [path]


@pytest.mark.parametrize("suffix", ["json", "npy"])
def test_a_damaged_kept_clock_is_made_again(make_video, tmp_path, suffix):
    path = make_video(num_frames=5)
    Clocks(tmp_path / "clocks").clock(_video(path))
    kept = next((tmp_path / "clocks").glob(f"*.{suffix}"))
    kept.write_bytes(kept.read_bytes()[:20])
    assert Clocks(tmp_path / "clocks").clock(_video(path)).facts.num_frames == 5


def test_a_video_that_is_not_shown_or_not_there_is_refused_in_words(tmp_path):
    missing = Video("0" * 16, tmp_path / "gone.mp4")
    with pytest.raises(InputError, match=r"gone\.mp4: is not there any more"):
        Clocks(tmp_path).clock(missing)
    with pytest.raises(InputError, match="is a link"):
        Clocks(tmp_path).clock(Video("0" * 16, tmp_path / "linked.mp4", fault="is a link out of the data set"))
    assert Clocks(tmp_path).facts(missing) is None


def test_a_video_that_cannot_be_read_is_named_without_its_folder(tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(InputError, match=r"^broken\.mp4: cannot be read as a video") as refused:
        Clocks(tmp_path).clock(Video("0" * 16, path))
    assert str(tmp_path) not in str(refused.value)
    assert Video("0" * 16, path).shorten(str(refused.value)).startswith("cannot be read")
