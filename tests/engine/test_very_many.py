"""Very many jobs of one caller: none needs a task of its own, and each turn of the loop works on some."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from am2z_trio import (
    Context,
    JobCancelledError,
    LocalRuntime,
    ParallelError,
    Payload,
    QueueOptions,
    ResourceError,
    RetryPolicy,
    Session,
    batch,
    parallel,
    processor,
)
from am2z_trio.concurrency import current_host
from am2z_trio.engine.sessions.session import KEPT
from am2z_trio.engine.submission.job import read_result
from am2z_trio.engine.submission.leaving import LEFT_AT_ONCE
from am2z_trio.engine.submission.preparation import Preparation
from am2z_trio.engine.submission.submissions import AT_ONCE, CALLER_GONE
from am2z_trio.model.codec import encode_record
from am2z_trio.model.ids import child_id
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

MANY = 10 * AT_ONCE


TWO_TURNS = 2
"""Tasks have their turns in any order: between two of the one that watches, another may have two."""


class Turns:
    """What happens between two turns of one task, at most."""

    def __init__(self) -> None:
        self._now: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.tasks = 0

    def count(self, what: str) -> None:
        self._now[what] = self._now.get(what, 0) + 1
        self.most[what] = max(self.most.get(what, 0), self._now[what])

    async def watch(self) -> None:
        while True:
            await current_host().checkpoint()
            self._now.clear()
            self.tasks = max(self.tasks, len(anyio.get_running_tasks()))


@asynccontextmanager
async def watched(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Turns]:
    """Count what is submitted, and which outcomes are read, in each turn of the loop."""
    turns = Turns()
    prepare = Preparation.prepare

    async def counted_prepare(self: Preparation, *args: Any) -> Any:
        turns.count("submitted")
        return await prepare(self, *args)

    def counted_read(*args: Any, **named: Any) -> Any:
        turns.count("read")
        return read_result(*args, **named)

    monkeypatch.setattr(Preparation, "prepare", counted_prepare)
    monkeypatch.setattr("am2z_trio.engine.submission.job.read_result", counted_read)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns.watch)
        yield turns
        tasks.cancel_scope.cancel()


@processor
async def plus_one(n: int) -> int:
    return n + 1


total = batch("total", plus_one, range, merge=lambda n, found: sum(found), state_type=int)


async def test_a_batch_of_very_many_submits_and_reads_some_in_each_turn_of_the_loop(monkeypatch):
    async with watched(monkeypatch) as turns, LocalRuntime() as runtime:
        runtime.register(total)
        assert (await runtime.execute(total, MANY)).unwrap() == MANY * (MANY + 1) // 2
    # And the caller of the batch itself.
    assert turns.most["submitted"] <= TWO_TURNS * AT_ONCE + 1
    assert turns.most["read"] <= TWO_TURNS * AT_ONCE + 1
    assert turns.tasks < AT_ONCE


async def test_very_many_states_are_submitted_and_read_some_in_each_turn_of_the_loop(monkeypatch):
    async with watched(monkeypatch) as turns, LocalRuntime() as runtime:
        runtime.register(plus_one)
        results = await runtime.execute_many(plus_one, range(MANY))
        assert [result.unwrap() for result in results] == list(range(1, MANY + 1))
    assert turns.most["submitted"] <= TWO_TURNS * AT_ONCE
    assert turns.most["read"] <= TWO_TURNS * AT_ONCE


@pytest.mark.parametrize("how", ["batch", "execute_many"])
async def test_very_many_that_are_cancelled_are_let_go_some_in_each_turn_of_the_loop(monkeypatch, how):
    @processor(queue=QueueOptions(concurrency=2))
    async def never(n: int) -> int:
        await anyio.sleep_forever()
        return n

    all_of_them = batch("all of them", never, range, merge=lambda n, found: n, state_type=int)
    async with watched(monkeypatch) as turns, LocalRuntime() as runtime:
        runtime.register(all_of_them)
        store = runtime._running().store  # pyright: ignore[reportPrivateUsage]
        cancel = store.cancel_nowait

        def counted(job: str, reason: str) -> None:
            turns.count("taken back")
            cancel(job, reason)

        monkeypatch.setattr(store, "cancel_nowait", counted)
        async with anyio.create_task_group() as tasks:
            if how == "batch":
                tasks.start_soon(runtime.execute, all_of_them, MANY)
            else:
                tasks.start_soon(runtime.execute_many, never, range(MANY))
            while (stats := (await runtime.get_queue_stats())["never"]).waiting + stats.active < MANY:
                await current_host().checkpoint()
            tasks.cancel_scope.cancel()
        while (stats := (await runtime.get_queue_stats())["never"]).cancelled < MANY:
            await current_host().checkpoint()
        assert (stats.waiting, stats.active, stats.completed) == (0, 0, 0)
        while runtime.get_stats().waiting_callers:
            await current_host().checkpoint()
    assert turns.most["taken back"] <= TWO_TURNS * LEFT_AT_ONCE + 1
    assert turns.tasks < AT_ONCE


async def test_the_first_that_fails_ends_a_batch_and_the_others(make_runtime):
    begun = anyio.Event()

    @processor(queue=QueueOptions(concurrency=20))
    async def odd(n: int) -> int:
        if n == 7:
            await begun.wait()
            raise OSError("seven")
        if n == 19:
            begun.set()
        await anyio.sleep_forever()
        return n

    def loads(n: int) -> Iterable[Any]:
        return [i if i % 3 else Payload(i, f"s{i}") for i in range(n)]

    for inline in (False, True):
        begun = anyio.Event()
        name = f"odd ones {inline}"
        hasty = batch(name, odd, loads, merge=lambda n, found: n, state_type=int, inline=inline)
        async with make_runtime() as runtime:
            runtime.register(hasty)
            with anyio.fail_after(20):
                if inline:
                    begun.set()
                error = (await runtime.execute(hasty, 20)).error
                assert isinstance(error, ParallelError)
                assert "odd[7]" in error.message
                assert "1 of 20" in error.message
                while (stats := (await runtime.get_queue_stats())["odd"]).active + stats.waiting:
                    await anyio.sleep(0.005)


async def test_a_batch_that_is_run_again_runs_only_what_has_not_completed(make_runtime):
    runs: list[int] = []
    merged: list[list[int]] = []

    @processor
    async def once(n: int) -> int:
        runs.append(n)
        if n == 3 and runs.count(3) == 1:
            raise OSError("first time")
        return -n

    def merge(n: int, found: list[int]) -> int:
        merged.append(found)
        if len(merged) == 1:
            raise OSError("not yet")
        return sum(found)

    again = RetryPolicy(max_attempts=3, backoff=0.01)
    thrice = batch("thrice", once, lambda n: range(n + 1), merge=merge, state_type=int, retry=again)
    async with make_runtime() as runtime:
        runtime.register(thrice)
        with anyio.fail_after(20):
            assert (await runtime.execute(thrice, 3)).unwrap() == -6
    assert merged == [[0, -1, -2, -3]] * 2
    assert runs.count(3) == 2
    assert len(runs) <= 8


async def test_one_of_many_whose_earlier_run_was_given_up_is_run_anew(make_runtime):
    begun, let_go = [anyio.Event(), anyio.Event()], anyio.Event()
    runs: list[int] = []

    @processor
    async def slow(n: int) -> int:
        runs.append(n)
        begun[len(runs) - 1].set()
        await let_go.wait()
        return n

    both = batch("one of them", slow, lambda n: [n], merge=lambda n, found: found[0], state_type=int)
    async with make_runtime() as runtime:
        runtime.register(both)
        with anyio.fail_after(20):
            job = await runtime.submit(both, 5)
            await begun[0].wait()
            child = child_id(job.id, "0", "slow", encode_record(5))
            assert await runtime._cancel(child, CALLER_GONE) == "active"  # pyright: ignore[reportPrivateUsage]
            await begun[1].wait()
            let_go.set()
            assert (await job.result()).unwrap() == 5
            assert runs == [5, 5]


async def test_one_of_many_that_somebody_cancels_fails_its_batch(make_runtime):
    begun = anyio.Event()

    @processor
    async def slow(n: int) -> int:
        begun.set()
        await anyio.sleep_forever()
        return n

    one = batch("one", slow, lambda n: [n], merge=lambda n, found: found[0], state_type=int)
    async with make_runtime() as runtime:
        runtime.register(one)
        with anyio.fail_after(20):
            job = await runtime.submit(one, 5)
            await begun.wait()
            child = child_id(job.id, "0", "slow", encode_record(5))
            await runtime._cancel(child, "enough")  # pyright: ignore[reportPrivateUsage]
            error = (await job.result()).error
    assert isinstance(error, ParallelError)
    assert isinstance(error.causes[0], JobCancelledError)


async def test_the_limit_of_calls_counts_each_of_very_many(make_runtime, monkeypatch):
    monkeypatch.setattr("am2z_trio.engine.execution.calls.MAX_CALLS", 5)
    collected = parallel("collected", [plus_one] * 7, collect=True)

    @processor
    async def calls_twice(n: int, ctx: Context) -> int:
        found = await ctx.call(total, 2, inline=True)
        return await ctx.call(total, found, inline=True)

    async with make_runtime() as runtime:
        runtime.register(total, collected, calls_twice)
        assert (await runtime.execute(total, 5)).unwrap() == 15
        error = (await runtime.execute(collected, 1)).error
        assert isinstance(error, ParallelError)
        assert [type(cause) for cause in error.causes] == [ResourceError] * 2
        assert "plus_one[5]" in error.message
        # Those of compositions that are run inline count as the job's own: here 1 + 2 + 1 + 3.
        error = (await runtime.execute(calls_twice, 1)).error
        assert isinstance(error, ParallelError)
        assert isinstance(error.causes[0], ResourceError)


async def test_a_batch_whose_parts_are_batches_goes_on_where_one_may_run_at_a_time(make_runtime):
    @processor(queue=QueueOptions(global_concurrency=1, concurrency=1))
    async def down(n: int, ctx: Context) -> int:
        return 1 if n == 0 else await ctx.call(spread, n)

    def merge(n: int, found: list[int]) -> int:
        return sum(found)

    spread = batch(
        "spread",
        down,
        lambda n: [n - 1] * 2,
        merge=merge,
        state_type=int,
        queue=QueueOptions(global_concurrency=1, concurrency=1),
    )
    async with make_runtime() as runtime:
        runtime.register(spread)
        with anyio.fail_after(30):
            assert (await runtime.execute(spread, 3)).unwrap() == 8


async def test_a_session_that_is_open_for_long_keeps_no_jobs_that_have_ended(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        async with runtime.session("alice") as session:
            most = 0
            for _ in range(5):
                jobs = [await session.submit(plus_one, n) for n in range(KEPT // 2)]
                for job in jobs:
                    await job.result()
                most = max(most, len(session._submitted))  # pyright: ignore[reportPrivateUsage]
            assert most <= KEPT


async def test_what_is_submitted_while_a_session_s_block_is_left_is_waited_for_too(make_runtime):
    let_go = [anyio.Event(), anyio.Event()]
    ended: list[int] = []

    @processor
    async def slow(n: int) -> int:
        await let_go[n].wait()
        ended.append(n)
        return n

    async with make_runtime() as runtime, anyio.create_task_group() as tasks:
        runtime.register(slow)

        async def submit_late(session: Session) -> None:
            await anyio.wait_all_tasks_blocked()
            await session.submit(slow, 1)
            let_go[0].set()
            await until(lambda: ended)
            await anyio.wait_all_tasks_blocked()
            let_go[1].set()

        with anyio.fail_after(20):
            async with runtime.session("alice") as session:
                await session.submit(slow, 0)
                tasks.start_soon(submit_late, session)
            assert ended == [0, 1]
