"""What a dead server has not got: kept in order, sent once, and never waited for long."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_ports import free_port
from mlflow.exceptions import RestException

from pipeline.cli.main import main
from pipeline.errors import InputError
from pipeline.tracking import store, unsent
from pipeline.tracking.connection import has_run
from pipeline.tracking.unsent import Unsent


class Server:
    """Stands for the server: it answers or does not, and remembers what it got."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.answers, self.got, self.seconds, self.now = True, [], 0.0, 100.0
        patch.setattr(unsent, "is_server", lambda: True)
        patch.setattr(unsent, "address", lambda: "http://tracker:5000")
        patch.setattr(unsent.time, "monotonic", lambda: self.now)
        for name in ("params", "artifact"):
            patch.setitem(unsent.WRITES, name, self._take)

    def _take(self, run_id: str, **arguments: object) -> None:
        self.now += self.seconds
        if not self.answers:
            raise ConnectionRefusedError(111, "refused")
        if arguments.get("refused"):
            raise RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": "no such thing"})
        path = arguments.get("path")
        self.got.append(arguments | {"path": Path(path).read_text()} if isinstance(path, str) else arguments)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12))
@settings(max_examples=50)
def test_every_write_arrives_once_and_in_order_however_the_server_comes_and_goes(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("unsent")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        server, sent = Server(patch), []
        for number, (answers, killed) in enumerate(steps):
            server.answers = answers
            if number == 0 or killed:  # the next process goes on with what lies on the disk
                backlog = Unsent("run", folder / "unsent" / "run")
            path = folder / "made.txt"
            path.write_text(f"content {number}")
            arguments = {"values": {"x": number}} if number % 2 else {"path": str(path), "place": None}
            backlog.deliver("params" if number % 2 else "artifact", arguments)
            path.unlink()
            sent.append(arguments | ({} if number % 2 else {"path": f"content {number}"}))
        server.answers = True
        assert Unsent("run", folder / "unsent" / "run").send()
    assert server.got == sent
    assert not (folder / "unsent" / "run").exists()


def test_waiting_for_a_silent_server_takes_a_tenth_of_the_time_at_most(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    server = Server(monkeypatch)
    server.answers, server.seconds = False, 10.0
    backlog, start = Unsent("run", tmp_path / "run"), server.now
    waited = 0.0
    for number in range(1000):
        before = server.now
        backlog.deliver("params", {"values": {"epoch": number}})
        waited += server.now - before
        server.now += 1.0  # of training
    assert 0 < waited <= 0.1 * (server.now - start) + server.seconds
    assert len(backlog.kept()) == 1000
    shown = capsys.readouterr().err
    assert shown.count("warning: MLflow at http://tracker:5000 does not answer") == 1


def test_what_the_server_refuses_is_named_and_the_rest_arrives(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    server = Server(monkeypatch)
    server.answers = False
    backlog = Unsent("run", tmp_path / "run")
    for arguments in ({"refused": True}, {"values": {"x": 1}}):
        backlog.deliver("params", arguments)
    server.answers = True
    assert backlog.send()
    assert server.got == [{"values": {"x": 1}}]
    assert "refuses something of run run, which is left out: params" in capsys.readouterr().err
    for _ in range(2):
        backlog.deliver("params", {"refused": True})  # a training goes on, and nothing is kept that cannot be sent
    assert not backlog.kept()
    another = Unsent("run", tmp_path / "run")
    for _ in range(2):
        another.deliver("params", {"refused": True})
    assert capsys.readouterr().err.count("refuses something of run run") == 1, "each write is named once"


def test_without_a_server_one_sentence_names_its_address(workspace, monkeypatch, capsys):
    place = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://name:secret@{place}")
    said = rf"^http://{place}: MLflow does not answer \(.*refused.*\): MLFLOW_TRACKING_URI names this address"
    with pytest.raises(InputError, match=said) as raised, store.open_run(None, name="x"):
        pass
    assert "secret" not in str(raised.value)
    with pytest.raises(InputError, match=said):
        has_run("0" * 32)  # it is not known: a training must not begin anew
    assert main(["label", str(workspace), "--model", "models:/name@champion", "--out", "labels"]) == 2
    shown = capsys.readouterr().err
    assert "MLflow does not answer" in shown
    assert "Traceback" not in shown


def test_what_was_kept_for_another_server_stays(workspace, monkeypatch, capsys):
    folder = workspace / unsent.FOLDER / ("0" * 32)
    folder.mkdir(parents=True)
    (folder / "00000000.json").write_text(json.dumps({"address": "http://gone:1", "write": "params", "arguments": {}}))
    assert main(["log"]) == 1
    assert f"has no run {'0' * 32}: it was kept for http://gone:1" in capsys.readouterr().out
    assert folder.exists()
