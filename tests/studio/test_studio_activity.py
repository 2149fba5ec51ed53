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
    activity.begin()
    activity.end()
    assert not activity.is_quiet()
    now += 1
    assert activity.is_quiet()


def test_work_ahead_is_done_between_requests_and_only_while_a_page_is_open(monkeypatch):
    now = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    activity = Activity()
    lulls = []
    for seconds in (0.0, 0.1, 0.1, 0.7, 3.0, 2.0, 3600.0):
        now += seconds
        lulls.append(activity.is_lull())
    assert lulls == [False, False, True, True, True, False, False]
    activity.begin()
    activity.end()
    now += 0.2
    assert activity.is_lull()


def test_a_request_counts_until_it_is_answered(monkeypatch):
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
    assert quiet == [False, False]  # however long it takes
    assert not activity.is_quiet()
    now += 1
    assert activity.is_quiet()
    assert sent[-1]["body"] == b"yes"


def test_the_life_of_the_application_is_no_request():
    activity = Activity()

    async def live(scope, receive, send):
        assert activity._num_waiting == 0

    with ThreadPoolExecutor(1) as thread:
        thread.submit(
            lambda: asyncio.run(ActivityMiddleware(live, activity)({"type": "lifespan"}, None, None))
        ).result()


def test_an_answer_that_nobody_takes_is_not_waited_for(monkeypatch):
    now = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    activity = Activity()
    lulls = []

    async def stream(scope, receive, send):
        await send({"type": "http.response.start", "status": 206, "headers": []})
        await send({"type": "http.response.body", "body": b"a part", "more_body": True})

    async def take(message):
        nonlocal now
        now += 1  # as slowly as a browser that has paused the video
        lulls.append(activity.is_lull())

    async def call():
        await ActivityMiddleware(stream, activity)({"type": "http"}, None, take)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(call())).result()
    assert lulls == [True, True]
    assert activity._num_waiting == 0
