"""The history of events: what was heard is what is kept, and whoever goes on from a place misses nothing."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import msgspec
import pytest

from am2z_trio import (
    ConfigurationError,
    Context,
    Event,
    LocalRuntime,
    QueueRuntime,
    RetryPolicy,
    processor,
)
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.events import EventGroup
from am2z_trio.model.limits import MAX_KEPT_EVENT_BYTES
from am2z_trio.model.records import Place
from am2z_trio.store.redis.keys import spell
from tests.chaos.faults import Refuse, open_fault_proxy
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

ENDS = ("job:completed", "job:failed", "job:cancelled")
LOG = spell("am2z", "log")


@processor
async def same(n: int) -> int:
    return n


@processor(retry=RetryPolicy(max_attempts=2, backoff=0.001))
async def fails(n: int, ctx: Context) -> int:
    ctx.emit("fails soon", {"n": n})
    raise OSError(f"no {n}")


def bare(event: Event) -> Event:
    return msgspec.structs.replace(event, id="")


async def everything(runtime: Runtime, pattern: str = "*", since: str = "", limit: int = 100) -> list[Event]:
    """All of the history, page by page."""
    found: list[Event] = []
    while True:
        page = await runtime.events.history(pattern, since=since, limit=limit)
        assert page.kept
        assert not page.gap
        assert page.unreadable == 0
        found += page.events
        if not page.more:
            return found
        since = page.last


async def work(runtime: Runtime, rounds: int = 3) -> None:
    for n in range(rounds):
        await runtime.execute_many(same, range(5))
        await runtime.execute(same, n, session=f"s{n}")
        await runtime.execute(same, n, session="odd: {s}\r\n")
        await runtime.execute(fails, n, session="s")
        runtime.emit("round", {"n": n})


async def test_what_is_kept_is_what_was_heard(make_runtime):
    heard: list[Event] = []
    async with make_runtime(event_history=10_000) as runtime:
        runtime.register(same, fails)
        runtime.on("*", heard.append)
        await work(runtime)
        runtime.emit("end")
        await until(lambda: heard and heard[-1].name == "end", "the end")
        heard = [event for event in heard if not event.name.startswith(("connection:", "runtime:"))]
        kept = await everything(runtime)
    first = next(n for n, event in enumerate(kept) if bare(event) == heard[0])
    assert [bare(event) for event in kept[first:]] == heard
    assert len({event.id for event in kept}) == len(kept)
    told = {event.name for event in heard}
    assert {"job:enqueued", "job:started", *ENDS[:2], "job:retrying", "job:dead", "fails soon"} <= told


async def test_the_history_goes_on_from_any_event(make_runtime):
    async with make_runtime(event_history=10_000) as runtime:
        runtime.register(same, fails)
        await work(runtime, 1)
        kept = await everything(runtime, limit=3)
        for n, event in enumerate(kept):
            page = await runtime.events.history(since=event.id, limit=4)
            assert page.events == kept[n + 1 : n + 5]
            assert page.last == (page.events[-1].id if page.events else event.id)
            async with runtime.events(since=event.id) as stream:
                assert [await stream.next() for _ in kept[n + 1 :]] == kept[n + 1 :]
            page = await runtime.events.history(before=event.id, limit=4)
            assert page.events == kept[max(0, n - 4) : n]
            assert page.more or n <= 4
        assert (await runtime.events.history(limit=5)).events == kept[-5:]
        backwards: list[Event] = []
        page = await runtime.events.history("job:*", limit=3)
        while page.events:
            backwards = page.events + backwards
            page = await runtime.events.history("job:*", before=page.last, limit=3)
        assert backwards == [event for event in kept if event.job and event.matches("job:*")]
        with pytest.raises(ConfigurationError, match="goes without since"):
            await runtime.events.history(since="", before="")
        some = await everything(runtime, "job:*ed", limit=2)
        assert some == [event for event in kept if event.matches("job:*ed")]
        of_session = (await runtime.events.history(session="s")).events
        assert of_session == [event for event in kept if event.session == "s"]
        assert await everything(runtime, "nothing is called so") == []


async def test_a_stream_from_a_place_goes_on_as_it_happens(make_runtime):
    async with make_runtime(event_history=10_000) as runtime:
        runtime.register(same, fails)
        await work(runtime, 1)
        (before,) = (await runtime.events.history(since="", limit=1)).events
        seen: list[Event] = []
        async with runtime.events(since=before.id) as stream, anyio.create_task_group() as tasks:

            async def read() -> None:
                async for event in stream:
                    seen.append(event)

            # Each event goes to one of them.
            for _ in range(3):
                tasks.start_soon(read)
            await work(runtime, 3)
            runtime.emit("end")
            await until(lambda: any(event.name == "end" for event in seen), "the end")
            kept = await everything(runtime, since=before.id)
            await until(lambda: len(seen) >= len(kept), "all events")
            tasks.cancel_scope.cancel()
        assert {event.id for event in seen} == {event.id for event in kept}
        assert len(seen) == len(kept)
        assert stream.dropped == 0


async def test_no_event_is_missed_or_doubled_where_connections_break(redis_url, redis_server):
    seen: list[Event] = []
    kept: list[Event] = []
    async with (
        open_fault_proxy(redis_server.url, listen="tcp") as proxy,
        QueueRuntime(redis_url, event_history=10_000) as worker,
        QueueRuntime(proxy.url, workers=False) as listener,
        anyio.create_task_group() as tasks,
    ):
        worker.register(same, fails)

        async def listen(*, task_status: Any) -> None:
            async with listener.events("job:*", since="") as stream:
                task_status.started()
                async for event in stream:
                    seen.append(event)

        await tasks.start(listen)
        for _ in range(3):
            proxy.set(Refuse())
            await proxy.reset_all()
            await work(worker, 1)
            proxy.heal()
            await work(worker, 1)
            await until(lambda: seen and seen[-1].job, "some events")
        kept = await everything(worker, "job:*")
        await until(lambda: len(seen) >= len(kept), "all events")
        tasks.cancel_scope.cancel()
    assert seen == kept


async def test_what_is_no_entry_of_ours_is_passed_over_and_counted(redis_url, redis_server):
    async with QueueRuntime(redis_url, event_history=100) as runtime:
        start = await runtime.node.store.chronicle.newest()
        runtime.emit("a")
        await until(lambda: redis_server.call("EXISTS", LOG), "an entry")
        for group in (b"\xc1", b"", msgspec.msgpack.encode(["e", 1, "", "", ["j"], ["s", "t"]])):
            redis_server.call("XADD", LOG, "*", "g", group)
        redis_server.call("XADD", LOG, "*", "other", "x", "g", "y")
        async with runtime.events("[ab]", since=start) as stream:
            runtime.emit("b")
            assert [(await stream.next()).name for _ in range(2)] == ["a", "b"]
            assert stream.dropped == 4
        page = await runtime.events.history("[ab]", since=start)
        assert ([event.name for event in page.events], page.unreadable) == (["a", "b"], 4)
        # Even where nothing else is there, the next page goes on behind them.
        page = await runtime.events.history("b", since=start, limit=1)
        assert (await runtime.events.history(since=page.last)).unreadable == 0
        page = await runtime.events.history("a", limit=1)
        assert ([event.name for event in page.events], page.unreadable) == (["a"], 4)


async def test_a_place_that_is_not_kept_any_more_is_said_to_be(redis_url, redis_server, caplog):
    async with LocalRuntime(event_history=2) as local, QueueRuntime(redis_url, event_history=50) as shared:
        for runtime in (local, shared):
            runtime.emit("first")
            await until_kept(runtime, "first")
            (first,) = (await runtime.events.history("first")).events
            for name in ("second", "third", "fourth"):
                runtime.emit(name)
                await until_kept(runtime, name)
            redis_server.call("XTRIM", LOG, "MAXLEN", "2")
            page = await runtime.events.history(since=first.id)
            assert page.gap
            assert [event.name for event in page.events] == ["third", "fourth"]
            with caplog.at_level(logging.WARNING, "am2z_trio.events"):
                async with runtime.events(since=first.id) as stream:
                    assert (await stream.next()).name == "third"
    said = [record.getMessage() for record in caplog.records if record.name == "am2z_trio.events"]
    assert len(said) == 2
    assert all("not kept any more" in text for text in said)


async def until_kept(runtime: Runtime, name: str) -> None:
    with anyio.fail_after(20):
        while name not in [event.name for event in await everything_there(runtime)]:
            await anyio.sleep(0.01)


async def everything_there(runtime: Runtime) -> list[Event]:
    page, found = await runtime.events.history(since="", limit=1_000), list[Event]()
    found += page.events
    while page.more:
        page = await runtime.events.history(since=page.last, limit=1_000)
        found += page.events
    return found


async def test_large_data_is_told_and_not_kept(make_runtime):
    async with make_runtime(event_history=100) as runtime:
        async with runtime.events("large") as stream:
            runtime.emit("large", "x" * MAX_KEPT_EVENT_BYTES)
            assert len((await stream.next()).data) == MAX_KEPT_EVENT_BYTES
        runtime.emit("small", "x" * (MAX_KEPT_EVENT_BYTES - 10))
        await until_kept(runtime, "small")
        large, small = (await runtime.events.history("*l*", limit=2)).events
        assert (large.name, large.data) == ("large", None)
        assert (small.name, len(small.data)) == ("small", MAX_KEPT_EVENT_BYTES - 10)


async def test_a_history_that_was_read_is_not_changed_by_its_reader(make_runtime):
    async with make_runtime(event_history=100) as runtime:
        runtime.emit("e", {"list": [1]})
        await until_kept(runtime, "e")
        for _ in range(2):
            (event,) = (await runtime.events.history("e")).events
            assert event.data == {"list": [1]}
            event.data["list"].append(2)


async def test_nothing_is_kept_unless_it_is_asked_for(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(same)
        await runtime.execute(same, 1)
        page = await runtime.events.history()
        assert (page.events, page.last, page.more, page.kept) == ([], "", False, False)
        with pytest.raises(ConfigurationError, match="event_history"):
            async with runtime.events(since=""):
                pass


async def test_all_nodes_go_by_what_was_said_last(redis_url, redis_server):
    async with QueueRuntime(redis_url) as early:
        early.register(same)
        await early.execute(same, 1)
        assert not redis_server.call("EXISTS", LOG)
        assert not redis_server.call("EXISTS", spell("am2z", "kept"))
        async with QueueRuntime(redis_url, event_history=50, workers=False) as says:
            await says.execute(same, 2)
            # Who has begun before goes by what was said then.
            names = {event.name for event in await everything(says, "job:*")}
            assert "job:enqueued" in names
            assert "job:completed" not in names
    async with QueueRuntime(redis_url) as later, QueueRuntime(redis_url, workers=False) as client:
        later.register(same)
        await client.execute(same, 3)
        kept = await everything(client, "job:*")
        assert [event.name for event in kept][-3:] == ["job:enqueued", "job:started", "job:completed"]
    async with QueueRuntime(redis_url, event_history=0) as none, QueueRuntime(redis_url) as last:
        last.register(same)
        await none.execute(same, 4)
        assert await everything(last, "job:*") == kept


async def test_the_history_is_bounded(redis_url, redis_server):
    async with QueueRuntime(redis_url, event_history=200) as runtime:
        runtime.register(same)
        for n in range(300):
            await runtime.execute(same, n)
        # Redis lets go of whole nodes of its streams only.
        assert 200 <= redis_server.call("XLEN", LOG) <= 400


async def test_events_of_many_jobs_are_few_entries(redis_url, redis_server):
    async with QueueRuntime(redis_url, event_history=1_000) as runtime:
        runtime.register(same)
        before = redis_server.call("XLEN", LOG)
        await runtime.execute_many(same, range(500))
        assert redis_server.call("XLEN", LOG) - before < 500
        assert len(await everything(runtime, "job:completed")) == 500


@pytest.mark.parametrize(
    "text", ["", "x", "1", "1-", "-1-1", "1-1-1", "1-1.", "1-1.x", " 1-1", "1-1\n", "9" * 40]
)
def test_what_is_no_place_is_refused(text):
    with pytest.raises(ConfigurationError, match="since"):
        Place.of(text)


def test_a_place_is_told_as_it_was_read():
    for text in ("0-0", "17-3", "17-3.0", "17-3.12"):
        assert str(Place.of(text)) == text
    assert str(Place.of("017-03.01")) == "17-3.1"


def test_groups_say_of_each_what_is_its_own():
    group = EventGroup("job:completed", 5, "n", "p", ["a", "b", "c"], ["s", "", "t"], [1, {"attempt": 2}])
    assert [(event.job, event.session, event.data) for event in group.events()] == [
        ("a", "s", {"attempt": 1}),
        ("b", "", {"attempt": 2}),
        ("c", "t", {"attempt": 1}),
    ]
    assert group.in_short() is group
    large = msgspec.structs.replace(group, data=[0, "x" * 5_000, 2, "small"])
    assert large.in_short().data == [2, "small"]
