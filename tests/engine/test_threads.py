"""Threads of plain functions that outlive their jobs are counted, bounded, and waited for by nobody."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from typing import Any
from weakref import ref

import anyio
import anyio.from_thread
import pytest

from am2z_trio import (
    Context,
    JobCancelledError,
    LocalRuntime,
    Processor,
    ProcessorTimeoutError,
    QueueOptions,
    ResourceError,
    ResourceLimits,
    processor,
)
from am2z_trio.concurrency import current_host
from am2z_trio.engine.execution.threads import Threads
from am2z_trio.engine.processors.registry import Registry
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

PATIENCE = 20.0


class Held:
    """A plain function that does not return before it may, and counts how often it was begun."""

    def __init__(self) -> None:
        self.may_return = threading.Event()
        self.begun = 0

    def __call__(self, n: int) -> int:
        self.begun += 1
        if n == 0:
            assert self.may_return.wait(PATIENCE)
        return n


@pytest.fixture
def held() -> Any:
    one = Held()
    yield one
    one.may_return.set()


async def test_a_thread_that_is_left_behind_takes_nobodys_place(make_runtime, held: Held):
    slow = Processor(held, name="slow", timeout=0.05, queue=QueueOptions(concurrency=1))
    async with make_runtime() as runtime:
        runtime.register(slow)
        with anyio.fail_after(PATIENCE):
            for _ in range(3):
                assert isinstance((await runtime.execute(slow, 0)).error, ProcessorTimeoutError)
            assert (await runtime.execute(slow, 1, timeout=PATIENCE)).unwrap() == 1
        assert runtime.get_stats().abandoned_threads == 3
        assert (await runtime.connection.check_health()).healthy
        held.may_return.set()
        await until(lambda: runtime.get_stats().abandoned_threads == 0)


async def test_where_too_many_are_left_behind_no_plain_function_begins(make_runtime, held: Held):
    slow = Processor(held, name="slow", timeout=0.05)

    @processor
    async def other(n: int) -> int:
        return n

    @processor(depends_on=[slow])
    async def within(n: int, ctx: Context) -> int:
        return await ctx.call(slow, n, inline=True)

    async with make_runtime(limits=ResourceLimits(max_abandoned_threads=2)) as runtime:
        runtime.register(slow, other, within)
        with anyio.fail_after(PATIENCE):
            await runtime.execute_many(slow, [0, 0])
            health = await runtime.connection.check_health()
            assert not health.healthy
            assert health.reason == (
                "2 threads have outlived their jobs, the limit is 2 (max_abandoned_threads): 2 of 'slow'"
            )
            waits = await runtime.submit(slow, 1, timeout=PATIENCE)
            assert (await runtime.execute(other, 1)).unwrap() == 1
            assert isinstance((await runtime.execute(within, 1)).error, ResourceError)
            assert await waits.status() == "waiting"
            assert held.begun == 2
            held.may_return.set()
            result = await waits.result()
        assert result.unwrap() == 1
        assert result.metadata.attempt == 1
        assert (await runtime.connection.check_health()).healthy


async def test_to_wait_for_a_thread_is_no_run(make_runtime, held: Held):
    """Neither its timeout nor an attempt begins."""
    slow = Processor(held, name="slow", queue=QueueOptions(concurrency=1))

    @processor(depends_on=[slow])
    async def within(n: int, ctx: Context) -> int:
        return await ctx.call(slow, n, inline=True, timeout=PATIENCE if n == 0 else 0.2)

    async with make_runtime() as runtime:
        runtime.register(within)
        with anyio.fail_after(PATIENCE):
            first = await runtime.submit(within, 0)
            await until(lambda: held.begun == 1)
            second = await runtime.submit(within, 1)
            cancelled = await runtime.submit(within, 2)
            while await cancelled.status() != "active":
                await anyio.sleep(0.01)
            await cancelled.cancel()
            assert (await cancelled.result()).error is not None
            await anyio.sleep(0.3)
            assert held.begun == 1
            held.may_return.set()
            assert (await first.result()).unwrap() == 0
            assert (await second.result()).unwrap() == 1
        assert runtime.get_stats().abandoned_threads == 0


async def test_the_loop_can_be_reached_from_a_thread(make_runtime):
    def asks(n: int, ctx: Context) -> int:
        anyio.from_thread.run_sync(threading.current_thread)
        ctx.emit("asked")
        anyio.from_thread.check_cancelled()
        return anyio.from_thread.run(ctx.call, "other", n)

    @processor
    async def other(n: int) -> int:
        return n + 1

    async with make_runtime() as runtime:
        runtime.register(Processor(asks), other)
        with anyio.fail_after(PATIENCE):
            assert (await runtime.execute("asks", 1)).unwrap() == 2


@pytest.mark.parametrize("end", ["its timeout", "a cancellation"])
async def test_a_plain_function_that_checks_ends_in_good_order_when_its_job_is_to_stop(end: str):
    begun, ended = threading.Event(), threading.Event()

    def checks(n: int, ctx: Context) -> int:
        begun.set()
        try:
            while not ended.wait(0.001):
                ctx.check_cancelled()
        finally:
            ended.set()
        return n

    async with LocalRuntime() as runtime:
        one = Processor(checks, timeout=0.5 if end == "its timeout" else PATIENCE)
        runtime.register(one)
        job = await runtime.submit(one, 1)
        await until(begun.is_set)
        if end == "a cancellation":
            await job.cancel()
        kind = ProcessorTimeoutError if end == "its timeout" else JobCancelledError
        assert isinstance((await job.result()).error, kind)
        await until(ended.is_set)
        await until(lambda: runtime.get_stats().abandoned_threads == 0)


async def test_to_check_is_for_the_thread_of_a_plain_function(make_runtime):
    @processor
    async def checks(n: int, ctx: Context) -> int:
        ctx.check_cancelled()
        return n

    async with make_runtime() as runtime:
        runtime.register(checks)
        error = (await runtime.execute(checks, 1)).error
        assert "ctx.check_cancelled() is for a plain def, in its own thread" in str(error)


LEAVES = """
import sys, threading
import anyio
from am2z_trio import LocalRuntime, processor

@processor(timeout=0.05)
def hangs(n: int) -> int:
    threading.Event().wait()
    return n

async def main() -> None:
    async with LocalRuntime() as runtime:
        runtime.register(hangs)
        await runtime.execute_many(hangs, range(3))
        print(runtime.get_stats().abandoned_threads, flush=True)

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("host", ["trio", "asyncio"])
def test_a_process_does_not_wait_for_them_at_its_end(host: str):
    ended = subprocess.run(
        [sys.executable, "-c", LEAVES, host], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "3\n"


async def test_what_limits_runs_within_other_jobs_goes_with_the_definition_they_are_of():
    threads, registry = Threads(current_host(), 10), Registry(10_000)
    (definition,) = registry.add([Processor(Held(), name="held")])
    room = ref(threads.room(definition))
    assert threads.room(definition) is room()
    registry.remove(definition.processor.name)
    del definition
    gc.collect()
    assert room() is None
