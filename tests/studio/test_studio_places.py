import os
import unicodedata
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.studio.places import find_places, id_of


def _touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def test_a_data_set_has_its_videos_in_a_folder_or_beside_the_labels(tmp_path):
    _touch(tmp_path / "inside" / "videos" / "clip.mp4")
    _touch(tmp_path / "beside" / "clip.mp4")
    for name, folder in (("inside", "inside/videos"), ("beside", "beside")):
        places = find_places(tmp_path / name, None, state=tmp_path / "scratch")
        assert (places.videos, places.labels) == (tmp_path / folder, tmp_path / name / "labels")
        assert places.read_only is None
        assert [video.stem for video in places.find_videos().values()] == ["clip"]


def test_labels_of_other_videos_are_only_looked_at(tmp_path):
    _touch(tmp_path / "recordings" / "clip.mp4")
    (tmp_path / "labels").mkdir()
    places = find_places(tmp_path / "labels", tmp_path / "recordings", state=tmp_path / "scratch")
    assert places.read_only
    assert places.state == tmp_path / "scratch"


@pytest.mark.parametrize("place", ["missing", "empty"])
def test_a_folder_without_videos_is_refused_in_words(tmp_path, place):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=place):
        find_places(tmp_path / place, None, state=tmp_path)


def test_a_folder_of_other_files_is_refused_with_what_it_should_hold(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "notes.docx").touch()
    with pytest.raises(InputError, match=r"videos: holds no video: put videos there"):
        find_places(tmp_path, None, state=tmp_path).find_videos()


def test_a_video_that_is_a_link_out_of_the_data_set_is_refused_unless_links_are_followed(tmp_path):
    outside = _touch(tmp_path / "elsewhere" / "secret.mp4")
    _touch(tmp_path / "data" / "videos" / "own.mp4")
    os.symlink(outside, tmp_path / "data" / "videos" / "linked.mp4")
    for follow_links, expected in ((False, {"own": False, "linked": True}), (True, {"own": False, "linked": False})):
        places = find_places(tmp_path / "data", None, state=tmp_path, follow_links=follow_links)
        assert {video.stem: video.refusal is not None for video in places.find_videos().values()} == expected


def test_an_id_is_the_same_in_every_unicode_form_and_holds_no_path():
    composed = "souris é/../x"
    assert id_of(composed) == id_of(unicodedata.normalize("NFD", composed))
    assert id_of(composed).isalnum()
    assert id_of("a") != id_of("b")
