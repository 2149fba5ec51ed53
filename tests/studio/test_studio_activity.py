import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from starlette.responses import Response

from pipeline.studio import activity as module
from pipeline.studio.activity import Activity, ActivityMiddleware


def test_it_is_quiet_some_time_after_a_request(monkeypatch):
    now = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    activity = Activity()
    assert not activity.is_quiet()
    now += 1
    assert activity.is_quiet()
    activity.note()
    assert not activity.is_quiet()
    now += 1
    assert activity.is_quiet()


def test_a_request_counts_when_it_comes_and_when_it_is_answered(monkeypatch):
    now = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    activity = Activity()
    now += 1
    quiet, sent = [], []

    async def answer(scope, receive, send):
        nonlocal now
        quiet.append(activity.is_quiet())
        now += 1
        quiet.append(activity.is_quiet())
        await Response("yes")(scope, receive, send)

    async def send(message):
        sent.append(message)

    async def call():
        await ActivityMiddleware(answer, activity)({"type": "http"}, None, send)

    with ThreadPoolExecutor(1) as thread:  # the main thread has an event loop of its own where Playwright was started
        thread.submit(lambda: asyncio.run(call())).result()
    assert quiet == [False, True]
    assert not activity.is_quiet()
    assert sent[-1]["body"] == b"yes"
