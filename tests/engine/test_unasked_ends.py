"""A task of the engine that ends though nobody has asked it to is an error, and not silence."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from am2z_trio import QueueRuntime, RuntimeStateError, processor
from am2z_trio.engine.events.bus import Bus
from am2z_trio.engine.node.announcements import Announcements
from am2z_trio.engine.node.heartbeat import Heartbeat
from am2z_trio.engine.submission.in_flight import InFlight
from am2z_trio.engine.submission.leaving import Leaving
from am2z_trio.engine.submission.looking import Looking
from am2z_trio.engine.submission.outgoing import Outgoing
from am2z_trio.engine.submission.vacancies import Vacancies
from am2z_trio.engine.work.feeder import Feeder
from am2z_trio.engine.work.settler import Settler
from am2z_trio.wire.client import RedisClient
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@processor
async def plus_one(n: int) -> int:
    return n + 1


@pytest.mark.parametrize("swallowed", [False, True])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Settler, "run"),
        (InFlight, "run"),
        (Outgoing, "run"),
        (Leaving, "run"),
        (Looking, "read_forever"),
        (Looking, "look_forever"),
        (Vacancies, "run"),
        (Vacancies, "_ask_forever"),
        (Bus, "run"),
        (Announcements, "run"),
        (Announcements, "run_reminder"),
        (Heartbeat, "_beat_forever"),
        (Heartbeat, "look_forever"),
    ],
)
async def test_a_service_that_ends_takes_the_node_down_with_one_error(
    make_runtime, monkeypatch, owner: Any, name: str, swallowed: bool
):
    ends = anyio.Event()

    async def run(*_: Any, task_status: Any = None) -> None:
        if task_status is not None:
            task_status.started()
        await ends.wait()
        if swallowed:
            async with anyio.create_task_group() as tasks:
                tasks.cancel_scope.cancel()
                await anyio.sleep_forever()

    monkeypatch.setattr(owner, name, run)
    runtime = make_runtime()
    with anyio.fail_after(20), pytest.raises(RuntimeStateError, match="by itself, and the node with it"):
        async with runtime:
            ends.set()
            await anyio.sleep_forever()
    assert not runtime.is_started


async def test_a_store_that_ends_takes_the_node_down_with_one_error(make_runtime, monkeypatch):
    runtime = make_runtime()
    opened = runtime._open_store("a")
    ends = anyio.Event()
    async with opened as store:
        kind = type(store)
    real = kind.run

    async def run(self: Any, listener: Any, *, task_status: Any) -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda *, task_status: real(self, listener, task_status=task_status))
            task_status.started()
            await ends.wait()
            tasks.cancel_scope.cancel()

    monkeypatch.setattr(kind, "run", run)
    with anyio.fail_after(20), pytest.raises(RuntimeStateError, match="the store of this node has ended"):
        async with runtime:
            ends.set()
            await anyio.sleep_forever()


async def test_a_worker_that_ends_is_reported_and_replaced(make_runtime, monkeypatch, caplog):
    monkeypatch.setattr("am2z_trio.engine.node.fleet.REPLACED_AFTER", 0.2)
    real, fed = Feeder._feed, list[Feeder]()

    async def feed(self: Feeder) -> None:
        fed.append(self)
        if len(fed) > 1:
            await real(self)

    monkeypatch.setattr(Feeder, "_feed", feed)
    with caplog.at_level(logging.ERROR, "am2z_trio"), anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(plus_one)
            await until(runtime.node.fleet.why_short)
            health = await runtime.connection.check_health()
            assert not health.healthy
            assert "the worker of 'plus_one' has ended by itself" in health.reason
            assert (await runtime.execute(plus_one, 1)).unwrap() == 2
            assert (await runtime.connection.check_health()).healthy
            # One that was asked to end is not missed.
            assert await runtime.workers.stop_worker(plus_one)
            assert (await runtime.connection.check_health()).healthy
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "the worker of 'plus_one' has ended by itself; another one is started"
    ]
    assert len(fed) == 2


@pytest.mark.parametrize("which", ["commands", "hears"])
async def test_a_connection_that_ends_takes_the_node_down_with_one_error(redis_url, monkeypatch, which: str):
    real, ends = RedisClient.run, anyio.Event()

    async def run(self: RedisClient, *, task_status: Any) -> None:
        if self._name.endswith(":pushes") != (which == "hears"):
            await real(self, task_status=task_status)
        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda *, task_status: real(self, task_status=task_status))
            task_status.started()
            await ends.wait()
            tasks.cancel_scope.cancel()

    monkeypatch.setattr(RedisClient, "run", run)
    with (
        anyio.fail_after(20),
        pytest.raises(RuntimeStateError, match=rf"the connection .*{which}.* by itself"),
    ):
        async with QueueRuntime(redis_url):
            ends.set()
            await anyio.sleep_forever()
