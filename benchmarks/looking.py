"""Looking at very many jobs: how long pages and searches take, and how long one script holds Redis meanwhile.

`python -m benchmarks looking` fills one private Redis with jobs that wait, in many sessions, and with as many
that have ended, then asks for pages and searches through the service for operators, as the console and the
command line do. Figures are milliseconds of the caller, p50 and p95; below them the slowest entries of
Redis's own log.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import anyio
import redis as redis_py

from am2z_trio import QueueRuntime
from am2z_trio.admin import Admin, Principal
from am2z_trio.embedded.server import open_embedded_server
from am2z_trio.model.records import QueueInfo

from .filling import fill

WAITING_BAR: Final = 20.0
SEARCH_BAR: Final = 120.0
SCRIPT_BAR: Final = 20.0
"""Milliseconds: p95 of a page and of a search, and of the slowest script."""


async def timed(call: Callable[[], Awaitable[object]], rounds: int) -> dict[str, float]:
    took = list[float]()
    for _ in range(rounds):
        began = time.perf_counter()
        await call()
        took.append((time.perf_counter() - began) * 1000)
    return {"p50": statistics.median(took), "p95": sorted(took)[int(len(took) * 0.95)]}


async def deep(admin: Admin, query: str, pages: int) -> str:
    """The cursor behind so many pages."""
    cursor = ""
    for _ in range(pages):
        cursor = (await admin.search(query, limit=50, cursor=cursor)).cursor
    return cursor


async def measure(url: str, jobs: int, sessions: int, rounds: int) -> dict[str, dict[str, float]]:
    async with QueueRuntime(url, workers=False) as runtime:
        await runtime.node.store.announce([QueueInfo(queue="work", processor="work")])
        admin = Admin(runtime, principal=Principal(name="benchmark", role="admin"))
        random.seed(5)

        def id_of(kind: str) -> str:
            return f"{kind}{random.randrange(jobs):08d}"

        later = {
            query: await deep(admin, query, 20)
            for query in ("status:waiting", "status:completed status:cancelled")
        }
        searches: dict[str, Callable[[], Awaitable[object]]] = {}
        for query, cursor in later.items():
            searches[f"page: {query}"] = partial(admin.search, query)
            searches[f"page 21: {query}"] = partial(admin.search, query, cursor=cursor)
        searches |= {
            "page: one by id": lambda: admin.search(f"id:{id_of('w')}", limit=50),
            "page: a session": lambda: admin.search(f"session:s{random.randrange(sessions)}", limit=50),
            "search: no hit among what waits": lambda: admin.search("status:waiting node:x -id:y"),
            "search: no hit at all": lambda: admin.search("error:none"),
            "search: no hit among inputs": lambda: admin.search("status:waiting input.n:2"),
            "search: a word": lambda: admin.search(f"w{random.randrange(jobs):08d}x"),
            "search: age": lambda: admin.search("age>100d status:completed"),
        }
        return {name: await timed(call, rounds) for name, call in searches.items()}


def slowest(connection: Any) -> list[float]:
    """Milliseconds of the slowest commands in the server's log."""
    return sorted((entry["duration"] / 1000 for entry in connection.slowlog_get(128)), reverse=True)[:5]


async def run(jobs: int, sessions: int, rounds: int) -> dict[str, Any]:
    async with open_embedded_server() as server:
        connection: Any = redis_py.Redis.from_url(server.url)
        for kind in ("w", "e"):
            await anyio.to_thread.run_sync(fill, connection, kind, jobs, sessions)
        connection.config_set("slowlog-log-slower-than", 2_000)
        connection.config_set("slowlog-max-len", 1_000)
        connection.slowlog_reset()
        took = await measure(server.url, jobs, sessions, rounds)
        return {"jobs": jobs, "sessions": sessions, "ms": took, "slowest": slowest(connection)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks looking", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000, help="that wait, and as many that have ended")
    parser.add_argument("--sessions", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    found = anyio.run(run, options.jobs, options.sessions, options.rounds, backend="trio")
    if options.json:
        print(json.dumps(found))
        return
    for name, took in found["ms"].items():
        bar = WAITING_BAR if name.startswith("page") else SEARCH_BAR
        print(f"{name:<52} p50 {took['p50']:7.1f} ms  p95 {took['p95']:7.1f} ms  (bar {bar:g})")
    print(
        "slowest in the server's log, ms (bar 20):",
        ", ".join(f"{ms:.1f}" for ms in found["slowest"]) or "none",
    )


if __name__ == "__main__":
    main()
