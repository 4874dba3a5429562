"""Workers of a node: what wakes them, how they come and go, and what they tell the other nodes."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
import redis
import trio

from am2z_trio import (
    Context,
    JobOptions,
    LocalRuntime,
    Processor,
    QueueOptions,
    QueueRuntime,
    ServerReplyError,
    processor,
)
from am2z_trio.engine.node import announcements
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.engine.work.feeder import Feeder
from am2z_trio.testing.events import expect_event
from tests.support.servers import RedisProcess
from tests.support.waiting import until

on_both_hosts = pytest.mark.anyio


def of_size(max_size: int) -> Processor[int]:
    @processor(name="work", queue=QueueOptions(max_size=max_size))
    async def work(n: int) -> int:
        return n

    return work


# --- the feeder -----------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_worker_without_a_free_slot_sleeps_although_a_delayed_job_is_due(autojump_clock, monkeypatch):
    looks = 0
    real = Feeder.want

    def want(feeder: Feeder) -> int:
        nonlocal looks
        looks += 1
        # In virtual time, one that spins would do so for ever.
        assert looks < 1000, "it spins"
        return real(feeder)

    monkeypatch.setattr(Feeder, "want", want)
    order: list[int] = []

    @processor
    async def child(n: int) -> int:
        await trio.sleep(1)
        return n

    @processor(queue=QueueOptions(concurrency=1))
    async def parent(n: int, ctx: Context) -> int:
        if n == 1:
            # Its slot is free meanwhile: the worker learns when the other one is due.
            await ctx.call(child, n)
            await trio.sleep(100)
        order.append(n)
        return n

    async with LocalRuntime() as runtime:
        runtime.register(parent, child)
        first = await runtime.submit(parent, 1)
        # Due between two ticks, which would wake the worker.
        second = await runtime.submit(parent, 2, options=JobOptions(delay=10.5))
        assert (await first.result()).success
        assert (await second.result()).success
    assert order == [1, 2]
    assert looks < 50


class _Fickle:
    """What a feeder holds beyond its places: none once a claim for that many was answered, as if a job had
    ended meanwhile that took long."""

    in_a_row = 1

    def __init__(self) -> None:
        self._ahead = 5
        self._asked = False
        """A claim that was under way already is not for that many."""

    def ahead(self, _concurrency: int) -> int:
        self._asked = True
        return self._ahead

    def ran(self, _seconds: float) -> None:
        pass

    def claimed(self, _seconds: float) -> None:
        if self._asked:
            self._ahead = 0


@on_both_hosts
async def test_a_worker_that_holds_more_than_it_would_claim_now_claims_again_later(
    make_runtime,
):
    gate = anyio.Event()

    @processor(queue=QueueOptions(concurrency=1))
    async def work(n: int) -> int:
        await gate.wait()
        return n

    async with make_runtime() as runtime:
        runtime.register(work)
        await runtime.pause(work)
        jobs = [await runtime.submit(work, n) for n in range(3)]
        (feeder,) = runtime.node.fleet.workers.values()
        feeder.delivery.prefetch = _Fickle()
        await runtime.resume(work)
        await until(lambda: len(feeder.delivery.buffer) == 2)
        gate.set()
        with anyio.fail_after(20):
            assert [(await job.result()).unwrap() for job in jobs] == [0, 1, 2]
            assert (await runtime.execute(work, 3)).unwrap() == 3


# --- coming and going -----------------------------------------------------------------------------


@on_both_hosts
async def test_one_that_is_unregistered_and_registered_at_once_goes_on_being_served(make_runtime):
    work = of_size(0)
    async with make_runtime() as runtime:
        for n in range(20):
            runtime.register(work)
            if n % 2:
                assert (await runtime.execute(work, n)).unwrap() == n
            runtime.unregister(work)
        runtime.register(work)
        with anyio.fail_after(20):
            results = await runtime.execute_many(work, range(50))
        assert [result.unwrap() for result in results] == [*range(50)]


@on_both_hosts
async def test_a_worker_that_leaves_late_does_not_cut_off_the_one_after_it(make_runtime, monkeypatch):
    work = of_size(0)
    refused = anyio.Event()
    async with make_runtime() as runtime:
        claim = runtime.node.store.claim

        async def refuse_once(*args: Any) -> Any:
            if not refused.is_set():
                refused.set()
                raise ServerReplyError("once")
            return await claim(*args)

        monkeypatch.setattr(runtime.node.store, "claim", refuse_once)
        runtime.register(work)
        with anyio.fail_after(20):
            await refused.wait()
            async with expect_event(runtime, "worker:stopped") as stopped:
                # The old one waits until it may ask again, and leaves the queue then.
                runtime.unregister(work)
                runtime.register(work)
                await stopped.wait()
            assert (await runtime.execute(work, 1)).unwrap() == 1


# --- what is announced ----------------------------------------------------------------------------


async def announced(runtime: Runtime) -> int | None:
    """The size of queue that every node goes by, when this node has said what it has to say."""
    await runtime.sync_processors()
    (info,) = await runtime.node.store.known_queues()
    return info.options.max_size


@on_both_hosts
async def test_the_newest_registration_of_a_name_is_the_last_that_is_announced(redis_url, redis_server):
    async with QueueRuntime(redis_url) as runtime:
        with anyio.fail_after(30):
            for round in range(10):
                for size in range(1, 5):
                    runtime.register(of_size(10 * round + size))
                assert await announced(runtime) == 10 * round + 4
            # While an announcement is under way, too.
            for size in (1, 2, 3):
                runtime.register(of_size(size))
                await anyio.lowlevel.checkpoint()
            assert await announced(runtime) == 3


@on_both_hosts
async def test_an_announcement_that_is_refused_is_made_again(redis_url, monkeypatch, caplog):
    monkeypatch.setattr(announcements, "AGAIN_AFTER", 0.01)
    refusals = 0
    async with QueueRuntime(redis_url) as runtime:
        announce = runtime.node.store.announce

        async def refuse_twice(infos: Any) -> None:
            nonlocal refusals
            refusals += 1
            if refusals <= 2:
                raise ServerReplyError("not now")
            await announce(infos)

        monkeypatch.setattr(runtime.node.store, "announce", refuse_twice)
        with caplog.at_level(logging.WARNING, "am2z_trio.node"), anyio.fail_after(20):
            runtime.register(of_size(1))
            assert (await runtime.execute("work", 1)).success
            runtime.register(of_size(2))
            assert await announced(runtime) == 2
    assert refusals > 2
    assert "not now" in caplog.text


# --- a full Redis ---------------------------------------------------------------------------------


def fill(server: RedisProcess) -> None:
    """Leave no room: whatever it holds is more than it may hold."""
    server.call("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(redis.OutOfMemoryError):
        server.call("SET", "one-more", "x")


def empty(server: RedisProcess) -> None:
    server.call("CONFIG", "SET", "maxmemory", "0")


FULL = {"maxmemory": "64mb", "maxmemory-policy": "noeviction"}


@on_both_hosts
async def test_a_full_redis_ends_no_runtime_that_registers_anew(spawn_redis):
    server = spawn_redis(FULL)
    async with QueueRuntime(server.url) as runtime:
        with anyio.fail_after(30):
            runtime.register(of_size(10))
            assert await announced(runtime) == 10
            fill(server)
            runtime.register(of_size(20))
            assert await announced(runtime) == 20
            empty(server)
            assert (await runtime.execute("work", 1)).unwrap() == 1


@on_both_hosts
@pytest.mark.parametrize("per_session", [None, 1])
@pytest.mark.parametrize("comes", ["later", "first"])
async def test_what_fills_a_redis_is_worked_off_by_workers_that_come_later_or_were_there(
    spawn_redis, per_session, comes
):
    server = spawn_redis(FULL)
    done: Counter[str] = Counter()

    @processor(queue=QueueOptions(session_concurrency=per_session))
    async def work(state: dict[str, str], ctx: Context) -> dict[str, str]:
        done[ctx.session_id or ""] += 1
        return {}

    sessions = [f"s{n}" for n in range(20)]
    with anyio.fail_after(30):
        async with QueueRuntime(server.url, workers=False) as client, anyio.create_task_group() as tasks:

            async def serve(*, task_status: anyio.abc.TaskStatus[None]) -> None:
                async with QueueRuntime(server.url) as node:
                    node.register(work)
                    task_status.started()
                    await node.wait_stopped()

            async with QueueRuntime(server.url) as once:
                once.register(processor(name="work")(work.fn))
                await once.sync_processors()
            await client.pause("work")
            if comes == "first":
                await tasks.start(serve)
            jobs = [await client.submit("work", {"x": "a" * 1000}, session=session) for session in sessions]
            fill(server)
            if comes == "later":
                await tasks.start(serve)
            await client.resume("work")
            for job in jobs:
                assert (await job.result()).success
            tasks.cancel_scope.cancel()
    assert done == Counter(sessions)
