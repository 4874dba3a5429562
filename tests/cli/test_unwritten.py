"""A command whose audit entry cannot be written does nothing, and says why in one line."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from am2z_trio import QueueRuntime
from am2z_trio.admin.asking import Asking
from tests.cli.conftest import Command
from tests.support.deeds import DEEDS, WAYS, Ground, as_ada, unwritten
from tests.support.servers import RedisProcess, SpawnRedis


def words_of(deed: str, ground: Ground) -> tuple[str, ...]:
    return {
        "cancel": ("job", "cancel", ground.ids["job"]),
        "pause": ("queue", "pause", "shop.price"),
        "redrive": ("dead", "redrive", ground.ids["dead"]),
        "remove a schedule": ("cron", "rm", "nightly", "--yes"),
        "stop a session": ("session", "stop", "alice", "--yes"),
        "bulk": ("job", "cancel", "--where", "queue:shop.price status:waiting", "--yes"),
    }[deed]


def standing(ground: Ground, server: RedisProcess) -> Mapping[str, Any]:
    async def look() -> Mapping[str, Any]:
        async with QueueRuntime(server.url, workers=False) as runtime:
            return await ground.standing(runtime)

    return trio.run(look)


@pytest.mark.parametrize("way", WAYS)
def test_what_cannot_be_written_down_is_not_done(spawn_redis: SpawnRedis, command: Command, way: str):
    server, ground = spawn_redis(), Ground()
    trio.run(ground.prepare, server.url)
    url = as_ada(server)
    before = standing(ground, server)
    with unwritten(server, way):
        for deed in DEEDS:
            said = command(*words_of(deed, ground), "--redis", url)
            assert said.status not in (0, 1), (deed, said)
            assert said.out == "", (deed, said)
            (line,) = said.err.splitlines()
            assert line.startswith("am2z: "), (deed, said)
    assert standing(ground, server) == before
    # And is done as soon as it can be.
    for deed in DEEDS:
        assert command(*words_of(deed, ground), "--redis", url).status == 0, deed
    assert standing(ground, server)["audit"] >= 2 * len(DEEDS)


@pytest.fixture
def away_before_it_is_done(monkeypatch: pytest.MonkeyPatch) -> list[RedisProcess]:
    """Redis is killed once it is known that the action may be done, and before it is written down; the
    servers that are."""
    servers, require = list[RedisProcess](), Asking._require

    async def required(self: Asking, permission: Any, *args: Any, **options: Any) -> None:
        await require(self, permission, *args, **options)
        if permission != "view" and servers:
            servers.pop().kill()
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Asking, "_require", required)
    return servers


def test_what_is_given_up_while_redis_is_away_is_not_done_when_it_is_back(
    spawn_redis: SpawnRedis,
    tmp_path: Path,
    command: Command,
    away_before_it_is_done: list[RedisProcess],
):
    server, ground = spawn_redis({"appendfsync": "always"}, data_dir=tmp_path), Ground()
    trio.run(ground.prepare, server.url)
    before = standing(ground, server)
    for deed in DEEDS:
        away_before_it_is_done.append(server)
        said = command(*words_of(deed, ground), "--redis", server.url, "-q")
        assert (said.status, said.out) == (130, ""), (deed, said)
        server.start()
        assert standing(ground, server) == before, deed
