"""Calls and limits: a job that waits for others counts nowhere, and goes on before any that has not begun."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from am2z_trio import Context, LocalRuntime, QueueOptions, QueueRuntime, processor
from am2z_trio.engine.runtime.runtime import Runtime
from tests.support.waiting import until

from .circles import Circle

on_both_hosts = pytest.mark.anyio

LIMITS: list[dict[str, Any]] = [
    {"concurrency": 1},
    {"global_concurrency": 1},
    {"session_concurrency": 1},
    {"concurrency": 1, "global_concurrency": 1, "session_concurrency": 1},
]


@on_both_hosts
@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("limit", LIMITS, ids=["slots", "global", "session", "all"])
@pytest.mark.parametrize("how", ["ctx.call", "execute", "submit"])
async def test_no_circle_hangs_at_a_limit_of_one(make_runtime, how, limit, length):
    circle = Circle(length, how, **limit)
    async with make_runtime(max_call_depth=6) as runtime:
        circle.runtime = runtime
        runtime.register_many(circle.processors)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(self_checked, runtime, circle.processors[0])
        assert circle.most == 1
        stats = (await runtime.get_queue_stats())["circle-0"]
        assert (stats.active, stats.waiting) == (0, 0)


async def self_checked(runtime: Runtime, name: Any) -> None:
    assert (await runtime.execute(name, 5, session="s")).unwrap() == 5


@on_both_hosts
async def test_over_several_nodes_no_more_run_than_may_and_none_hangs(redis_url):
    circle = Circle(2, "ctx.call", concurrency=3, global_concurrency=2)
    async with QueueRuntime(redis_url) as one, QueueRuntime(redis_url) as other:
        for runtime in (one, other):
            runtime.register_many(circle.processors)
        with anyio.fail_after(40):
            async with anyio.create_task_group() as tasks:
                for n in range(12):
                    tasks.start_soon(self_checked, (one, other)[n % 2], circle.processors[n % 2])
        assert circle.most == 2


@on_both_hosts
async def test_a_job_that_was_taken_away_and_given_back_while_it_waits_does_not_count_again():
    entered, gate = anyio.Event(), anyio.Event()

    @processor(queue=QueueOptions(global_concurrency=1))
    async def calls_itself(n: int, ctx: Context) -> int:
        if n == 0:
            return 0
        entered.set()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ctx.call, "waits", 0)
            await gate.wait()
            found: int = await ctx.call("calls_itself", n - 1)
            tasks.cancel_scope.cancel()
        return found + 1

    @processor
    async def waits(n: int) -> int:
        await anyio.sleep_forever()
        return n

    async with LocalRuntime() as runtime:
        runtime.register(calls_itself, waits)
        job = await runtime.submit(calls_itself, 1)
        with anyio.fail_after(20):
            await entered.wait()
            server = runtime._server
            await until(lambda: server.ledger.jobs[job.id].away)
            # As a claim is that was taken away and is given back.
            server.ledger.jobs[job.id].away = False
            server.ledger.queue("calls_itself").away -= 1
            gate.set()
            runtime.node.inbox.on_reconnect()
            assert (await job.result()).unwrap() == 1
