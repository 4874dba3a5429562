"""Jobs that work on one session's state: one after the other, each on what the one before has left."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest
import trio

from am2z_trio import (
    ConfigurationError,
    Context,
    LocalRuntime,
    QueueOptions,
    QueueRuntime,
    RateLimit,
    StateConflictError,
    processor,
)

on_both_hosts = pytest.mark.anyio


@pytest.mark.trio
async def test_a_hundred_jobs_of_a_second_on_one_session_all_succeed(autojump_clock):
    running, most, runs = 0, 0, 0

    @processor
    async def add(n: int) -> int:
        nonlocal running, most, runs
        running, runs = running + 1, runs + 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1
        return n + 1

    async with LocalRuntime() as runtime:
        runtime.register(add)
        await runtime.state.set("s", 0)

        async def one() -> None:
            assert (await runtime.execute(add, session="s")).success

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(one)
        found = await runtime.state.get("s")
    assert found is not None
    assert found.state == 100
    assert (most, runs) == (1, 100)


@on_both_hosts
async def test_they_take_turns_over_several_workers_and_other_sessions_pass_them(redis_url):
    running: dict[str, int] = {}
    most = runs = 0

    @processor(queue=QueueOptions(concurrency=4))
    async def add(n: int, ctx: Context) -> int:
        nonlocal most, runs
        session = ctx.session_id or ""
        running[session] = running.get(session, 0) + 1
        runs += 1
        most = max(most, running[session])
        await anyio.sleep(0.01)
        running[session] -= 1
        return n + 1

    @processor
    async def also(n: int, ctx: Context) -> int:
        return await ctx.call(add, n, inline=True)

    async with QueueRuntime(redis_url) as one, QueueRuntime(redis_url) as other:
        for runtime in (one, other):
            runtime.register(add, also)
        for session in ("s", "t"):
            await one.state.set(session, 0)

        async def ask(runtime: QueueRuntime, name: Any, session: str) -> None:
            assert (await runtime.execute(name, session=session)).success

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for n in range(40):
                    tasks.start_soon(ask, (one, other)[n % 2], (add, also)[n % 3 == 0], "st"[n % 4 == 0])
        found = [await one.state.get(session) for session in ("s", "t")]
    assert [record.state for record in found if record is not None] == [30, 10]
    assert (most, runs) == (1, 40)


@pytest.mark.trio
async def test_what_is_run_again_sees_the_state_as_it_is_when_it_asks(autojump_clock):
    seen: list[int] = []

    @processor(queue=QueueOptions(limiter=RateLimit(max=1, duration=10)))
    async def copies(n: int, ctx: Context) -> int:
        seen.append(await ctx.state.read(int))
        await trio.sleep(1)
        return n

    async with LocalRuntime(max_conflicts=3) as runtime:
        runtime.register(copies)
        await runtime.state.set("s", 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.execute, copies, 7)  # uses the first start of the limit
            job = await runtime.submit(copies, 8, session="s")
            # At 10 s it reads; at 11 s it conflicts, and it has to wait for its next start until 20 s.
            await trio.sleep(10.5)
            await runtime.state.set("s", 1)
            await trio.sleep(4)
            await runtime.state.set("s", 2)
            assert (await job.result()).success
        found = await runtime.state.get("s")
    assert found is not None
    assert found.state == 8
    assert seen == [0, 2]


@pytest.mark.trio
async def test_a_run_after_a_conflict_is_a_start_of_the_rate_limit(autojump_clock):
    begun: list[float] = []

    @processor(queue=QueueOptions(limiter=RateLimit(max=2, duration=10)))
    async def slow(n: int) -> int:
        begun.append(trio.current_time())
        await trio.sleep(0.5)
        if len(begun) < 6:
            await runtime.state.set("s", 100 * len(begun))
        return n + 1

    async with LocalRuntime() as runtime:
        runtime.register(slow)
        await runtime.state.set("s", 0)
        assert (await runtime.execute(slow, session="s")).unwrap() == 501
    assert len(begun) == 6
    assert all(later - earlier > 9.9 for earlier, later in zip(begun, begun[2:], strict=False))


@on_both_hosts
async def test_a_state_that_never_stands_still_fails_the_job_at_last(make_runtime):
    @processor
    async def hopeless(n: int) -> int:
        await runtime.state.update("s", lambda found: found + 1)
        return n

    async with make_runtime(max_conflicts=3) as runtime:
        runtime.register(hopeless)
        await runtime.state.set("s", 0)
        result = await runtime.execute(hopeless, session="s")
        found = await runtime.state.get("s")
    assert isinstance(result.error, StateConflictError)
    assert "moved 4 times" in result.error.message
    assert found is not None
    assert found.state == 4


@on_both_hosts
async def test_what_one_job_has_called_takes_turns_after_a_conflict(make_runtime):
    runs = 0

    @processor(queue=QueueOptions(concurrency=10))
    async def part(n: int, ctx: Context) -> int:
        nonlocal runs
        runs += 1
        await ctx.state.update(lambda found: found + n, int)
        await anyio.sleep(0.005)
        return n

    @processor
    async def parent(n: int, ctx: Context) -> int:
        async with anyio.create_task_group() as tasks:
            for k in range(40):
                tasks.start_soon(partial(ctx.call, part, 1, key=str(k)))
        return (await ctx.state.read(int)) if n else 0

    async with make_runtime(max_conflicts=1) as runtime:
        runtime.register(part, parent)
        await runtime.state.set("s", 0)
        with anyio.fail_after(30):
            result = await runtime.execute(parent, 1, session="s")
    assert result.unwrap() == 40
    assert 40 <= runs <= 80


@on_both_hosts
async def test_a_job_that_would_wait_for_its_own_turn_hears_so(make_runtime):
    @processor
    async def inner(n: int) -> int:
        return n + 1

    @processor
    async def outer(n: int) -> int:
        result = await runtime.execute(inner, session="s")
        assert isinstance(result.error, ConfigurationError)
        assert "ctx.call" in result.error.message
        answer: int = (await runtime.execute(inner, n, session="other")).unwrap()
        return answer

    async with make_runtime() as runtime:
        runtime.register(inner, outer)
        await runtime.state.set("s", 1)
        with anyio.fail_after(30):
            assert (await runtime.execute(outer, session="s")).unwrap() == 2
            # What is left to run by itself waits for its turn, and nobody waits for it.
            assert (await runtime.execute(outer, 5, session="t")).success is False
