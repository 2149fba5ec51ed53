"""What the studio refuses: other pages, other names of this machine, changes without the token, files outside."""

import http.client
import json
import os
import re
import socket
from contextlib import closing, suppress
from urllib.parse import quote, urlsplit

import pytest
from made_models import write_video
from made_studio import serving

from pipeline.studio.requests import MAX_BODY
from pipeline.studio.security import POLICY, Guard
from pipeline.studio.serve import TOKEN_VARIABLE


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("studio") / "data"
    write_video(root / "videos" / "clip.mp4", num_frames=5)
    (root / "secret.txt").write_text("secret")
    outside = root.parent / "outside.mp4"
    write_video(outside, num_frames=5)
    os.symlink(outside, root / "videos" / "linked.mp4")
    return root


@pytest.fixture(scope="module")
def studio(dataset):
    with serving(dataset) as running:
        yield running


def _connected(address):
    parts = urlsplit(address)
    return closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=60))


def _ask(address, method="GET", path="/", *, headers=None, body=None, host=None):
    """Send a request as no browser might; returns the status, the headers and the content."""
    parts = urlsplit(address)
    with _connected(address) as connection:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"host": host or parts.netloc, **(headers or {})}.items():
            if value is not None:
                connection.putheader(name, value)
        if body is not None:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def _token(address):
    return re.search(rb'studio-token" content="([^"]+)"', _ask(address)[2])[1].decode()


def _write_headers(address):
    return {"content-type": "application/json", "x-studio-token": _token(address), "origin": address.rstrip("/")}


def _video_id(address, stem):
    videos = json.loads(_ask(address, path="/api/videos")[2])["videos"]
    return next(video["id"] for video in videos if video["stem"] == stem)


def test_it_listens_on_this_machine_alone(studio):
    assert urlsplit(studio.address).hostname == "127.0.0.1"
    port = urlsplit(studio.address).port
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for other in others:
        if other.startswith("127."):
            continue
        with pytest.raises(OSError, match=r"refused|unreachable"):
            socket.create_connection((other, port), timeout=2).close()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "127.0.0.1",
        "localhost:1",
        "x@127.0.0.1:{port}",
        "127.0.0.1:{port}@evil",
        "",
        "[::1",
        "10.0.0.1:{port}",
    ],
)
def test_a_name_that_is_not_its_own_is_refused(studio, host):
    port = urlsplit(studio.address).port
    status, headers, content = _ask(studio.address, path="/api/videos", host=host.format(port=port) or " ")
    assert status == 421
    assert b"clip" not in content
    assert headers["content-security-policy"] == POLICY


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_its_own_names_are_served(studio, name):
    assert _ask(studio.address, path="/api/videos", host=f"{name}:{urlsplit(studio.address).port}")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_pages_are_refused(studio, headers, method):
    given = _write_headers(studio.address) | headers
    status, _, content = _ask(studio.address, method, "/api/videos", headers=given, body=b"{}")
    assert status == 403
    assert b"clip" not in content


def test_a_link_from_another_page_may_open_the_page(studio):
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert _ask(studio.address, headers=headers)[0] == 200


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"x-studio-token": None}, 403),
        ({"x-studio-token": "guess"}, 403),
        ({"x-studio-token": "é".encode().decode("latin-1")}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": None}, 415),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_changes_need_the_token_and_json(studio, change, status, method):
    headers = _write_headers(studio.address) | change
    assert _ask(studio.address, method, "/api/classes", headers=headers, body=b"{}")[0] == status


def test_a_page_of_an_earlier_studio_is_told_to_reload(studio):
    headers = _write_headers(studio.address) | {"x-studio-token": "of an earlier one"}
    assert b"Reload the page" in _ask(studio.address, "POST", "/api/classes", headers=headers, body=b"{}")[2]


def test_requests_of_any_size_are_refused_before_they_are_read(studio):
    headers = _write_headers(studio.address)
    for given in ({"content-length": str(MAX_BODY + 1)}, {"content-length": "-5"}, {"content-length": "x"}):
        with _connected(studio.address) as connection:
            connection.putrequest("POST", "/api/classes")
            for name, value in (headers | given).items():
                connection.putheader(name, value)
            connection.endheaders()
            assert connection.getresponse().status in (400, 413)


def test_a_request_without_a_length_is_cut_off(studio):
    headers = _write_headers(studio.address) | {"transfer-encoding": "chunked"}
    with _connected(studio.address) as connection, suppress(BrokenPipeError, ConnectionResetError):  # it may hang up
        connection.putrequest("POST", "/api/classes")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        part = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(MAX_BODY // 0x10000 + 2):
            connection.send(part)
        connection.send(b"0\r\n\r\n")
        assert connection.getresponse().status == 413
    assert _ask(studio.address, path="/api/videos")[0] == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000, b"1e999"])
def test_what_is_not_a_json_object_is_refused_in_words(studio, body):
    status, _, content = _ask(studio.address, "POST", "/api/classes", headers=_write_headers(studio.address), body=body)
    assert status == 400
    assert "JSON" in json.loads(content)["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/static/../../../etc/passwd",
        "/static/..%2f..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/media/../secret.txt",
        "/media/..%2fsecret.txt",
        "/media/secret.txt",
        "/media/clip.mp4",
        "/media/" + quote("/etc/passwd", safe=""),
        "/api/videos/..%2f..%2fsecret.txt/frames/0",
        "/api/videos/clip/times",
        "/.studio/lock",
        "/labels/clip.csv",
    ],
)
def test_nothing_but_the_videos_by_their_ids_is_served(studio, path):
    status, _, content = _ask(studio.address, path=path)
    assert status in (404, 405)
    assert b"secret" not in content
    assert b"root:" not in content


def test_a_link_out_of_the_data_set_is_not_served(studio):
    video_id = _video_id(studio.address, "linked")
    for path in (f"/media/{video_id}", f"/api/videos/{video_id}/frames/0", f"/api/videos/{video_id}/times"):
        status, _, content = _ask(studio.address, path=path)
        assert status in (403, 404, 422)
        assert len(content) < 500


def test_every_answer_forbids_scripts_from_elsewhere(studio):
    for path in ("/", "/static/studio.js", "/api/videos", "/nothing"):
        headers = _ask(studio.address, path=path)[1]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


def test_the_page_has_no_script_of_its_own(studio):
    page = _ask(studio.address)[2].decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"\son\w+=|style=|<style", page)
    assert "//" not in re.sub(r"<!.*?>", "", page)  # nothing is loaded from elsewhere


def test_another_address_needs_the_token_for_everything(dataset):
    with serving(dataset, "--host", "0.0.0.0", environment={TOKEN_VARIABLE: "a b&c"}) as running:
        port = urlsplit(running.address).port
        assert running.address == f"http://0.0.0.0:{port}/?token=a%20b%26c"
        own = f"http://127.0.0.1:{port}/"
        for path in ("/", "/api/videos", "/static/studio.js", "/?token=guess"):
            assert _ask(own, path=path)[0] == 401
        status, headers, content = _ask(own, path="/?token=a%20b%26c")
        assert status == 200
        assert b"studio-token" in content
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        given = {"cookie": cookie.split(";")[0]}
        assert _ask(own, path="/api/videos", headers=given)[0] == 200
        assert _ask(own, path="/api/videos", headers={"cookie": "framescribe_studio=guess"})[0] == 401
        assert _ask(own, path="/api/videos", headers=given, host=f"evil.example:{port}")[0] == 421


def test_tokens_do_not_show_in_what_is_printed_of_a_guard():
    guard = Guard("127.0.0.1", 1, access_token="secret")
    assert guard.token not in repr(guard)
    assert "secret" not in repr(guard)
