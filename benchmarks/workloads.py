"""What is measured. Each gives figures by name; the first is the one that ratios are made of."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio

from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.records import QueueInfo, queue_name

from .jobs import PAYLOAD, nap, noop, open_runtime

Figures = dict[str, float]
CALLERS: Final = 100


async def drain_noop(url: str, host: str, jobs: int) -> Figures:
    """Jobs that do nothing, enqueued before the worker starts."""
    return await _drain(url, noop, jobs)


async def drain_sleep(url: str, host: str, jobs: int) -> Figures:
    """Jobs that sleep 10 ms, enqueued before the worker starts."""
    return await _drain(url, nap, max(jobs // 4, 100))


async def _drain(url: str, processor: Processor[Any], jobs: int) -> Figures:
    runtime = open_runtime(url, workers=True)
    async with runtime:
        await _fill(runtime, processor, jobs)
        finished = 0
        began = time.perf_counter()
        runtime.register(processor)
        # Looking at the node's own counters costs nothing, where an event per job would be measured too.
        while finished < jobs:
            await anyio.sleep(0.002)
            stats = runtime.get_stats()
            finished = stats.jobs_run if stats.claimed == 0 else 0
        seconds = time.perf_counter() - began
    return {"jobs/s": jobs / seconds}


async def _fill(runtime: Runtime, processor: Processor[Any], jobs: int) -> None:
    """Submit through the runtime, many at a time; nobody serves the queue yet."""
    node = runtime.node
    await node.store.announce([QueueInfo(queue=queue_name(processor.name), processor=processor.name)])
    async with anyio.create_task_group() as tasks:

        async def some(count: int) -> None:
            for _ in range(count):
                await runtime.submit(processor, PAYLOAD)

        for _ in range(CALLERS):
            tasks.start_soon(some, jobs // CALLERS)
    # Nobody waits for these: outcomes are not to be delivered to the one that drains.
    node.in_flight._waiters.remove_all()  # pyright: ignore[reportPrivateUsage]


async def round_trip(url: str, host: str, jobs: int) -> Figures:
    """One caller, one call after the other; over Redis the worker is another process."""
    times: list[float] = []
    async with _client(url, host) as runtime:
        for _ in range(jobs // 10 + 100):
            began = time.perf_counter()
            (await runtime.execute(noop, PAYLOAD)).unwrap()
            times.append(time.perf_counter() - began)
    times = sorted(times[100:])
    return {"p50 ms": times[len(times) // 2] * 1000, "p99 ms": times[len(times) * 99 // 100] * 1000}


async def callers(url: str, host: str, jobs: int) -> Figures:
    """100 callers at a time, each one call after the other; over Redis the worker is another process."""
    async with _client(url, host) as runtime:
        await runtime.execute(noop, PAYLOAD)

        async def one() -> None:
            for _ in range(jobs // CALLERS):
                (await runtime.execute(noop, PAYLOAD)).unwrap()

        began = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(CALLERS):
                tasks.start_soon(one)
        seconds = time.perf_counter() - began
    return {"calls/s": jobs / seconds}


@asynccontextmanager
async def _client(url: str, host: str) -> AsyncIterator[Runtime]:
    if not url:
        async with open_runtime(url, workers=True) as runtime:
            runtime.register(noop)
            yield runtime
        return
    command = [sys.executable, "-m", "benchmarks.jobs", url, host]
    # Starting it may block: nothing is measured yet.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:  # noqa: ASYNC220
        assert worker.stdout is not None
        await anyio.to_thread.run_sync(worker.stdout.readline)
        async with open_runtime(url, workers=False) as runtime:
            runtime.register(noop)
            yield runtime
        worker.terminate()


WORKLOADS: Final[dict[str, Callable[[str, str, int], Awaitable[Figures]]]] = {
    "noop": drain_noop,
    "sleep": drain_sleep,
    "roundtrip": round_trip,
    "callers": callers,
}
