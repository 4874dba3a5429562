"""Code that keeps the event loop to itself is told of, with its name, time and place; nobody else is."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from am2z_trio import Context, ProcessorTimeoutError, processor
from am2z_trio.concurrency._asyncio import AsyncioHost
from am2z_trio.concurrency._trio import TrioHost
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.execution.lines import other_threads
from am2z_trio.engine.work import blocked, hogs
from am2z_trio.engine.work.blocked import BlockedPlaces, Place
from am2z_trio.engine.work.hogs import Hogs
from tests.support.desks import admin
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio


class Heard(logging.Handler):
    """What the log has said of hogs; a job can wait for it, event loop or not."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []
        self.spoken = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "seconds"):
            self.records.append(record)
            self.spoken.set()

    def said(self) -> list[tuple[str, str]]:
        return [(one.processor, one.getMessage()) for one in self.records]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    monkeypatch.setattr(hogs, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(blocked, "TOLD_EVERY", 0)
    handler = Heard()
    logger = logging.getLogger("am2z_trio.jobs")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def compute(heard: Heard) -> None:
    """Block until somebody has said so."""
    assert heard.spoken.wait(20)


async def test_it_is_told_while_it_lasts_and_where_it_is(make_runtime, heard):
    @processor(timeout=0.05)
    async def crunch(n: int) -> int:
        compute(heard)
        return n

    async with make_runtime() as runtime:
        runtime.register(crunch)
        result = await runtime.execute(crunch, 1, session="alice")
    record = heard.records[0]
    assert (record.levelno, record.processor, record.session) == (logging.WARNING, "crunch", "alice")
    assert record.job == result.metadata.job_id
    assert 0 < record.seconds < 20
    line, _, place = record.getMessage().partition("\n")
    assert line.startswith("'crunch' has run for ")
    assert ", its limit is 0.05 s, and it keeps the event loop to itself: no scope can stop " in line
    assert "in crunch" in place
    assert "in compute" in place
    assert "am2z_trio/engine" not in place
    if len(heard.records) > 1:
        assert "it has kept the event loop to itself" in heard.records[1].getMessage()


async def test_its_end_is_told_too_where_it_was_cancelled_late(make_runtime, heard):
    @processor(timeout=0.05)
    async def crunch(n: int) -> int:
        compute(heard)
        time.sleep(hogs.LATE)
        await anyio.sleep_forever()
        return n

    async with make_runtime() as runtime:
        runtime.register(crunch)
        result = await runtime.execute(crunch, 1)
    assert type(result.error) is ProcessorTimeoutError
    (_, first), (_, last) = heard.said()
    assert "keeps the event loop to itself" in first
    assert last.startswith("'crunch' has run for 0.")
    assert "longer than its limit of 0.05 s" in last
    assert "it has kept the event loop to itself" in last
    assert heard.records[1].seconds >= 0.05 + hogs.LATE


async def test_what_nobody_has_seen_is_told_at_its_end(make_runtime, heard, monkeypatch):
    monkeypatch.setattr(hogs, "LOOK_EVERY", 3600)

    @processor(timeout=0.01)
    async def crunch(n: int) -> int:
        time.sleep(0.01 + 1.5 * hogs.LATE)
        if n == 2:
            raise ValueError("in the end")
        return n

    async with make_runtime() as runtime:
        runtime.register(crunch)
        assert (await runtime.execute(crunch, 1)).success
        assert not (await runtime.execute(crunch, 2)).success
    assert [name for name, _ in heard.said()] == ["crunch", "crunch"]
    assert all("did not await, or was shielded" in text for _, text in heard.said())


async def test_others_that_are_late_for_it_are_not_blamed(make_runtime, heard):
    waiting = anyio.Event()

    @processor(timeout=0.05)
    async def crunch(n: int) -> int:
        await waiting.wait()
        compute(heard)
        time.sleep(2 * hogs.LATE)
        return n

    @processor(timeout=0.05)
    async def wait(n: int) -> int:
        waiting.set()
        await anyio.sleep_forever()
        return n

    async with make_runtime() as runtime:
        runtime.register(crunch, wait)
        jobs = [await runtime.submit(crunch, 1), *[await runtime.submit(wait, n) for n in range(3)]]
        for job in jobs:
            await job.result()
    assert {name for name, _ in heard.said()} <= {"crunch"}


@pytest.mark.parametrize("how", ["a task group", "ctx.nursery", "inline"])
async def test_what_a_job_starts_is_told_as_its_own(make_runtime, heard, how):
    async def hog() -> None:
        await anyio.lowlevel.checkpoint()
        compute(heard)

    @processor(timeout=0.05)
    async def within(n: int) -> int:
        compute(heard)
        return n

    @processor(timeout=0.05)
    async def crunch(n: int, ctx: Context) -> int:
        if how == "a task group":
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hog)
        elif how == "ctx.nursery":
            ctx.nursery.start_soon(hog)
        else:
            await ctx.call(within, n, inline=True)
        return n

    async with make_runtime() as runtime:
        runtime.register(crunch, within)
        await runtime.execute(crunch, 1)
    name, text = heard.said()[0]
    assert name == ("within" if how == "inline" else "crunch")
    assert "keeps the event loop to itself" in text
    assert "in compute" in text


async def test_what_a_plain_function_returns_and_the_loop_awaits_is_told_too(make_runtime, heard):
    async def later(n: int) -> int:
        compute(heard)
        time.sleep(hogs.LATE)
        return n

    @processor(timeout=0.05)
    def crunch(n: int) -> int:
        return later(n)  # type: ignore[return-value]

    async with make_runtime() as runtime:
        runtime.register(crunch)
        await runtime.execute(crunch, 1)
    assert [name for name, _ in heard.said()] == ["crunch", "crunch"]


async def test_without_a_timeout_it_is_told_after_a_while(make_runtime, heard):
    @processor
    async def crunch(n: int) -> int:
        compute(heard)
        return n

    async with make_runtime(blocked_after=0.1) as runtime:
        runtime.register(crunch)
        await runtime.execute(crunch, 1)
        (place,) = (await runtime.health()).figures.blocked
        finding = next(one for one in await admin(runtime).findings() if one.code == "loop_blocked")
    ((name, text),) = heard.said()
    assert name == "crunch"
    assert "limit" not in text.partition("\n")[0]
    assert (place.processor, place.file, place.function, place.times) == ("crunch", __file__, "compute", 1)
    assert place.longest > 0.1
    assert (finding.about, finding.target, finding.severity) == ("queue", "crunch", "warning")
    assert f" at {__file__}:{place.line} on " in finding.text


async def test_a_place_is_told_once_a_minute_and_counted(make_runtime, heard, monkeypatch):
    monkeypatch.setattr(blocked, "TOLD_EVERY", 60)
    watch: list[Hogs] = []

    @processor
    async def crunch(n: int) -> int:
        while sum(one.times for one in watch[0].blocked()) <= n:
            time.sleep(0.001)
        return n

    async with make_runtime(blocked_after=0.05) as runtime:
        watch.append(runtime.node.hogs)
        runtime.register(crunch)
        for n in range(3):
            await runtime.execute(crunch, n)
        assert sum(one.times for one in watch[0].blocked()) == 3
    assert len(heard.records) == 1


def test_what_was_not_told_is_counted_when_it_is_and_places_are_bounded(monkeypatch):
    places, place = BlockedPlaces(), Place("p", "f.py", 1, "f")
    assert [places.begin(place, now) for now in (0.0, 1.0, 2.0, 61.0, 62.0)] == [0, None, None, 2, None]
    places.lasts(place, 63.0, 7.5)
    places.lasts(place, 64.0, 1.0)
    (seen,) = places.lately(70.0)
    assert (seen.times, seen.longest, seen.ago) == (5, 7.5, 6.0)
    assert places.lately(64.0 + blocked.REMEMBERED_FOR) == []
    for line in range(2 * blocked.MOST_PLACES):
        places.begin(Place("p", "f.py", line, "f"), 100.0)
    assert len(places._seen) == blocked.MOST_PLACES
    assert len(places.lately(100.0)) == blocked.MOST_SHOWN
    places.lasts(place, 100.0, 1.0)


async def test_a_process_that_stood_still_blames_no_job():
    suspect = hogs._Suspect(Claim.__new__(Claim), 0.0)
    for now in (0.2, 100.0, 100.2):
        suspect.look(now)
    assert suspect.kept == pytest.approx(0.4 + 2 * hogs.LOOK_EVERY)


async def test_who_lets_others_have_their_turn_is_not_told(make_runtime, heard, monkeypatch):
    looks: list[int] = []
    look = Hogs._look

    def counted(self: Hogs, *args: Any) -> Any:
        looks.append(1)
        return look(self, *args)

    monkeypatch.setattr(Hogs, "_look", counted)

    @processor
    async def polite(n: int) -> int:
        while len(looks) < n:
            time.sleep(0.001)
            await anyio.lowlevel.checkpoint()
        return n

    @processor
    def in_thread(n: int) -> int:
        while len(looks) < n:
            time.sleep(0.001)
        return n

    async with make_runtime(blocked_after=0.5) as runtime:
        runtime.register(polite, in_thread)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.execute, polite, 40)
            tasks.start_soon(runtime.execute, in_thread, 40)
    assert len(looks) * hogs.LOOK_EVERY > 0.5
    assert heard.said() == []


async def test_a_log_handler_that_raises_does_not_end_the_watch(make_runtime, heard, monkeypatch):
    emit = heard.emit

    def raises(record: logging.LogRecord) -> None:
        emit(record)
        raise SystemExit(3)

    monkeypatch.setattr(heard, "emit", raises)

    @processor(timeout=0.05)
    async def crunch(n: int) -> int:
        heard.spoken.clear()
        compute(heard)
        return n

    async with make_runtime() as runtime:
        runtime.register(crunch)
        for n in range(2):
            await runtime.execute(crunch, n)
        assert (await runtime.connection.check_health()).healthy


async def test_a_watch_that_fails_ends_no_node_and_goes_on(make_runtime, heard, monkeypatch):
    real, failed = Hogs._look, list[int]()

    def fails_at_first(*args: Any) -> Any:
        if len(failed) < 3:
            failed.append(1)
            raise RuntimeError("dictionary changed size during iteration")
        return real(*args)

    monkeypatch.setattr(Hogs, "_look", fails_at_first)

    @processor(timeout=0.05)
    async def crunch(n: int) -> int:
        compute(heard)
        return n

    async with make_runtime() as runtime:
        runtime.register(crunch)
        assert (await runtime.execute(crunch, 1)).success
    assert len(failed) == 3
    assert "keeps the event loop to itself" in heard.records[0].getMessage()


async def test_a_process_that_has_no_thread_left_runs_a_node_without_a_watch(
    make_runtime, anyio_backend, monkeypatch, caplog
):
    asked = list[int]()

    async def run_in_thread(self: Any, fn: Any, *args: Any) -> Any:
        if fn.__qualname__.startswith(Hogs.__name__):
            asked.append(1)
            raise RuntimeError("can't start new thread")
        return await real(self, fn, *args)

    host = TrioHost if anyio_backend == "trio" else AsyncioHost
    real = host.run_in_thread
    monkeypatch.setattr(host, "run_in_thread", run_in_thread)

    @processor
    async def plain(n: int) -> int:
        await anyio.lowlevel.checkpoint()
        return n

    async with make_runtime() as runtime:
        runtime.register(plain)
        assert (await runtime.execute(plain, 1)).unwrap() == 1
        await until(lambda: asked)
        assert (await runtime.execute(plain, 2)).unwrap() == 2
        assert runtime.is_started
    told = [one.getMessage() for one in caplog.records if "can't start new thread" in one.getMessage()]
    assert len(asked) == len(told) == 1


async def test_what_was_seen_is_forgotten_while_the_loop_forgets_it_too(make_runtime):
    class Emptied(dict[Any, float]):
        """As it is for one thread when another one takes out all that it was about to."""

        def __iter__(self) -> Iterator[Any]:
            self.clear()
            return super().__iter__()

    async with make_runtime() as runtime:
        watch = runtime.node.hogs
        watch._seen = Emptied.fromkeys(range(2 * hogs.REMEMBERED), 0.0)
        watch._remember("one", 0.0)
        watch._seen = dict.fromkeys(range(2 * hogs.REMEMBERED), 0.0)
        watch._remember("one", 0.0)
        assert [*watch._seen] == [*range(hogs.REMEMBERED + 1, 2 * hogs.REMEMBERED), "one"]


def test_a_look_at_other_threads_keeps_nothing_of_theirs_for_pythons_collector():
    class Held:
        """What a thread has in hand."""

    known, seen, over = list[weakref.ref[Held]](), threading.Event(), threading.Event()

    def works() -> None:
        held = Held()
        known.append(weakref.ref(held))
        seen.set()
        over.wait(PATIENCE)

    def looks() -> None:
        frames = other_threads()
        assert thread.ident in frames
        assert threading.get_ident() not in frames

    thread = threading.Thread(target=works)
    thread.start()
    assert seen.wait(PATIENCE)
    gc.disable()
    try:
        looks()
        over.set()
        thread.join()
        assert known[0]() is None
    finally:
        gc.enable()
