"""Event streams, for clients that come back: on both hosts and both stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import anyio
import msgspec
import pytest

from am2z_trio import Context, Event, LocalRuntime, QueueRuntime, processor
from am2z_trio.contrib.asgi import missed, sse
from am2z_trio.engine.runtime.runtime import Runtime
from tests.support.waiting import until

from .clients import Client

pytestmark = pytest.mark.anyio


class Order(msgspec.Struct):
    kites: int


@processor
async def price(order: Order) -> Order:
    return order


@processor
async def forever(order: Order, ctx: Context) -> Order:
    await ctx.update_progress(0.5)
    await anyio.sleep_forever()
    return order


class Steps:
    """Lets a job take steps."""

    def __init__(self) -> None:
        self.send, self.taken = anyio.create_memory_object_stream[int](100)

    def let(self, *numbers: int) -> None:
        for number in numbers:
            self.send.send_nowait(number)


@pytest.fixture
def steps() -> Iterator[Steps]:
    one = Steps()
    with one.send, one.taken:
        yield one


@pytest.fixture(params=["local", "redis"])
async def with_history(request: pytest.FixtureRequest, steps: Steps) -> AsyncIterator[Runtime]:
    """A runtime that writes events down."""

    @processor
    async def told_to(order: Order, ctx: Context) -> Order:
        for _ in range(order.kites):
            ctx.emit("shop:step", {"number": await steps.taken.receive()})
        return order

    options: Any = {"shutdown_grace": 0, "event_history": 10_000}
    if request.param == "local":
        runtime: Runtime = LocalRuntime(**options)
    else:
        runtime = QueueRuntime(request.getfixturevalue("redis_url"), **options)
    async with runtime:
        runtime.register(told_to, price)
        yield runtime


async def _heard(runtime: Runtime, job: Any, many: int) -> None:
    """So many steps of it are in the history."""

    with anyio.fail_after(60):
        while len((await runtime.events.history("shop:step", job=job)).events) < many:
            await anyio.sleep(0.005)


async def test_who_comes_back_is_told_what_it_has_missed_and_nothing_twice(with_history, steps):
    runtime = with_history
    await runtime.execute(price, Order(1))  # somebody else's events are in between
    job = await runtime.submit("told_to", {"kites": 4})
    first = Client(sse(job, on_disconnect="leave", events="shop:*"), "/")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first.run)
        await until(lambda: bool(first.sent))
        steps.let(1)
        await until(lambda: "shop:step" in first.body.decode())
        first.leave()
    last = first.events()[-1]
    assert last[1:] == ("shop:step", {"number": 1})
    steps.let(2, 3)
    await _heard(runtime, job, 3)
    await runtime.execute(price, Order(1))
    again = Client(sse(job, events="shop:*"), "/", headers={"Last-Event-ID": last[0]})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(again.run)
        await until(lambda: "status" in again.body.decode())
        steps.let(4)
    told = [(event, data.get("number")) for _, event, data in again.events()]
    assert told == [
        ("shop:step", 2),
        ("shop:step", 3),
        ("status", None),
        ("shop:step", 4),
        ("result", None),
    ]
    ids = [tuple(map(int, id.split("."))) for id, _, _ in again.events()[:-1]]
    assert ids == sorted(ids)
    # Its chunks are the same, and by the id of a status that heard of nothing all of it is told.
    chunks = [chunk async for chunk in sse(job, events="shop:*").chunks(first.events()[0][0])]
    assert b"".join(chunks).count(b"event: shop:step") == 4
    assert [chunk async for chunk in sse(job).chunks("end")] == []


async def test_who_comes_back_where_nothing_is_written_down_sees_what_is_so():
    async with LocalRuntime(shutdown_grace=0) as runtime, anyio.create_task_group() as tasks:
        runtime.register(forever)
        job = await runtime.submit(forever, Order(1))
        with anyio.fail_after(60):
            while await job.progress() != 0.5:
                await anyio.sleep(0.005)
        again = Client(sse(job, on_disconnect="leave"), "/", headers={"Last-Event-ID": "1.1"})
        tasks.start_soon(again.run)
        await until(lambda: bool(again.events()))
        assert again.events()[0][1:] == ("status", {"id": job.id, "status": "active", "progress": 0.5})
        await job.cancel()
    assert [event for _, event, _ in again.events()][-1] == "result"


@pytest.mark.parametrize("id", ["", "x", "-1.0", "1", "1.1.1", "9" * 500 + ".1", "999999999999999.9", "0.0"])
async def test_an_id_that_is_none_begins_with_what_is_so(with_history, id):
    job = await with_history.submit(price, Order(2))
    await job.result()
    client = await Client(sse(job), "/", headers={"Last-Event-ID": id}).run()
    assert [event for _, event, _ in client.events()][-2:] == ["status", "result"]


async def test_the_history_is_read_within_bounds(with_history, steps, monkeypatch):
    monkeypatch.setattr(missed, "LOOKS", 2)
    monkeypatch.setattr(missed, "PAGE", 3)
    job = await with_history.submit("told_to", {"kites": 9})
    steps.let(*range(9))
    await job.result()
    await _heard(with_history, job, 9)
    client = await Client(sse(job, events="*"), "/", headers={"Last-Event-ID": "0.0"}).run()
    # Of six events that were looked at, the end is not told as one.
    assert 5 <= len(client.events()) - len(["status", "result"]) <= 6


def test_an_event_that_was_told_from_the_history_is_not_told_again_as_it_happens():
    def step(at: int, data: Any) -> Event:
        return Event("shop:step", at, job="j", data=data)

    hearing = missed.Hearing(cast("Any", None), missed.Mark(5, 1))
    hearing._again.update([missed._key(step(7, 1)), missed._key(step(7, 2))])
    hearing.mark = missed.Mark(7, 2)
    heard = [step(7, 1), step(7, 2), step(7, 2), step(8, 2)]
    assert [hearing.is_new(one) for one in heard] == [False, False, True, True]
    assert str(hearing.mark) == "8.1"
