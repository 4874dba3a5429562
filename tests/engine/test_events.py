"""Events: who hears what, what it costs, what is said of those that are lost."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from am2z_trio import ConfigurationError, Event, LocalRuntime, RuntimeStateError, processor
from am2z_trio.engine.events import buffer
from am2z_trio.engine.events.bus import Bus
from am2z_trio.engine.events.filters import Filters
from am2z_trio.engine.events.subscription import Subscription
from am2z_trio.engine.events.subscriptions import Subscriptions
from am2z_trio.model.limits import MAX_BUFFER_BYTES
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

MANY = 10_000


@processor
async def same(n: int) -> int:
    return n


# --- filters ------------------------------------------------------------------------------------


async def test_a_handler_may_ask_for_the_events_of_one_session_or_job(make_runtime):
    heard: dict[str, list[str]] = {name: [] for name in ("alice", "job", "both", "neither")}
    async with make_runtime() as runtime:
        runtime.register(same)
        runtime.on("job:*", lambda e: heard["alice"].append(e.session), session="alice")
        runtime.on("job:completed", lambda e: heard["job"].append(e.job), job="@alice/mine")
        runtime.on("job:completed", lambda e: heard["both"].append(e.job), session="alice", job="mine")
        runtime.on("job:completed", lambda e: heard["neither"].append(e.job), session="bob", job="mine")
        async with runtime.events("end") as stream:
            await runtime.execute(same, 1, session="bob")
            await runtime.execute(same, 2, session="alice")
            mine = await runtime.submit(same, 3, session="alice", job_id="mine")
            await mine.result()
            runtime.emit("end")
            await stream.next()
        with anyio.fail_after(10):
            while len(heard["alice"]) < 6 or not heard["job"] or not heard["both"]:
                await anyio.sleep(0.001)
    assert set(heard["alice"]) == {"alice"}
    assert len(heard["alice"]) == 2 * 3
    assert len(heard["job"]) == len(heard["both"]) == 1
    assert heard["neither"] == []


async def test_a_stream_may_ask_for_the_events_of_one_job_by_its_handle(make_runtime):
    hold = anyio.Event()

    @processor
    async def wait(n: int) -> int:
        await hold.wait()
        return n

    async with make_runtime() as runtime:
        runtime.register(wait)
        jobs = [await runtime.submit(wait, n, session="alice") for n in range(3)]
        async with (
            runtime.events("job:completed", job=jobs[1]) as one,
            runtime.events("job:completed", session="alice") as all_of_them,
            runtime.events(session="bob") as none,
        ):
            hold.set()
            with anyio.fail_after(10):
                first = [await all_of_them.next() for _ in jobs]
                event = await one.next()
            assert [told.job for told in first].count(event.job) == 1
            assert event.job == jobs[1].id
            assert len(none._source._buffer) == 0


@pytest.mark.parametrize("bad", [{"session": ""}, {"session": 3}, {"job": ""}, {"job": b"x"}])
async def test_a_filter_that_fits_nothing_is_refused(make_runtime, bad):
    async with make_runtime() as runtime:
        with pytest.raises(ConfigurationError):
            runtime.on("job:*", print, **bad)
        with pytest.raises(ConfigurationError):
            async with runtime.events("job:*", **bad):
                pass


async def test_off_takes_those_that_fit():
    runtime = LocalRuntime()

    def one(event: Event) -> None: ...
    def other(event: Event) -> None: ...

    runtime.on("x", one)
    runtime.on("x", one, session="alice")
    runtime.on("x", other, session="alice", job="j")
    runtime.on("x", other, session="bob")
    runtime.on("x*", one)
    assert runtime.off("x", session="nobody") == 0
    assert runtime.off("x", other, session="alice") == 1
    assert runtime.off("x", session="alice") == 1
    assert runtime.off("x", job="j") == 0
    assert runtime.off("x") == 2
    assert runtime.off("x*") == 1


# --- what it costs ------------------------------------------------------------------------------


class Asked:
    """A subscription, as far as finding it goes."""

    def __init__(self, pattern: str, session: str | None = None, job: str | None = None) -> None:
        self.pattern, self.session, self.job = pattern, session, job


class Counted(Event, frozen=True):
    """An event that counts how often it is compared with a pattern."""

    def matches(self, pattern: str) -> bool:
        comparisons.append(pattern)
        return super().matches(pattern)


comparisons: list[str] = []


@pytest.mark.parametrize(
    "kind",
    [
        lambda i: Asked(f"order:{i}"),
        lambda i: Asked("job:completed", session=f"s{i}"),
        lambda i: Asked("job:*", job=f"j{i}"),
        lambda i: Asked(f"order:{i}:*"),
        lambda i: Asked("job:*", session=f"s{i}", job="j7"),
    ],
    ids=["names", "sessions", "jobs", "globs", "both"],
)
async def test_an_event_is_compared_with_what_it_may_be_for_alone(kind):
    of_all = Subscriptions[Any]()
    asked = [kind(i) for i in range(MANY)]
    for one in (*asked, Asked("*"), Asked("job:completed", session="nobody")):
        of_all.add(one)
    comparisons.clear()
    name = asked[7].pattern.replace("*", "x")
    event = Counted(name, 0, session="s7", job="j7")
    found = list(of_all.find(event))
    assert asked[7] in found
    assert len(found) == 2
    assert len(comparisons) <= 2
    for one in asked:
        of_all.remove(one)
    assert [one.pattern for one in of_all.find(event)] == ["*"]


async def test_ten_thousand_handlers_are_called_for_their_own_events_alone(make_runtime):
    heard: list[tuple[int, str]] = []
    pushed: list[Subscription] = []
    push = Subscription.push

    def counted(self: Subscription, *args: Any) -> None:
        pushed.append(self)
        push(self, *args)

    runtime = make_runtime()
    for i in range(MANY // 10):
        runtime.on("said", lambda e, i=i: heard.append((i, e.data)), session=f"s{i}")
    runtime.on("said", lambda e: heard.append((-1, e.data)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Subscription, "push", counted)
        async with runtime:
            runtime._bus.emit(Event("said", 0, session="s7", data="x"))
            await until(lambda: len(heard) >= 2)
            mine = [one for one in pushed if one.pattern == "said"]
    assert sorted(heard) == [(-1, "x"), (7, "x")]
    assert len(mine) == 2


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("job:*", "job:done", True),
        ("job:*", "jobs", False),
        ("*", "anything", True),
        ("*:done", "job:done", True),
        ("j?b", "job", True),
        ("j[ou]b", "jub", True),
        ("j[ou]b", "j[ou]b", True),
        ("[", "[", True),
        ("job", "job", True),
        ("job", "jobs", False),
        ("", "job", False),
    ],
)
async def test_the_index_says_what_a_comparison_says(pattern, name, fits):
    of_all = Subscriptions[Any]()
    one = Asked(pattern)
    of_all.add(one)
    assert list(of_all.find(Event(name, 0))) == ([one] if fits else [])
    assert Event(name, 0).matches(pattern) is fits
    of_all.remove(one)
    of_all.remove(one)
    assert len(of_all) == 0


# --- readers, and handlers that come and go ------------------------------------------------------


async def test_two_readers_of_one_stream_both_wake(make_runtime):
    got: dict[str, Any] = {}

    async def read(who: str) -> None:
        got[who] = (await stream.next()).data

    async with make_runtime() as runtime, runtime.events("said") as stream:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, "one")
                tasks.start_soon(read, "other")
                await anyio.wait_all_tasks_blocked()
                runtime.emit("said", 1)
                runtime.emit("said", 2)
    assert sorted(got.values()) == [1, 2]


async def test_a_reader_that_is_cancelled_as_it_is_woken_leaves_the_event_to_another():
    async with LocalRuntime() as runtime, runtime.events("said") as stream:
        got: list[Any] = []

        async def first() -> None:
            with scope:
                await stream.next()

        async def second() -> None:
            got.append((await stream.next()).data)

        scope = anyio.CancelScope()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(first)
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(second)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
                runtime._bus.deliver(Event("said", 0, data=1))
        assert got == [1]


async def test_who_still_reads_when_the_block_is_left_is_told(make_runtime):
    ends: list[str] = []

    async def iterate() -> None:
        async for _ in stream:
            pass
        ends.append("over")

    async def wait() -> None:
        with pytest.raises(RuntimeStateError, match="was left"):
            await stream.next()
        ends.append("told")

    async with make_runtime() as runtime:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks, runtime.events("said") as stream:
                tasks.start_soon(iterate)
                tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
    assert sorted(ends) == ["over", "told"]


async def test_a_handler_that_takes_itself_off_goes_on_to_its_end(make_runtime):
    calls: list[str] = []
    ended = anyio.Event()

    async def once(event: Event) -> None:
        calls.append("begun")
        assert runtime.off("said", once) == 1
        await anyio.lowlevel.checkpoint()
        calls.append("ended")
        ended.set()

    async with make_runtime() as runtime:
        tasks = len(anyio.get_running_tasks())
        runtime.on("said", once)
        async with runtime.events("said") as stream:
            for n in range(3):
                runtime.emit("said", n)
            with anyio.fail_after(10):
                for _ in range(3):
                    await stream.next()
                await ended.wait()
                await until(lambda: len(anyio.get_running_tasks()) <= tasks)
    assert calls == ["begun", "ended"]


async def test_off_from_elsewhere_ends_a_call_that_is_under_way(make_runtime):
    begun, ended = anyio.Event(), anyio.Event()

    async def stuck(event: Event) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with make_runtime() as runtime:
        runtime.on("said", stuck)
        runtime.emit("said")
        with anyio.fail_after(10):
            await begun.wait()
            assert runtime.off("said", stuck) == 1
            await ended.wait()


async def test_on_and_off_at_once_leaves_nothing_behind(make_runtime):
    heard: list[Any] = []
    async with make_runtime() as runtime:
        await anyio.wait_all_tasks_blocked()
        tasks = len(anyio.get_running_tasks())
        for _ in range(100):
            runtime.on("said", heard.append)
            assert runtime.off("said", heard.append) == 1
        async with runtime.events("said") as stream:
            runtime.emit("said")
            with anyio.fail_after(10):
                await stream.next()
                await until(lambda: len(anyio.get_running_tasks()) <= tasks)
        assert len(runtime._bus._subscriptions) == 0
    assert heard == []


async def test_a_handler_with_much_to_catch_up_with_leaves_others_their_turn():
    heard: list[int] = []
    turns: list[int] = []

    async def other() -> None:
        while len(heard) < MANY // 10:
            turns.append(len(heard))
            await anyio.lowlevel.checkpoint()

    async with LocalRuntime() as runtime:
        runtime.on("said", lambda event: heard.append(event.data))
        for n in range(MANY // 10):
            runtime._bus.deliver(Event("said", 0, data=n))
        with anyio.fail_after(10):
            await other()
    assert len(set(turns)) > 5


# --- what is lost -------------------------------------------------------------------------------


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]


async def test_dropped_events_are_told_once_a_second_and_all_of_them(caplog, monkeypatch):
    monkeypatch.setattr(buffer, "BUFFER", 10)
    clock, of_node = Clock(), Bus()
    monkeypatch.setattr(buffer, "monotonic", clock.now)
    for second in range(3):
        clock.time = 100.0 + second
        for n in range(1000):
            clock.time += 0.0005
            of_node.emit(Event("said", 0, data=n))
    assert len(lines(caplog)) == 3
    counted = [int(line.split()[0]) for line in lines(caplog)]
    assert counted[0] == 1
    assert sum(counted) + of_node._unsent._unlogged == 3000 - 10
    clock.time += 1
    of_node._unsent.log()
    assert sum(int(line.split()[0]) for line in lines(caplog)) == 3000 - 10
    assert "emitted faster than they can be published" in lines(caplog)[0]


@pytest.mark.parametrize("handler", [None, print], ids=["stream", "handler"])
async def test_what_a_slow_reader_loses_is_told_once_a_second(caplog, monkeypatch, handler):
    monkeypatch.setattr(buffer, "BUFFER", 10)
    clock, one = Clock(), Subscription(Filters("said:*"), handler)
    monkeypatch.setattr(buffer, "monotonic", clock.now)
    for n in range(500):
        clock.time = n / 250
        one.push(Event("said:x", 0, data=n), 100)
    assert len(lines(caplog)) == 2
    one.close()
    assert sum(int(line.split()[0]) for line in lines(caplog)) == one.dropped == 490
    word = "stream" if handler is None else "handler"
    assert lines(caplog)[0] == f"1 events of 'said:*' were dropped: a {word} is too slow"


async def test_what_is_dropped_after_a_last_word_is_told_too(caplog, monkeypatch):
    """A runtime may be entered again, on another host with another clock."""
    monkeypatch.setattr(buffer, "BUFFER", 1)
    of_node = Bus()
    for times in (1, 2):
        for n in range(3):
            of_node.emit(Event("said", 0, data=n))
        of_node._unsent.log(at_once=True)
        counted = [int(line.split()[0]) for line in lines(caplog)]
        assert sum(counted) == 3 * times - 1


async def test_large_events_are_bounded_in_bytes_and_told(caplog):
    one = Subscription(Filters("said"))
    for n in range(100):
        one.push(Event("said", 0, data=n), MAX_BUFFER_BYTES // 10)
    assert one.dropped == 90
    assert len(lines(caplog)) == 1
