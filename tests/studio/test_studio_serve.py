import json
import re
import signal
import socket
import subprocess
import sys

import pytest
from made_models import write_video
from made_studio import serving

from pipeline.cli.main import main
from pipeline.studio.serve import listen


@pytest.fixture
def videos(dataset):
    write_video(dataset / "videos" / "clip.mp4", num_frames=5)
    return dataset


def test_ctrl_c_is_how_it_ends(videos):
    with serving(videos) as studio:
        studio.process.send_signal(signal.SIGINT)
        assert studio.process.wait(timeout=120) == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_small_answers_are_sent_at_once(host):
    """The event loop turns off Nagle's algorithm only for sockets whose protocol is TCP by name."""
    with listen(host, 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_the_second_studio_of_a_data_set_changes_nothing_and_says_so(videos):
    with serving(videos) as first, serving(videos) as second:
        assert first.get("/api/studio").json["read_only"] is None
        reason = second.get("/api/studio").json["read_only"]
        assert re.fullmatch(r".+ on .+ \(since \d\d:\d\d on .+\) has this data set open in another studio", reason)
        assert any("another studio" in line for line in second.errors)
        assert list(second.ids()) == ["clip"]
    with serving(videos) as third:
        assert third.get("/api/studio").json["read_only"] is None
    assert not (videos / ".studio" / "open.json").exists()


def test_a_killed_studio_does_not_keep_the_data_set(videos):
    with serving(videos) as first:
        first.kill()
    with serving(videos) as second:
        assert second.get("/api/studio").json["read_only"] is None


def test_labels_elsewhere_are_only_looked_at(videos, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    with serving(labels, "--videos", videos / "videos") as studio:
        assert studio.get("/api/studio").json["read_only"]
        assert list(studio.ids()) == ["clip"]
    assert not list(labels.iterdir())


def test_a_data_set_that_cannot_be_written_is_shown(videos, monkeypatch):
    (videos / ".studio").write_text("in the place of the folder")
    with serving(videos) as studio:
        assert "cannot be written" in studio.get("/api/studio").json["read_only"]


def test_the_second_page_of_a_video_is_counted(videos):
    with serving(videos) as studio:
        (video_id,) = studio.ids().values()
        others = [
            json.loads(studio.get(f"/api/status?page={page}&video={video_id}").content)["other_pages"]
            for page in ("one", "two", "one")
        ]
        assert others == [0, 1, 1]
        assert studio.get("/api/status?page=three&video=").json["other_pages"] == 0


def test_the_server_starts_without_what_is_large(videos):
    heavy = ("torch", "mlflow", "matplotlib", "pandas", "pyarrow", "openvino")
    code = f"import sys, pipeline.studio.serve; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{}", "--port", "70000"], "from 0 to 65535"),
        (["{}", "--host", "not a host"], "is not an address"),
        (["{}/nothing"], "is not a folder"),
        (["{}/videos/clip.mp4"], "is not a folder"),
        (["{}", "--model", "{}/nothing"], "no such folder, expected that of a trained labeller"),
        (["{}", "--model", "{}/videos/clip.mp4"], "is a file, expected the folder of a trained labeller"),
    ],
)
def test_a_call_that_cannot_work_is_refused_in_words(videos, capsys, arguments, words):
    filled = [argument.format(videos) for argument in arguments]
    assert main(["studio", *filled, "--no-browser"]) == 2
    assert words in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(videos, capsys):
    with serving(videos) as studio:
        assert main(["studio", str(videos), "--no-browser", "--port", str(studio.port)]) == 2
    assert f"--port {studio.port}" in capsys.readouterr().err
