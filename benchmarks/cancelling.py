"""From a click in the console's tree to the end of a job in another process.

`python -m benchmarks cancelling` has a worker run as many jobs as there are to be clicks, in a process of its
own beside those of the console and a private Redis. For one job after the other the tree is opened in
Debian's Chromium, its cancel is asked for, and the button that confirms it is clicked. Figures are
milliseconds from that click, as the browser's event has it, to where the job's code sees `Cancelled`, as the
worker's clock has it: p50, p95 and the longest. Needs the extras `embedded` and `test`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import anyio
import anyio.to_thread
import trio

from am2z_trio import Job, QueueOptions, QueueRuntime, processor
from am2z_trio.embedded.server import open_embedded_server

from .viewing import served, tab

BAR: Final = 100.0
"""Milliseconds: the longest."""

MOST: Final = 150
"""Clicks: a page of the tree has room for the lines of so many jobs."""

BEGINS: Final = 60.0
"""Seconds within which all jobs have begun."""

LISTEN: Final = """addEventListener("click", (event) => {
  sessionStorage.setItem("clicked", performance.timeOrigin + event.timeStamp);
}, true);"""


@processor(name="hold", queue=QueueOptions(concurrency=MOST))
async def hold(n: int) -> int:
    """Runs until it is cancelled, and says when that was, in ms since the epoch."""
    try:
        await trio.sleep_forever()
    finally:
        print(time.time() * 1000, flush=True)


async def work(url: str) -> None:
    """The worker, until it is ended."""
    async with QueueRuntime(url) as runtime:
        runtime.register(hold)
        await trio.sleep_forever()


@contextmanager
def working(url: str) -> Iterator[subprocess.Popen[str]]:
    """A worker on this Redis, in a process of its own."""
    command = (sys.executable, "-m", "benchmarks.cancelling", "--work", url)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        try:
            yield worker
        finally:
            worker.kill()


async def begun(url: str, clicks: int) -> list[str]:
    """The ids of so many jobs, once all of them run."""
    async with QueueRuntime(url, workers=False) as runtime:
        jobs: list[Job[int]] = [await runtime.submit(hold, n) for n in range(clicks)]
        with anyio.fail_after(BEGINS):
            while {await job.status() for job in jobs} != {"active"}:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        return [job.id for job in jobs]


def clicked(url: str, worker: subprocess.Popen[str], jobs: Sequence[str]) -> list[float]:
    """Milliseconds of each click."""
    assert worker.stdout is not None
    took = list[float]()
    with served(url) as (base, _), tab() as page:
        page.add_init_script(LISTEN)
        for job in jobs:
            page.goto(f"{base}/tree")
            page.click(f'.tree a[data-key="c"][href*="kind=job"][href$="job={job}"]')
            page.click("#asked button.danger")
            ended = float(worker.stdout.readline())
            page.wait_for_selector(".tree")
            took.append(ended - float(page.evaluate("sessionStorage.getItem('clicked')")))
    return took


async def run(clicks: int) -> list[float]:
    async with open_embedded_server() as server:
        with working(server.url) as worker:
            jobs = await begun(server.url, clicks)
            return await anyio.to_thread.run_sync(clicked, server.url, worker, jobs)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks cancelling", description=__doc__)
    parser.add_argument(
        "--clicks", type=int, default=40, choices=range(1, MOST + 1), metavar="N", help=f"{MOST} at most"
    )
    parser.add_argument("--work", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        trio.run(work, options.work)
        return
    took = sorted(trio.run(run, options.clicks))
    p95 = took[min(len(took) - 1, int(len(took) * 0.95))]
    print(
        f"{len(took)} clicks: p50 {statistics.median(took):.1f} ms  p95 {p95:.1f} ms  "
        f"max {took[-1]:.1f} ms  (bar {BAR:g})"
    )


if __name__ == "__main__":
    main()
