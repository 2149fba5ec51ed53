from collections.abc import Iterator

import pytest
from made_studio import Studio, serving

CONTENT = bytes(range(256)) * 40  # 10240 bytes
SIZE = len(CONTENT)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    root = tmp_path_factory.mktemp("media")
    videos = root / "dataset" / "videos"
    videos.mkdir(parents=True)
    (videos / "clip.mp4").write_bytes(CONTENT)
    (videos / "film.mkv").write_bytes(CONTENT)
    (videos / "old.avi").write_bytes(CONTENT)
    (videos / "empty.mp4").touch()
    (root / "secret.mp4").write_bytes(b"secret")
    (videos / "link.mp4").symlink_to(root / "secret.mp4")
    (videos / "gone.mp4").write_bytes(CONTENT)
    with serving(root / "dataset") as studio:
        (videos / "gone.mp4").unlink()
        yield studio


def path_of(studio: Studio, stem: str) -> str:
    return f"/media/{studio.ids()[stem]}"


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=5-5", 5, 6),
        ("bytes=10000-", 10000, SIZE),
        ("bytes=-100", SIZE - 100, SIZE),
        ("bytes=-99999999", 0, SIZE),  # longer than the file
        ("bytes=10-99999999999999999999", 10, SIZE),
        ("bytes=0-", 0, SIZE),
    ],
)
def test_a_range_is_sent_alone(studio: Studio, header: str, start: int, stop: int) -> None:
    answer = studio.get(path_of(studio, "clip"), headers={"range": header})
    assert answer.status == 206
    assert answer.content == CONTENT[start:stop]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(stop - start)
    head = studio.request("HEAD", path_of(studio, "clip"), headers={"range": header})
    assert (head.status, head.content) == (206, b"")
    assert head.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", "bytes=999999999999999999999999-", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(studio: Studio, header: str) -> None:
    answer = studio.get(path_of(studio, "clip"), headers={"range": header})
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "header",
    [
        *("bytes=9-5", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-2-3", "bytes", "seconds=0-5", "=0-5", "bytes=0x0-5"),
        *("bytes=0-1,5-6", "bytes=0-0,-1", "bytes=" + "0-1," * 500 + "0-1", "bytes=" + "9" * 5000 + "-", "bytes=+1-2"),
    ],
)
def test_what_is_no_single_range_is_ignored(studio: Studio, header: str) -> None:
    answer = studio.get(path_of(studio, "clip"), headers={"range": header})
    assert answer.status == 200
    assert answer.content == CONTENT
    assert answer.headers["accept-ranges"] == "bytes"


def test_a_range_of_another_version_gets_the_whole_file(studio: Studio) -> None:
    whole = studio.get(path_of(studio, "clip"))
    for name in ("etag", "last-modified"):
        same = studio.get(path_of(studio, "clip"), headers={"range": "bytes=0-9", "if-range": whole.headers[name]})
        assert (same.status, same.content) == (206, CONTENT[:10])
    for other in ('"other"', "Wed, 21 Oct 2015 07:28:00 GMT", f"W/{whole.headers['etag']}"):
        changed = studio.get(path_of(studio, "clip"), headers={"range": "bytes=0-9", "if-range": other})
        assert (changed.status, changed.content) == (200, CONTENT)


def test_the_type_follows_the_suffix(studio: Studio) -> None:
    types = {stem: studio.request("HEAD", path_of(studio, stem)).headers["content-type"] for stem in ("clip", "film")}
    assert types == {"clip": "video/mp4", "film": "video/x-matroska"}
    assert studio.get(path_of(studio, "empty")).content == b""
    assert studio.get(path_of(studio, "empty"), headers={"range": "bytes=0-"}).status == 416


def test_only_videos_of_the_data_set_are_sent(studio: Studio) -> None:
    link = studio.get(path_of(studio, "link"))
    assert link.status == 403
    assert link.error == "link.mp4: is a link out of the data set: --follow-links shows it"
    assert studio.get(path_of(studio, "gone")).status == 404
    for path in ("/media/clip.mp4", "/media/..%2f..%2fsecret.mp4", "/media/0123456789abcdef", "/media/"):
        answer = studio.get(path)
        assert answer.status == 404
        assert b"secret" not in answer.content
    assert studio.request("POST", path_of(studio, "clip")).status in (403, 405)
