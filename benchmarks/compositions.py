"""How long a chain of 3 and a parallel of 3 take: `python -m benchmarks.compositions`.

One caller, one call after the other, milliseconds at the median and at the 99th percentile; the parts queued
or inline; in memory, over Redis in one process, and over Redis with the worker in another. Rounds of all of
them alternate on one private Redis.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio

from am2z_trio import Composition, LocalRuntime, Processor, QueueRuntime, chain, parallel, processor
from am2z_trio.embedded.server import open_embedded_server
from am2z_trio.engine.runtime.runtime import Runtime

from .processes import serving

State = dict[str, int]


def part(name: str) -> Processor[State]:
    async def add(state: State) -> State:
        return {**state, name: state["n"] + 1}

    return processor(name=name)(add)


PARTS: Final = [part("a"), part("b"), part("c")]
MADE: Final[list[Composition[State]]] = [
    made
    for inline in (False, True)
    for made in (
        chain(f"chain of 3, {'inline' if inline else 'queued'}", PARTS, inline=inline),
        parallel(f"parallel of 3, {'inline' if inline else 'queued'}", PARTS, inline=inline),
    )
]
WHERE: Final = ("in memory", "over Redis", "worker in another process")


@asynccontextmanager
async def client(where: str, url: str) -> AsyncIterator[Runtime]:
    if where == WHERE[0]:
        async with LocalRuntime() as runtime:
            yield runtime
    elif where == WHERE[1]:
        async with QueueRuntime(url) as runtime:
            yield runtime
    else:
        async with serving("benchmarks.compositions", url), QueueRuntime(url, workers=False) as runtime:
            yield runtime


async def measure(where: str, url: str, calls: int) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    async with client(where, url) as runtime:
        runtime.register_many(MADE)
        for made in MADE:
            times = figures[made.name] = []
            for _ in range(calls + 50):
                began = time.perf_counter()
                (await runtime.execute(made, {"n": 1})).unwrap()
                times.append((time.perf_counter() - began) * 1000)
            del times[:50]
    return figures


async def serve(url: str) -> None:
    async with QueueRuntime(url) as runtime:
        runtime.register_many(MADE)
        await runtime.sync_processors()
        print("ready", flush=True)
        await anyio.sleep_forever()


async def compare(rounds: int, calls: int) -> None:
    times: dict[tuple[str, str], list[float]] = {}
    async with open_embedded_server() as server:
        for _ in range(rounds):
            for where in WHERE:
                for name, found in (await measure(where, server.url, calls)).items():
                    times.setdefault((name, where), []).extend(found)
    for (name, where), found in sorted(times.items()):
        cuts = statistics.quantiles(found, n=100)
        row: dict[str, Any] = {
            "what": name,
            "where": where,
            "p50": round(cuts[49], 2),
            "p99": round(cuts[98], 2),
        }
        print(json.dumps(row))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compositions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=300, help="calls of each per round (300)")
    parser.add_argument("--serve", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        anyio.run(serve, options.serve, backend="trio")
    else:
        anyio.run(compare, options.rounds, options.calls, backend="trio")


if __name__ == "__main__":
    main()
