"""The processors that are measured, and a process that serves them: `python -m benchmarks.jobs URL HOST`."""

from __future__ import annotations

import sys
from typing import Any, Final

import anyio
import msgspec

from am2z_trio import Composition, Processor, QueueOptions, QueueRuntime, chain, parallel, processor
from benchmarks.contenders import tally
from benchmarks.contenders.contender import CONCURRENCY, NAP
from benchmarks.contenders.driver import text

QUEUE: Final = QueueOptions(concurrency=CONCURRENCY)


class Payload(msgspec.Struct, frozen=True):
    """Encoded, about 15 bytes more than its text."""

    text: str
    number: int


def make(size: int) -> Payload:
    """About so many bytes."""
    return Payload(text(size - 20), 1)


PAYLOAD: Final = make(100)


@processor(queue=QUEUE)
async def noop(payload: Payload) -> Payload:
    tally.began()
    tally.ended()
    return payload


@processor(queue=QUEUE)
async def nap(payload: Payload) -> Payload:
    tally.began()
    await anyio.sleep(NAP)
    tally.ended()
    return payload


def _part(name: str) -> Processor[Payload]:
    async def part(payload: Payload) -> Payload:
        return payload

    return processor(name=name, queue=QUEUE)(part)


PARTS: Final = [_part("first"), _part("second"), _part("third")]
COMPOSED: Final[dict[str, Composition[Payload]]] = {
    "chain of 3": chain("chain", PARTS),
    "parallel of 3": parallel("parallel", PARTS),
}
JOBS: Final[dict[str, Processor[Any]]] = {"noop": noop, "nap": nap}


async def serve(url: str) -> None:
    """Serve until the process is ended, and print a line when it begins."""
    async with QueueRuntime(url) as runtime:
        runtime.register(*JOBS.values())
        runtime.register_many(COMPOSED.values())
        await runtime.sync_processors()
        print("ready", flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    place, host, *_ = [*sys.argv[1:], "trio"]
    anyio.run(serve, place, backend=host)
