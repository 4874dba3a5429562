"""A request whose audit entry cannot be written does nothing, and is answered with why."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from am2z_trio import AccessDeniedError, QueueRuntime
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.views.audit import AuditEntry
from am2z_trio.store.redis.keys import spell
from am2z_trio.web import application, console
from tests.support.deeds import DEEDS, WAYS, Ground, as_ada, unwritten
from tests.support.servers import SpawnRedis
from tests.support.waiting import PATIENCE
from tests.web.conftest import BASE, OURS, who_by_header

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def asked(url: str) -> AsyncIterator[tuple[Runtime, httpx.AsyncClient]]:
    """A console on this Redis, and a program of an admin's."""
    async with QueueRuntime(url, workers=False, shutdown_grace=0) as runtime:
        transport = httpx.ASGITransport(console(runtime, authenticate=who_by_header))
        headers = {"X-Test-Role": "admin", **OURS}
        async with httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers) as program:
            yield runtime, program


async def act(program: httpx.AsyncClient, deed: str, ground: Ground) -> httpx.Response:
    verb, path, said = {
        "cancel": ("POST", f"jobs/{ground.ids['job']}/cancel", {}),
        "pause": ("POST", "queues/shop.price/pause", {}),
        "redrive": ("POST", f"jobs/{ground.ids['dead']}/retry", {}),
        "remove a schedule": ("DELETE", "schedules/nightly", {}),
        "stop a session": ("POST", "sessions/alice/stop", {}),
        "bulk": ("POST", "bulks", {"action": "cancel", "query": "queue:shop.price status:waiting"}),
    }[deed]
    return await program.request(verb, f"/api/v1/{path}", json=said)


async def standing(ground: Ground, url: str) -> Mapping[str, Any]:
    async with QueueRuntime(url, workers=False) as runtime:
        return await ground.standing(runtime)


CODES = {"denied": "ACCESS_DENIED", "full": "RESOURCE", "at its end": "SERVER_REPLY"}


@pytest.mark.parametrize("way", WAYS)
async def test_what_cannot_be_written_down_is_not_done(spawn_redis: SpawnRedis, way: str):
    server, ground = spawn_redis(), Ground()
    await ground.prepare(server.url)
    async with asked(as_ada(server)) as (_, program):
        before = await standing(ground, server.url)
        with unwritten(server, way):
            for deed in DEEDS:
                answer = await act(program, deed, ground)
                assert (answer.status_code, answer.json()["code"]) == (409, CODES[way]), (deed, answer.text)
        assert await standing(ground, server.url) == before
        # And is done as soon as it can be.
        for deed in DEEDS:
            answer = await act(program, deed, ground)
            assert answer.status_code == 200, (deed, answer.text)
    assert (await standing(ground, server.url))["audit"] == 2 * len(DEEDS)


async def test_what_is_asked_for_while_redis_is_away_is_not_done_when_it_is_back(
    spawn_redis: SpawnRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(application, "WAIT", 0.2)
    server, ground = spawn_redis({"appendfsync": "always"}, data_dir=tmp_path), Ground()
    await ground.prepare(server.url)
    async with asked(server.url) as (runtime, program):
        before = await ground.standing(runtime)
        # What it would do has been looked at; then Redis goes away.
        assert (await program.get(f"/api/v1/jobs/{ground.ids['job']}/cancel")).status_code == 200
        server.kill()
        for deed in DEEDS:
            answer = await act(program, deed, ground)
            assert answer.status_code in (503, 504), (deed, answer.text)
        server.start()
        with anyio.fail_after(PATIENCE):
            assert await ground.standing(runtime) == before


@pytest.mark.parametrize("deed", DEEDS)
async def test_what_stands_in_the_way_of_the_audit_is_set_aside_and_it_is_written_down(
    spawn_redis: SpawnRedis, deed: str
):
    server, ground = spawn_redis(), Ground()
    await ground.prepare(server.url)
    key, aside = spell("am2z", "audit"), spell("am2z", "spoilt", "audit")
    server.call("SET", key, "no stream")
    async with asked(server.url) as (runtime, program):
        answer = await act(program, deed, ground)
        assert answer.status_code == 200, answer.text
        assert (await ground.standing(runtime))["audit"] == 2
    assert (server.call("GET", aside), server.call("TYPE", key)) == (b"no stream", b"stream")


async def test_an_entry_that_was_refused_is_not_known_as_written(spawn_redis: SpawnRedis):
    """It is sent again where the reply was lost: then it must not pass for one that is there."""
    server = spawn_redis()
    async with QueueRuntime(as_ada(server), workers=False) as runtime:
        chronicle = runtime.node.store.chronicle
        entry = AuditEntry.made("ab", {"who": "a", "role": "b", "face": "c"}, {"action": "cancel"})
        with unwritten(server, "denied"):
            for _ in range(2):
                with pytest.raises(AccessDeniedError):
                    await chronicle.append_audit(entry)
        await chronicle.append_audit(entry)
        (kept,) = (await chronicle.audit_page()).entries
        assert kept.id == "ab"
