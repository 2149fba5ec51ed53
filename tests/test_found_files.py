"""Files of folders are found by any of their names, and what is passed over is named."""

import os
import unicodedata

import pytest

from pipeline.errors import InputError
from pipeline.files import canonical, describe_absence, find_files, find_named
from pipeline.video.image import read_image
from pipeline.video.open import open_video

NFC, NFD = (unicodedata.normalize(form, "Mäuse_é") for form in ("NFC", "NFD"))


def test_two_links_to_one_file_are_two_files_and_one_name_is_one(tmp_path):
    videos, store = tmp_path / "videos", tmp_path / "store"
    videos.mkdir()
    store.mkdir()
    (store / "ab12.mp4").write_bytes(b"content")
    for name in ("mouse1.mp4", "mouse2.mp4"):
        (videos / name).symlink_to("../store/ab12.mp4")
    (tmp_path / "again").symlink_to("videos")
    given = [videos, videos / "mouse1.mp4", tmp_path / "again", videos / ".." / "videos" / "mouse2.mp4"]
    assert find_files(given, {".mp4"}, kind="video") == [videos / "mouse1.mp4", videos / "mouse2.mp4"]


def test_a_link_to_what_is_not_there_is_found_and_refused_with_its_cause(tmp_path):
    for name in ("clip.mp4", "photo.png", "loop.mp4"):
        (tmp_path / name).symlink_to("loop.mp4" if name == "loop.mp4" else "not-fetched")
    (tmp_path / "lfs.mp4").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n")
    (tmp_path / "annex.png").write_text("/annex/objects/SHA256E-s7--0.png\n")
    found = find_files([tmp_path], {".mp4", ".png"}, kind="file")
    assert len(found) == 5
    for path in found:
        with pytest.raises(InputError, match=r"\w+\.(mp4|png): .*its content is not here"):
            read_image(path) if path.suffix == ".png" else open_video(path)
    assert describe_absence(tmp_path / "nothing.mp4") is None


def test_files_of_other_suffixes_are_named_in_one_sentence(tmp_path):
    names = ["a.MP4", "b.360", "c.y4m", "d.Y4M", "labels.csv", ".hidden.nut", "Thumbs.db", "e.overlay.mp4", "plain"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    notes: list[str] = []
    assert find_files([tmp_path], {".mp4"}, kind="video", on_note=notes.append) == [tmp_path / "a.MP4"]
    assert [note.removeprefix(f"{tmp_path}: ") for note in notes] == [
        "4 files of other kinds were passed over: .360, .y4m, no suffix: name them to include them"
    ]
    with pytest.raises(
        InputError, match=r"holds no video; 5 files of other kinds were passed over: \.360, \.mp4, \.y4m"
    ):
        find_files([tmp_path], {".avi"}, kind="video")


def test_names_in_both_unicode_forms_are_one_name(tmp_path):
    assert NFC != NFD
    assert canonical(NFC) == canonical(NFD)
    mixed = NFC[:-1] + NFD[-2:]
    for stored in (NFC, NFD, mixed):
        (tmp_path / stored).write_bytes(b"")
        assert [find_named(tmp_path, name) for name in (NFC, NFD, mixed)] == [tmp_path / stored] * 3
        os.remove(tmp_path / stored)
        assert find_named(tmp_path, stored) is None
