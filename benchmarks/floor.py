"""The floor: what is left when there is no engine.

`noop`: claim 100, decode, encode, settle 100, by the same scripts over the same wire, in one loop.
`sleep`: 100 tasks that only sleep.
"""

from __future__ import annotations

import time
from typing import Final

import anyio
import msgspec

from am2z_trio import QueueRuntime, RedisOptions
from am2z_trio.concurrency import current_host
from am2z_trio.model import codec
from am2z_trio.model.events import Event
from am2z_trio.model.records import WIRE_VERSION, InboxMessage, ResultRecord, Settlement, queue_name
from am2z_trio.store.redis import RedisStore

from .jobs import CONCURRENCY, NAP, Payload, noop
from .workloads import Figures, _fill

BATCH: Final = 100


class _Nobody:
    """A listener that does not listen."""

    def on_message(self, message: InboxMessage) -> None: ...

    def on_event(self, event: Event) -> None: ...

    def on_reconnect(self) -> None: ...


async def drain_noop(url: str, host: str, jobs: int) -> Figures:
    async with QueueRuntime(url, workers=False) as client:
        await _fill(client, noop, jobs)
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


async def drain_sleep(url: str, host: str, jobs: int) -> Figures:
    jobs = max(jobs // 4, 100)

    async def some() -> None:
        for _ in range(jobs // CONCURRENCY):
            await anyio.sleep(NAP)

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(CONCURRENCY):
            tasks.start_soon(some)
    return {"jobs/s": jobs / (time.perf_counter() - began)}


WORKLOADS: Final = {"noop": drain_noop, "sleep": drain_sleep}
