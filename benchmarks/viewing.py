"""The console before very many jobs: how long its lists take until a browser shows them, and what memory its
process takes while pages are asked for again and again.

`python -m benchmarks viewing` fills one private Redis as `looking` does, serves the console from a process of
its own, and looks at each list in Debian's Chromium. Figures are milliseconds from asking to the browser's
load event, p50 and p95; then the process's memory after each tenth of `--loads` pages. Needs the extras
`embedded` and `test`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpx
import redis as redis_py
import trio

from am2z_trio import QueueRuntime
from am2z_trio.admin import Principal
from am2z_trio.embedded.server import open_embedded_server
from am2z_trio.model.records import QueueInfo

from .filling import fill

if TYPE_CHECKING:
    from playwright.sync_api import Page

BAR: Final = 200.0
"""Milliseconds: p95 of a list."""
DRIFT: Final = 0.05
"""Share by which memory may change once all kinds of pages were asked for."""

CHROMIUM: Final = "/usr/bin/chromium"
LISTS: Final = (
    "/",
    "/jobs",
    "/jobs?q=status%3Awaiting",
    "/jobs?q=status%3Acompleted",
    "/jobs?q=session%3As7",
    "/sessions",
    "/queues",
    "/queues/work",
    "/dead",
    "/bulks",
    "/schedules",
    "/nodes",
    "/tree",
    "/events",
    "/audit",
    "/redis",
)


async def serve(url: str) -> None:
    """The console of this Redis, for whoever asks; says on standard output where, until it is ended."""
    from am2z_trio.web import console
    from am2z_trio.web.serving import serving

    async with QueueRuntime(url, workers=False) as runtime:
        await runtime.node.store.announce([QueueInfo(queue="work", processor="work")])
        app = console(runtime, authenticate=lambda request: Principal(name="benchmark", role="admin"))
        async with serving(app, "127.0.0.1", 0) as address:
            print(address, flush=True)
            await trio.sleep_forever()


@contextmanager
def tab() -> Iterator[Page]:
    """A page of Debian's Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0, args=["--disable-gpu"]
        )
        yield browser.new_page()
        browser.close()


def seen(base: str, rounds: int) -> dict[str, list[float]]:
    """Milliseconds until each list was there, as a browser has it."""
    took: dict[str, list[float]] = {path: [] for path in LISTS}
    with tab() as page:
        for path in LISTS:
            page.goto(base + path)
        for _, path in itertools.product(range(rounds), LISTS):
            began = time.perf_counter()
            page.goto(base + path, wait_until="load")
            took[path].append((time.perf_counter() - began) * 1000)
    return took


def memory(pid: int) -> float:
    """MB that a process has in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def asked(base: str, loads: int, measure: Callable[[], float]) -> list[float]:
    """What `measure` says after each tenth of so many pages."""
    found = list[float]()
    with httpx.Client(base_url=base, timeout=60) as client:
        for number, path in enumerate(itertools.islice(itertools.cycle(LISTS), loads), start=1):
            client.get(path).raise_for_status()
            if number % max(loads // 10, 1) == 0:
                found.append(measure())
    return found


@contextmanager
def served(url: str) -> Iterator[tuple[str, int]]:
    """The console of this Redis in a process of its own: where it is, and that process."""
    command = (sys.executable, "-m", "benchmarks.viewing", "--serve", url)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.send_signal(signal.SIGKILL)


def measured(url: str, rounds: int, loads: int) -> tuple[dict[str, list[float]], list[float]]:
    """Of the console of this Redis: how long its lists take, and its memory."""
    with served(url) as (base, pid):
        return seen(base, rounds), asked(base, loads, lambda: memory(pid))


async def run(
    jobs: int, sessions: int, rounds: int, loads: int
) -> tuple[dict[str, list[float]], list[float]]:
    async with open_embedded_server() as server:
        connection: Any = redis_py.Redis.from_url(server.url)
        for kind in ("w", "e"):
            await anyio.to_thread.run_sync(fill, connection, kind, jobs, sessions)
        return await anyio.to_thread.run_sync(measured, server.url, rounds, loads)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks viewing", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000, help="that wait, and as many that have ended")
    parser.add_argument("--sessions", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--loads", type=int, default=10_000, help="pages while memory is looked at")
    parser.add_argument("--serve", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        trio.run(serve, options.serve)
        return
    took, kept = trio.run(run, options.jobs, options.sessions, options.rounds, options.loads)
    for path, each in took.items():
        p95 = sorted(each)[int(len(each) * 0.95)]
        print(f"{path:<32} p50 {statistics.median(each):7.1f} ms  p95 {p95:7.1f} ms  (bar {BAR:g})")
    drift = kept[-1] / kept[0] - 1
    print("MB after each tenth of the loads:", ", ".join(f"{mb:.1f}" for mb in kept))
    print(f"from the first tenth to the last: {drift:+.1%} (bar {DRIFT:.0%})")


if __name__ == "__main__":
    main()
