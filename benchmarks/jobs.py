"""The processors that are measured, and a process that serves them: `python -m benchmarks.jobs URL HOST`."""

from __future__ import annotations

import sys
from functools import partial
from typing import Final

import anyio
import msgspec

from am2z_trio import LocalRuntime, QueueOptions, QueueRuntime, processor
from am2z_trio.engine.runtime.runtime import Runtime

CONCURRENCY: Final = 100
NAP: Final = 0.01


class Payload(msgspec.Struct, frozen=True):
    """About 100 bytes."""

    text: str
    number: int


PAYLOAD: Final = Payload("x" * 90, 1)


@processor(queue=QueueOptions(concurrency=CONCURRENCY))
async def noop(payload: Payload) -> Payload:
    return payload


@processor(queue=QueueOptions(concurrency=CONCURRENCY))
async def nap(payload: Payload) -> Payload:
    await anyio.sleep(NAP)
    return payload


def open_runtime(url: str, *, workers: bool) -> Runtime:
    """Make the runtime over Redis at `url`, or in memory for an empty one."""
    return QueueRuntime(url, workers=workers) if url else LocalRuntime()


async def serve(url: str) -> None:
    async with QueueRuntime(url) as runtime:
        runtime.register(noop, nap)
        await runtime.sync_processors()
        print("ready", flush=True)
        # The owner closes our standard input when it is done.
        await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


if __name__ == "__main__":
    anyio.run(partial(serve, sys.argv[1]), backend=sys.argv[2])
