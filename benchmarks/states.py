"""Session states beside redis-py doing the same with WATCH and MULTI: `python -m benchmarks.states`.

Both compare on the version, keep a SHA-256 and verify it at every read, and encode with msgspec. Rounds of
the contenders alternate on one private Redis, one process, Trio for ours and asyncio for redis-py (it has
no other); figures are operations per second, the median of the rounds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import msgspec
import redis.asyncio as redis_py

from am2z_trio import RedisStateManager
from am2z_trio.embedded.server import open_embedded_server

Step = Callable[[int], Awaitable[object]]


async def timed(step: Step, count: int, callers: int) -> float:
    began = time.perf_counter()

    async def caller(number: int) -> None:
        for _ in range(count // callers):
            await step(number)

    async with anyio.create_task_group() as tasks:
        for number in range(callers):
            tasks.start_soon(caller, number)
    return count / (time.perf_counter() - began)


async def ours(url: str, what: str, state: Any, count: int, callers: int) -> float:
    async with RedisStateManager(url) as states:
        for number in range(callers):
            await states.set(f"s{number}", state)
        steps: dict[str, Step] = {
            "get": lambda n: states.get(f"s{n}"),
            "set": lambda n: states.set(f"s{n}", state),
            "update": lambda n: states.update(f"s{n}", lambda found: {**found, "n": found["n"] + 1}),
        }
        return await timed(steps[what], count, callers)


async def theirs(url: str, what: str, state: Any, count: int, callers: int) -> float:
    # redis-py types its commands in part only.
    client: Any = redis_py.Redis.from_url(url, max_connections=callers + 1)
    encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode

    def packed(value: Any, version: int) -> dict[str, Any]:
        blob = encode(value)
        return {"version": version, "sha": hashlib.sha256(blob).hexdigest(), "blob": blob}

    def unpacked(row: Any) -> tuple[int, Any]:
        version, sha, blob = row
        assert hashlib.sha256(blob).hexdigest() == sha.decode()
        return int(version), decode(blob)

    async def get(n: int) -> object:
        return unpacked(await client.hmget(f"r{n}", ["version", "sha", "blob"]))

    async def change(n: int, make: Callable[[Any], Any]) -> None:
        async with client.pipeline() as pipe:
            while True:
                try:
                    await pipe.watch(f"r{n}")
                    version, found = unpacked(await pipe.hmget(f"r{n}", ["version", "sha", "blob"]))
                    pipe.multi()
                    pipe.hset(f"r{n}", mapping=packed(make(found), version + 1))
                    await pipe.execute()
                    return
                except redis_py.WatchError:
                    continue

    steps: dict[str, Step] = {
        "get": get,
        "set": lambda n: change(n, lambda _: state),
        "update": lambda n: change(n, lambda found: {**found, "n": found["n"] + 1}),
    }
    for number in range(callers):
        await client.hset(f"r{number}", mapping=packed(state, 1))
    figure = await timed(steps[what], count, callers)
    await client.aclose()
    return figure


async def measure(rounds: int, count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    async with open_embedded_server() as server:
        for size in (100, 100_000):
            state = {"n": 0, "text": "x" * size}
            for callers in (1, 100):
                for what in ("get", "set", "update"):
                    number = max(callers, count if size == 100 else count // 10)
                    figures: dict[str, list[float]] = {"am2z_trio": [], "redis-py": []}
                    for _ in range(rounds):
                        arguments = (server.url, what, state, number, callers)
                        figures["am2z_trio"].append(
                            await anyio.to_thread.run_sync(run, ours, "trio", arguments)
                        )
                        figures["redis-py"].append(
                            await anyio.to_thread.run_sync(run, theirs, "asyncio", arguments)
                        )
                    medians = {name: round(statistics.median(found)) for name, found in figures.items()}
                    ratio = round(medians["am2z_trio"] / medians["redis-py"], 2)
                    row = {"what": what, "bytes": size, "callers": callers, **medians, "ratio": ratio}
                    rows.append(row)
                    print(json.dumps(row), flush=True)
    return rows


def run(contender: Any, backend: str, arguments: Any) -> float:
    figure = anyio.run(contender, *arguments, backend=backend)
    assert isinstance(figure, float)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.states",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=3_000, help="operations per round")
    options = parser.parse_args(arguments)
    anyio.run(measure, options.rounds, options.count, backend="asyncio")


if __name__ == "__main__":
    main()
