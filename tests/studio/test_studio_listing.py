import threading

import pytest

from pipeline.errors import InputError
from pipeline.studio import listing as module
from pipeline.studio.clocks import Clocks
from pipeline.studio.listing import LabelSummary, Listing
from pipeline.studio.places import Video, id_of
from pipeline.studio.requests import RefusedError


class _Labels:
    """Summaries by stem."""

    def __init__(self, **summaries: LabelSummary) -> None:
        self.summaries = summaries

    def summary(self, video: Video) -> LabelSummary:
        return self.summaries.get(video.stem, LabelSummary())


def _listing(paths, clocks, labels, is_quiet=lambda: True):
    videos = {id_of(path.stem): Video(id_of(path.stem), path) for path in paths}
    return Listing(videos, clocks, labels, is_quiet)


def _states(listing):
    return {row.stem: row.state for row in listing.rows()}


def _wait_for_change(listing, version):
    for _ in range(500):
        if listing.version != version:
            return
        threading.Event().wait(0.01)
    raise AssertionError("the list did not change within 5 s")


def test_states_say_how_far_each_video_is(make_video, tmp_path):
    paths = [make_video(f"{name}.mp4", num_frames=3) for name in ("none", "some", "all", "lost", "fought")]
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    labels = _Labels(
        some=LabelSummary(labelled=0.3),
        all=LabelSummary(labelled=1.0),
        lost=LabelSummary(problems=("the header is wrong",)),
        fought=LabelSummary(labelled=1.0, has_conflict=True),
    )
    listing = _listing([*paths, tmp_path / "broken.mp4"], Clocks(tmp_path / "clocks"), labels)
    assert set(_states(listing).values()) == {"reading"}
    for video_id in [row.id for row in listing.rows()]:
        listing.refresh(video_id)
    expected = {"none": "unlabelled", "some": "partly", "all": "done", "lost": "problem", "fought": "problem"}
    assert _states(listing) == expected | {"broken": "problem"}
    broken = next(row for row in listing.rows() if row.stem == "broken")
    assert "cannot be read as a video" in broken.problems[0]
    assert str(tmp_path) not in broken.problems[0]


def test_the_list_is_there_before_any_video_was_read(make_video, tmp_path):
    may_read = threading.Event()

    class SlowClocks(Clocks):
        def facts(self, video):
            may_read.wait(10)
            return super().facts(video)

    listing = _listing([make_video(num_frames=3)], SlowClocks(tmp_path / "clocks"), _Labels())
    listing.start()
    assert _states(listing) == {"clip": "reading"}
    before = listing.version
    may_read.set()
    _wait_for_change(listing, before)
    assert _states(listing) == {"clip": "unlabelled"}


def test_reading_gives_way_to_pages_and_goes_on_when_they_are_quiet(make_video, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_SECONDS_TO_GIVE_WAY", 1000)
    is_quiet, was_asked = threading.Event(), threading.Event()

    def ask():
        was_asked.set()
        return is_quiet.is_set()

    listing = _listing([make_video(num_frames=3)], Clocks(tmp_path / "clocks"), _Labels(), ask)
    listing.start()
    assert was_asked.wait(10)
    assert _states(listing) == {"clip": "reading"}
    is_quiet.set()
    _wait_for_change(listing, version=0)
    assert _states(listing) == {"clip": "unlabelled"}


def test_the_list_is_read_also_while_pages_ask_without_end(make_video, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_SECONDS_TO_GIVE_WAY", 0.01)
    listing = _listing([make_video(num_frames=3)], Clocks(tmp_path / "clocks"), _Labels(), lambda: False)
    listing.start()
    _wait_for_change(listing, version=0)
    assert _states(listing) == {"clip": "unlabelled"}


def test_the_version_grows_only_when_a_row_changes(make_video, tmp_path):
    labels = _Labels()
    listing = _listing([make_video(num_frames=3)], Clocks(tmp_path / "clocks"), labels)
    video_id = id_of("clip")
    listing.refresh(video_id)
    before = listing.version
    listing.refresh(video_id)
    assert listing.version == before
    labels.summaries["clip"] = LabelSummary(labelled=0.5)
    listing.refresh(video_id)
    assert listing.version == before + 1


def test_an_unknown_id_is_refused():
    with pytest.raises(RefusedError, match="no such video"):
        Listing({}, None, None).find("../../etc/passwd")


def test_labels_that_cannot_be_read_are_a_problem(make_video, tmp_path):
    class Broken:
        def summary(self, video):
            raise InputError(f"{video.path}: labels of another video")

    listing = _listing([make_video(num_frames=3)], Clocks(tmp_path / "clocks"), Broken())
    listing.refresh(id_of("clip"))
    assert listing.rows()[0].problems == ("labels of another video",)
