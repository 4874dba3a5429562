"""The client of every Python contender: what it does, how it is timed, and the one line of JSON it prints.

    enqueue --jobs 5000 --callers 100   each job by a call of its own, from so many tasks or threads
    bulk    --jobs 5000                 by the library's call for many, 1,000 a call
    calls   --jobs 5000 --callers 100   enqueue and wait for the result: one by one, then so many at a time

A contender says how a job is enqueued and how its result is waited for: as a `Client`, or, where its library
blocks, as a `BlockingClient`, whose callers are threads.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import string
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final

from .contender import URL

A_CALL: Final = 1_000
"""Jobs that one call enqueues, in bulk."""
WARM: Final = 50
"""Calls before any is timed: the first ones find a worker that has only begun."""
LONGEST: Final = 30.0
"""Seconds after which nothing further is begun: with what there is by then, a slow one's time is known."""

Figures = dict[str, float]


class Client:
    """What a contender's client does."""

    told: argparse.Namespace
    """The arguments; there before it is opened."""

    def __init__(self, url: str) -> None:
        self.url = url

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Entered before anything is timed, and left after."""
        yield

    async def submit(self, job: str, payload: Any) -> None:
        """Return when the job is in the queue."""
        raise NotImplementedError

    async def submit_many(self, job: str, payloads: list[Any]) -> None:
        """Enqueue all with as few calls as the library has it."""
        raise NotImplementedError

    async def call(self, job: str, payload: Any) -> Any:
        """Return the result."""
        raise NotImplementedError

    def payload(self, size: int) -> Any:
        """Make what a job is given, and gives back: about so many bytes, however it is encoded."""
        return {"text": text(size - 20), "number": 1}

    async def other(self) -> Figures:
        """Measure what only this contender can do."""
        raise NotImplementedError

    async def together(self, task: Callable[[], Coroutine[Any, Any, None]], many: int) -> None:
        """Run so many tasks, and wait for all."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(many):
                tasks.create_task(task())


class BlockingClient(Client):
    """A client of a library that blocks: its coroutines never wait, and its callers are threads."""

    async def together(self, task: Callable[[], Coroutine[Any, Any, None]], many: int) -> None:
        with ThreadPoolExecutor(many) as threads:
            for done in [threads.submit(_drive, task()) for _ in range(many)]:
                done.result()


def _drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a blocking client has waited")


def text(size: int) -> str:
    """Letters, always the same, that do not compress well: there is a contender that compresses."""
    return "".join(random.Random(1).choices(string.ascii_letters, k=max(size, 1)))


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=[*MEASURES, "compositions"])
    parser.add_argument("--job", default="noop", choices=["noop", "nap"])
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--callers", type=int, default=100)
    parser.add_argument("--size", type=int, default=100, help="bytes of payload")
    parser.add_argument("--sessions", type=int, default=0, help="ours: the jobs are those of so many")
    parser.add_argument(
        "--states",
        choices=("apart", "committed", "stored"),
        default="apart",
        help="ours: what jobs do with their session's state: nothing; write it; read and write it",
    )
    return parser.parse_args(given)


def run(client: Client, loop: Callable[..., Any] | None = None) -> None:
    """Do what the command line asks for, and print the figures; `loop` runs a coroutine."""
    if loop is None:
        loop = _drive if isinstance(client, BlockingClient) else asyncio.run
    client.told = arguments()
    print(json.dumps(loop(drive(client))), flush=True)


def url() -> str:
    return os.environ[URL]


class Turns:
    """How many calls are left, for all callers together: none is begun after `LONGEST`."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._lock = threading.Lock()
        self._until = time.perf_counter() + LONGEST
        self.taken = 0

    def take(self) -> bool:
        with self._lock:
            if not self._left or time.perf_counter() > self._until:
                return False
            self._left -= 1
            self.taken += 1
            return True


async def drive(client: Client) -> Figures:
    """Open, measure, close."""
    measure = MEASURES.get(client.told.what)
    async with client.opened():
        return await (client.other() if measure is None else measure(client, client.told))


async def _enqueue(client: Client, told: argparse.Namespace) -> Figures:
    payload = client.payload(told.size)
    turns = Turns(told.jobs)

    async def some() -> None:
        while turns.take():
            await client.submit(told.job, payload)

    cpu, began = time.process_time(), time.perf_counter()
    if told.callers == 1:
        await some()
    else:
        await client.together(some, told.callers)
    seconds = time.perf_counter() - began
    return {"jobs": turns.taken, "seconds": seconds, "cpu": time.process_time() - cpu}


async def _bulk(client: Client, told: argparse.Namespace) -> Figures:
    payload = client.payload(told.size)
    began = time.perf_counter()
    for first in range(0, told.jobs, A_CALL):
        await client.submit_many(told.job, [payload] * min(A_CALL, told.jobs - first))
    return {"jobs": told.jobs, "seconds": time.perf_counter() - began}


async def _calls(client: Client, told: argparse.Namespace) -> Figures:
    job, payload, times = told.job, client.payload(told.size), list[float]()
    for _ in range(WARM):
        check(await client.call(job, payload), payload)
    turns = Turns(max(told.jobs // 10, 10))
    while turns.take():
        began = time.perf_counter()
        check(await client.call(job, payload), payload)
        times.append(time.perf_counter() - began)
    turns = Turns(told.jobs)

    async def caller() -> None:
        while turns.take():
            check(await client.call(job, payload), payload)

    began = time.perf_counter()
    await client.together(caller, told.callers)
    seconds = time.perf_counter() - began
    times.sort()
    return {
        "round trips": len(times),
        "p50": times[len(times) // 2],
        "p99": times[len(times) * 99 // 100],
        "calls": turns.taken,
        "seconds": seconds,
    }


def rates_of_calls(found: Figures) -> Figures:
    """What the harness shows of them."""
    return {
        "p50 ms": found["p50"] * 1000,
        "p99 ms": found["p99"] * 1000,
        "100 callers/s": found["calls"] / found["seconds"],
    }


def check(result: Any, payload: Any) -> None:
    """A call whose result is not what the job was given has measured nothing."""
    if result != payload:
        raise AssertionError(f"the job gave back {str(result)[:200]}")


MEASURES: Final = {"enqueue": _enqueue, "bulk": _bulk, "calls": _calls}
