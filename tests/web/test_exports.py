"""Lists as files: how many at a time, and how long for a reader that takes nothing."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import anyio.lowlevel
import httpx
import pytest

from am2z_trio import NetworkError
from am2z_trio.concurrency import current_host
from am2z_trio.web import exports
from am2z_trio.web.exports import Export
from am2z_trio.web.routes import Endpoint
from am2z_trio.web.serving import serving
from tests.support.waiting import PATIENCE, until
from tests.web.by_hand import never, scope_of

pytestmark = pytest.mark.anyio

LINE = b"x" * 1023 + b"\n"


async def endless():
    while True:
        yield LINE
        await anyio.lowlevel.checkpoint()


async def some(view) -> Export:
    return Export(endless(), "lines")


ROUTES = [Endpoint("/lines", some)]
ASKS = b"GET /lines HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Test-Role: viewer\r\n\r\n"


@asynccontextmanager
async def served(app):
    """By the server that each host has: Hypercorn on Trio, uvicorn on asyncio."""
    if current_host().name == "trio":
        async with serving(app, "127.0.0.1", 0) as base:
            yield int(base.rpartition(":")[2])
        return
    uvicorn = pytest.importorskip("uvicorn", reason="of the extra `test`")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    server.install_signal_handlers = lambda: None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        await until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True


async def test_a_reader_that_takes_nothing_is_cut_off_and_that_is_said(open_site, monkeypatch, caplog):
    monkeypatch.setattr(exports, "SEND_WAIT", 0.2)
    monkeypatch.setattr("am2z_trio.web.serving.TAKES_WITHIN", 2.0)
    async with open_site(routes=ROUTES) as site, served(site.app) as port:
        with anyio.fail_after(PATIENCE):
            async with await anyio.connect_tcp("127.0.0.1", port) as reader:
                await reader.send(ASKS)
                await until(lambda: Export.under_way == 1, "it to begin")
                await until(lambda: Export.under_way == 0, "it to be given up")
                # It sees that this was not all: the last chunk is missing.
                taken = b""
                try:
                    while True:
                        taken = (taken + await reader.receive())[-5:]
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    pass
                assert taken != b"0\r\n\r\n"
    (said,) = [one for one in caplog.records if "export" in one.getMessage()]
    assert said.levelno == logging.WARNING
    assert said.getMessage() == (
        "an export of lines for viewer@test is cut off: its reader has taken nothing for 0.2 s"
    )


async def test_one_that_takes_too_long_is_cut_off(open_site, monkeypatch, caplog):
    sent = []

    async def send(message):
        sent.append(message)

    monkeypatch.setattr(exports, "LASTS", 0.1)
    async with open_site(routes=ROUTES) as site:
        with anyio.fail_after(PATIENCE):
            await site.app(scope_of("/lines"), never, send)
    assert Export.under_way == 0
    assert all(message.get("more_body", True) for message in sent)
    assert "it has taken 0.1 s, and more is left" in caplog.text


async def test_one_whose_reader_has_gone_ends_without_a_word(open_site, caplog):
    begun = anyio.Event()

    async def send(message):
        if message["type"] == "http.response.body":
            begun.set()
            await anyio.sleep_forever()

    async def receive():
        await begun.wait()
        return {"type": "http.disconnect"}

    async with open_site(routes=ROUTES) as site:
        with anyio.fail_after(PATIENCE):
            await site.app(scope_of("/lines"), receive, send)
    assert Export.under_way == 0
    assert "cut off" not in caplog.text


async def test_no_more_than_some_are_under_way_at_a_time(open_site):
    async with open_site(routes=ROUTES) as site, AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(anyio.create_task_group())

        async def stalled(message):
            if message["type"] == "http.response.body":
                await anyio.sleep_forever()

        for _ in range(exports.MOST_EXPORTS):
            tasks.start_soon(site.app, scope_of("/lines"), never, stalled)
        await until(lambda: Export.under_way == exports.MOST_EXPORTS)
        refused = await site.as_("viewer").get("/lines")
        assert refused.status_code == 429
        assert "4 lists are exported now" in refused.text
        tasks.cancel_scope.cancel()
    assert Export.under_way == 0


async def test_one_in_which_redis_goes_away_is_cut_off(open_site, caplog):
    async def lines():
        yield LINE
        raise NetworkError("Redis has gone")

    async def broken(view):
        return Export(lines(), "lines")

    sent = []

    async def send(message):
        sent.append(message)

    async with open_site(routes=[Endpoint("/lines", broken)]) as site:
        await site.app(scope_of("/lines"), never, send)
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert "is cut off: " in caplog.text
    assert "Redis has gone" in caplog.text


async def test_all_lines_come_and_the_end(open_site, monkeypatch):
    monkeypatch.setattr(exports, "PIECE", 2_000)

    async def lines():
        for _ in range(5):
            yield LINE

    async def whole(view):
        return Export(lines(), "lines")

    async with open_site(routes=[Endpoint("/lines", whole)]) as site, served(site.app) as port:
        async with httpx.AsyncClient(headers={"X-Test-Role": "viewer"}) as browser:
            answer = await browser.get(f"http://127.0.0.1:{port}/lines")
        assert answer.content == LINE * 5
        assert answer.headers["content-type"].startswith("application/jsonl")
