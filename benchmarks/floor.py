"""The floor, what is left when there is no engine: `python -m benchmarks.floor MEASURE JOBS`.

* `noop` - the engine's own claim and settle over its own connection, 100 jobs a call, one call after
  the other from one loop; each state decoded, each result encoded. As many effects on the store as ours
* `nap` - 100 tasks that only sleep; no store
* `calls` - a request pushed to one list, and its answer to another: two processes, one blocking command each

What they leave out is what an engine is for: a task, a cancel scope and a context for each job, a function
that may fail, jobs that end in any order, slots, retries and deadlines, callers that are told, a lease, and
all that is done about what is lost.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

import anyio
import msgspec
import redis

from am2z_trio import QueueRuntime, RedisOptions
from am2z_trio.concurrency import current_host
from am2z_trio.model import codec
from am2z_trio.model.events import Event
from am2z_trio.model.records import WIRE_VERSION, InboxMessage, ResultRecord, Settlement, queue_name
from am2z_trio.store.ports import BATCH
from am2z_trio.store.redis.store import RedisStore

from .contenders.contender import CONCURRENCY, NAP, URL
from .contenders.driver import A_CALL, WARM, Figures
from .jobs import PAYLOAD, Payload, noop


class _Nobody:
    """A listener that does not listen."""

    def on_message(self, message: InboxMessage) -> None: ...

    def on_event(self, event: Event) -> None: ...

    def on_reconnect(self) -> None: ...


async def drain_noop(url: str, jobs: int) -> Figures:
    await _fill(url, jobs)
    decode = msgspec.msgpack.Decoder(Payload).decode
    store = RedisStore("floor", RedisOptions.from_url(url))
    async with current_host().open_nursery() as nursery:
        await nursery.start(store.run, _Nobody())
        await store.join()
        began = time.perf_counter()
        done = seq = 0
        while done < jobs:
            seq += 1
            answer = await store.claim(queue_name(noop.name), seq, BATCH)
            settlements: list[Settlement] = []
            for grant in answer.grants:
                blob = codec.encode_state(decode(grant.spec.state))
                record = ResultRecord(WIRE_VERSION, msgspec.Raw(blob), None, grant.attempt, 0, 0.0, "floor")
                settlements.append(
                    Settlement(
                        id=grant.spec.id,
                        token=grant.token,
                        outcome="completed",
                        result=codec.encode_record(record),
                    )
                )
            await store.settle(settlements)
            done += len(settlements)
        seconds = time.perf_counter() - began
        await store.leave()
        nursery.cancel_scope.cancel()
    return {"jobs/s": jobs / seconds}


async def _fill(url: str, jobs: int) -> None:
    """Submit through the engine, and leave: nobody is told of the outcomes."""
    async with QueueRuntime(url, workers=False) as client:
        for first in range(0, jobs, A_CALL):
            async with anyio.create_task_group() as tasks:
                for _ in range(min(A_CALL, jobs - first)):
                    tasks.start_soon(client.submit, noop, PAYLOAD)


async def drain_sleep(url: str, jobs: int) -> Figures:
    async def some() -> None:
        for _ in range(jobs // CONCURRENCY):
            await anyio.sleep(NAP)

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(CONCURRENCY):
            tasks.start_soon(some)
    return {"jobs/s": jobs // CONCURRENCY * CONCURRENCY / (time.perf_counter() - began)}


def calls(url: str, jobs: int) -> Figures:
    times: list[float] = []
    command = [sys.executable, "-m", "benchmarks.floor", "answer", "0"]
    with subprocess.Popen(command) as other, redis.Redis.from_url(url) as client:
        for _ in range(WARM + max(jobs // 10, 10)):
            began = time.perf_counter()
            client.lpush("requests", PAYLOAD.text)
            client.blpop(["answers"])
            times.append(time.perf_counter() - began)
        other.terminate()
    times = sorted(times[WARM:])
    return {"p50 ms": times[len(times) // 2] * 1000, "p99 ms": times[len(times) * 99 // 100] * 1000}


def answer(url: str) -> None:
    """The other process of `calls`."""
    with redis.Redis.from_url(url) as client:
        while True:
            request: Any = client.blpop(["requests"])
            client.lpush("answers", request[1])


def main(measure: str, jobs: int) -> None:
    url = os.environ[URL]
    if measure == "answer":
        answer(url)
    elif measure == "calls":
        print(json.dumps(calls(url, jobs)))
    else:
        drain = {"noop": drain_noop, "nap": drain_sleep}[measure]
        print(json.dumps(anyio.run(drain, url, jobs, backend="trio")))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
