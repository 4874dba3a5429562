"""Sessions in figures: `python -m benchmarks.sessions`. One private Redis, Trio.

* stop: from `stop_session` until the caller of a running 60 s job has its error, and until the processor
  has stopped; in memory, in one process over Redis, and with the worker in another process
* many: sessions that are open at once, each by a task of its own and with one job run: seconds, KB of this
  process's memory each, and connections to Redis before and with them
* idle: sessions that have run one job and stay: KB each, and how long it takes to stop one of them
* host: 100 running jobs when the host is cancelled: seconds until the block is left, and where the jobs are
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Final

import anyio
import redis

from am2z_trio import LocalRuntime, QueueOptions, QueueRuntime, processor
from am2z_trio.embedded.server import open_embedded_server
from am2z_trio.engine.node.memory_watch import resident_mb
from am2z_trio.engine.runtime.runtime import Runtime

from .processes import serving

SLOTS: Final = QueueOptions(concurrency=1000)
CALLERS: Final = 50
STOPPED: Final = 200
"""Idle sessions that are stopped one after the other."""

stopped_at: list[float] = []
"""When `hold` stopped, by the machine's monotonic clock, which all processes share."""


@processor(queue=SLOTS)
async def hold(n: int) -> int:
    """Run for a minute, and note when it is stopped."""
    try:
        await anyio.sleep(60)
    finally:
        stopped_at.append(time.monotonic())
        print(stopped_at[-1], flush=True)
    return n


@processor(queue=SLOTS)
async def plus_one(n: int) -> int:
    return n + 1


# --- stopping -------------------------------------------------------------------------------------


async def stop(runtime: Runtime, when_stopped: Any, rounds: int) -> dict[str, float]:
    informed: list[float] = []
    stopped: list[float] = []
    for number in range(rounds):
        session = f"stop-{number}"
        async with anyio.create_task_group() as tasks, runtime.events("job:started") as stream:

            async def call(session: str = session) -> None:
                await runtime.execute(hold, 1, session=session)
                informed.append(time.monotonic())

            tasks.start_soon(call)
            await stream.next()
            # The job has been claimed; its code begins within the next steps.
            await anyio.sleep(0.05)
            began = time.monotonic()
            await runtime.stop_session(session)
        informed[-1] -= began
        stopped.append(await when_stopped() - began)
    return {
        "caller informed ms": round(statistics.median(informed) * 1000, 2),
        "processor stopped ms": round(statistics.median(stopped) * 1000, 2),
    }


async def last_stop() -> float:
    return stopped_at[-1]


@asynccontextmanager
async def other_process(url: str) -> AsyncIterator[Any]:
    """A worker in another process, and a function that says when its processor stopped."""
    async with serving("benchmarks.sessions", url) as output:

        async def when_stopped() -> float:
            return float(await anyio.to_thread.run_sync(output.readline))

        yield when_stopped


async def serve(url: str) -> None:
    async with QueueRuntime(url) as runtime:
        runtime.register(hold)
        await runtime.sync_processors()
        print("ready", flush=True)
        await anyio.sleep_forever()


# --- many -----------------------------------------------------------------------------------------


async def many(runtime: Runtime, admin: redis.Redis | None, count: int) -> dict[str, float]:
    def connections() -> int:
        return 0 if admin is None else len(admin.client_list())

    runtime.register(plus_one)
    await runtime.execute(plus_one, 1, session="first")
    gc.collect()
    memory, before = resident_mb(), connections()
    release, ready = anyio.Event(), anyio.Event()
    open_now = 0

    async def hold_open(number: int) -> None:
        nonlocal open_now
        async with runtime.session(f"s{number}") as session:
            (await session.execute(plus_one, number)).unwrap()
            open_now += 1
            if open_now == count:
                ready.set()
            await release.wait()

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(hold_open, number)
        await ready.wait()
        seconds = time.perf_counter() - began
        gc.collect()
        grown, after = resident_mb() - memory, connections()
        release.set()
    return {
        "sessions": count,
        "seconds": round(seconds, 3),
        "KB per session": round(grown * 1024 / count, 1),
        "connections before": before,
        "connections with them": after,
    }


# --- idle -----------------------------------------------------------------------------------------


async def idle(runtime: Runtime, count: int) -> dict[str, float]:
    """Sessions that stay with one worker each after their one job, and what it takes to stop one of them."""
    runtime.register(plus_one)
    for session in (None, "first"):
        await runtime.execute(plus_one, 1, session=session)
    gc.collect()
    memory = resident_mb()

    async def some(first: int) -> None:
        for number in range(first, count, CALLERS):
            (await runtime.execute(plus_one, number, session=f"s{number}")).unwrap()

    async with anyio.create_task_group() as tasks:
        for first in range(CALLERS):
            tasks.start_soon(some, first)
    gc.collect()
    grown, times = resident_mb() - memory, list[float]()
    for number in range(0, count, max(1, count // STOPPED)):
        began = time.perf_counter()
        await runtime.stop_session(f"s{number}")
        times.append(time.perf_counter() - began)
    return {
        "sessions": count,
        "KB per session": round(grown * 1024 / count, 1),
        "stop p50 ms": round(statistics.median(times) * 1000, 2),
        "stop p99 ms": round(sorted(times)[len(times) * 99 // 100] * 1000, 2),
    }


# --- the host is cancelled ------------------------------------------------------------------------


async def host(url: str, admin: redis.Redis) -> dict[str, Any]:
    runtime, began = QueueRuntime(url), 0.0
    runtime.register(hold)
    with anyio.CancelScope() as scope:
        async with runtime:
            for number in range(100):
                await runtime.submit(hold, number)
            while runtime.get_stats().running < 100:
                await anyio.lowlevel.checkpoint()
            began = time.monotonic()
            scope.cancel()
            await anyio.sleep_forever()
    ended = time.monotonic()
    async with QueueRuntime(url, workers=False) as client:
        stats = (await client.get_queue_stats())["hold"]
    attempts = {admin.hget(key, "attempt") or b"1" for key in admin.scan_iter("{am2z:0}:job:*")}
    return {
        "block left after ms": round((ended - began) * 1000, 1),
        "jobs waiting again": stats.waiting,
        "jobs active": stats.active,
        "highest attempt": int(max(attempts)),
    }


async def measure(rounds: int, counts: list[int]) -> None:
    def say(what: str, figures: dict[str, Any]) -> None:
        print(json.dumps({"what": what, **figures}), file=sys.stderr, flush=True)

    runtime: Runtime
    async with LocalRuntime() as runtime:
        runtime.register(hold)
        say("stop, in memory", await stop(runtime, last_stop, rounds))
    async with open_embedded_server() as server:
        with redis.Redis.from_url(server.url) as admin:
            async with QueueRuntime(server.url) as runtime:
                runtime.register(hold)
                say("stop, one process over Redis", await stop(runtime, last_stop, rounds))
                left = [key.decode() for key in admin.scan_iter("*stop-*")]
                say("keys of the stopped sessions", {"keys": len(left)})
            async with (
                other_process(server.url) as when_stopped,
                QueueRuntime(server.url, workers=False) as runtime,
            ):
                say("stop, worker in another process", await stop(runtime, when_stopped, rounds))
            admin.flushall()
            say("host cancelled", await host(server.url, admin))
            # First: memory that others have used would not be seen to grow.
            for count in counts:
                admin.flushall()
                async with QueueRuntime(server.url, session_idle=inf) as runtime:
                    say("idle over Redis", await idle(runtime, count))
            for count in counts:
                admin.flushall()
                async with QueueRuntime(server.url) as runtime:
                    say("many over Redis", await many(runtime, admin, count))
                async with LocalRuntime() as runtime:
                    say("many in memory", await many(runtime, None, count))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sessions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=30, help="stops of each kind (30)")
    parser.add_argument("--sessions", type=int, nargs="+", default=[500, 10_000], help="how many (500 10000)")
    parser.add_argument("--serve", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        anyio.run(serve, options.serve, backend="trio")
    else:
        anyio.run(measure, options.rounds, options.sessions, backend="trio")


if __name__ == "__main__":
    main()
