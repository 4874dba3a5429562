"""A process that serves a part of a chain, and tells what spans it makes: given URL HOST PARENTING."""

from __future__ import annotations

import json
import sys

import anyio

from am2z_trio import QueueRuntime, processor
from tests.observe.seen import Seen, told


@processor(name="b")
async def part(n: int) -> int:
    return 10 * n


async def main(url: str, parenting: bool) -> None:
    seen = Seen()
    async with QueueRuntime(url, otel=seen.otel(trace_parenting=parenting)) as runtime:
        runtime.register(part)
        await runtime.sync_processors()
        print("serves", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
    print(json.dumps([told(span) for span in seen.spans]), flush=True)


if __name__ == "__main__":
    _, url, host, parenting = sys.argv
    anyio.run(main, url, parenting == "True", backend=host)
