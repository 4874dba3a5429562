"""Schedules whose records something else has written: the others are fired, and no node ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest

from am2z_trio import Cron, Every, Processor, QueueRuntime, processor
from am2z_trio.model.codec import encode_record
from am2z_trio.model.records import DueSchedules, plain_name
from am2z_trio.store.redis.keys import spell
from am2z_trio.store.redis.schedules import RedisSchedules
from tests.support.servers import RedisProcess
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

OFTEN = Every(0.2)


def recording() -> tuple[list[int], Processor[int]]:
    """What a processor was given so far, and the processor."""
    ran: list[int] = []

    @processor
    async def work(n: int) -> int:
        ran.append(n)
        return n

    return ran, work


Spoil = Callable[[RedisProcess, str], None]


def with_next(at: int) -> Spoil:
    """Its next time is one that no calendar knows, and it is due."""

    def spoil(server: RedisProcess, key: str) -> None:
        server.call("HSET", key, "next", at)

    return spoil


def with_spec(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Its record says something else, its time has come, and its next one was computed by older zones."""

    def spoil(server: RedisProcess, key: str) -> None:
        said = msgspec.msgpack.decode(server.call("HGET", key, "spec"))
        change(said)
        past = int(time.time()) // 60 * 60_000
        server.call("HSET", key, "spec", encode_record(said), "next", past, "tz", "")

    return spoil


ODD = {
    "a time beyond the calendar": with_next(2**53),
    "a time before it": with_next(-(2**60)),
    "an end beyond it": with_spec(lambda said: said.update(end=2**62, start=2**61)),
    "a job after nan": with_spec(lambda said: said["job"].update(delay=math.nan)),
    "a job after ever": with_spec(lambda said: said["job"].update(delay=math.inf)),
    "a deadline of nan": with_spec(lambda said: said["job"].update(deadline=math.nan)),
    "a zone that is none": with_spec(lambda said: said.update(tz="Nowhere/At all")),
    "every no time": with_spec(lambda said: said.update(cron="", every=0.0)),
    "no cron": with_spec(lambda said: said.update(cron="* * *")),
}


@pytest.mark.parametrize("spoil", ODD.values(), ids=ODD)
async def test_what_a_schedules_record_says_ends_no_node_and_keeps_no_other_from_its_times(
    spoil: Spoil, redis_server: RedisProcess, redis_url: str
) -> None:
    ran, work = recording()
    async with QueueRuntime(redis_url) as writer:
        writer.register(work)
        await writer.schedules.upsert("odd", work, Cron("* * * * *", "Europe/Berlin"), state=1)
        spoil(redis_server, spell("am2z", "schedule", plain_name("odd")))
        # It comes first, whoever looks what is due.
        redis_server.call("ZADD", spell("am2z", "schedules"), 1, plain_name("odd"))
        await writer.schedules.upsert("sound", work, OFTEN, state=2)
        with anyio.fail_after(30):
            await until(lambda: ran.count(2) > 1, "the other one to be fired again")
            # One that is started now looks at all of them first.
            async with QueueRuntime(redis_url) as late:
                late.register(work)
                await writer.schedules.upsert("later", work, OFTEN, state=3)
                await until(lambda: ran.count(3) > 1, "another one to be fired")
                assert {view.id for view in await late.schedules.list()} == {"odd", "sound", "later"}
                assert (await late.execute(work, 4)).unwrap() == 4


async def test_a_node_that_looks_at_all_of_them_first_is_kept_from_none_by_one(
    redis_server: RedisProcess, redis_url: str
) -> None:
    ran, work = recording()
    key = spell("am2z", "schedule", plain_name("odd"))
    async with QueueRuntime(redis_url, workers=False) as writer:
        writer.register(work)
        await writer.schedules.upsert("odd", work, Cron("* * * * *", "Europe/Berlin"), state=1)
        await writer.schedules.upsert("sound", work, OFTEN, state=2)
    with_spec(lambda said: said.update(tz="Nowhere/At all"))(redis_server, key)
    # By other zones than this node's, so that it computes the next time anew.
    redis_server.call("HSET", key, "next", int(time.time() * 1000) + 3_600_000)
    async with QueueRuntime(redis_url) as node:
        node.register(work)
        with anyio.fail_after(30):
            await until(lambda: ran.count(2) > 1, "the other one to be fired")


async def test_names_without_records_keep_no_schedule_from_its_times(
    redis_server: RedisProcess, redis_url: str
) -> None:
    ran, work = recording()
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(work)
        await runtime.schedules.upsert("sound", work, OFTEN, state=2)
        # Something else has deleted their records: more than one call of a script takes away.
        key = spell("am2z", "schedules")
        for many in range(25):
            redis_server.call("ZADD", key, *(part for n in range(100) for part in (many, f"gone {many} {n}")))
        with anyio.fail_after(30):
            many = len(ran)
            await until(lambda: len(ran) > many + 2, "it to be fired")
        assert redis_server.call("ZCARD", key) == 1


NO_NUMBERS: dict[str, tuple[str, ...]] = {
    "a next time that is none": ("HSET", "next", "x"),
    "one that is written in another way": ("HSET", "next", f"00{int(time.time()) // 60 * 60_000}"),
    "a revision that is none": ("HSET", "rev", "x"),
    "a record without its mark": ("HDEL", "mark"),
}


@pytest.mark.parametrize("how", NO_NUMBERS.values(), ids=NO_NUMBERS)
async def test_what_says_no_number_can_be_fired_paused_changed_and_removed(
    how: tuple[str, ...], redis_server: RedisProcess, redis_url: str
) -> None:
    ran, work = recording()
    command, *fields = how
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(work)
        schedules = runtime.schedules
        await schedules.upsert("odd", work, OFTEN, state=1)
        with anyio.fail_after(30):
            for act in (schedules.pause, schedules.resume, partial(schedules.amend, note="other")):
                redis_server.call(command, spell("am2z", "schedule", plain_name("odd")), *fields)
                await act("odd")
            await schedules.pause("odd")
            await schedules.resume("odd")
            redis_server.call(command, spell("am2z", "schedule", plain_name("odd")), *fields)
            job = await schedules.run_now("odd")
            assert (await job.result()).unwrap() == 1
            if fields != ["next", "x"]:
                many = len(ran)
                await until(lambda: len(ran) > many + 1, "it to be fired")
            assert await schedules.remove("odd")
            assert await schedules.list() == []


async def test_one_that_cannot_be_read_is_logged_once_however_often_it_is_met(
    redis_server: RedisProcess, redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    looks = 0
    due = RedisSchedules.due

    async def counted(self: RedisSchedules, offset: int, limit: int) -> DueSchedules:
        nonlocal looks
        found = await due(self, offset, limit)
        looks += any(record.spec is None for record in found.found)
        return found

    monkeypatch.setattr(RedisSchedules, "due", counted)

    _, work = recording()
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(work)
        await runtime.schedules.upsert("odd", work, OFTEN, state=1)
        redis_server.call("HSET", spell("am2z", "schedule", plain_name("odd")), "spec", "junk")
        await until(lambda: looks > 2, "it to be met again")
        (view,) = await runtime.schedules.list()
        assert (view.id, view.processor) == ("odd", "")
    (told,) = [one.getMessage() for one in caplog.records if "'odd'" in one.getMessage()]
    assert "cannot be fired by this node: it was written by another version, or spoilt: not a" in told
