"""What the worker processes of these tests serve. Settings come from the environment."""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio

from am2z_trio import Context, QueueOptions, QueueRuntime, processor

MARKS = Path(os.environ.get("E2E_MARKS", "."))


def mark(name: str) -> None:
    """Tell the test; it looks for the file."""
    (MARKS / name).touch()


def may_go() -> bool:
    return (MARKS / "go").exists()


@processor(queue=QueueOptions(concurrency=50))
async def double(n: int) -> int:
    await anyio.sleep(0.001)
    return 2 * n


@processor
async def first_hangs(seen: list[str], ctx: Context) -> list[str]:
    """Hang on the first delivery; say who ran on a later one."""
    mark(f"started-{ctx.meta.deliveries}")
    if ctx.meta.deliveries == 1:
        await anyio.sleep_forever()
    return [*seen, f"attempt {ctx.meta.attempt}", f"delivery {ctx.meta.deliveries}", str(os.getpid())]


@processor
def first_hangs_in_thread(seen: list[str], ctx: Context) -> list[str]:
    """`first_hangs` in a thread, which nothing can stop."""
    mark(f"started-{ctx.meta.deliveries}")
    while ctx.meta.deliveries == 1:
        time.sleep(1)
    return [*seen, f"attempt {ctx.meta.attempt}", f"delivery {ctx.meta.deliveries}", str(os.getpid())]


@processor
async def slow_plus_one(n: int, ctx: Context) -> int:
    """Hold still on the first delivery until a file appears, then count."""
    mark(f"started-{ctx.meta.deliveries}")
    while ctx.meta.deliveries == 1 and not may_go():
        await anyio.sleep(0.005)
    return n + 1


@processor
async def deaf_plus_one(n: int, ctx: Context) -> int:
    """`slow_plus_one` that hogs the loop: it settles in the step in which it may go on, so a zombie
    has no chance to hear first that its lease is gone."""
    mark(f"started-{ctx.meta.deliveries}")
    while ctx.meta.deliveries == 1 and not may_go():
        time.sleep(0.005)
    return n + 1


@processor(queue=QueueOptions(concurrency=10))
async def held(n: int) -> int:
    """Hold still until a file appears."""
    mark(f"held-{n}")
    while not may_go():
        await anyio.sleep(0.005)
    return n + 1


@processor
async def sleeper(n: int, ctx: Context) -> int:
    """Sleep until cancelled, and clean up in a bounded way then."""
    mark("sleeper-runs")
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            await anyio.sleep(0.01)
            mark("sleeper-ended")
    return n


@processor
async def calls_sleeper(n: int, ctx: Context) -> int:
    """Call `sleeper`, which another process serves."""
    try:
        return await ctx.call("sleeper", n)
    finally:
        mark("caller-ended")


runtime = QueueRuntime(os.environ.get("E2E_REDIS", "redis://localhost"), lease=1, shutdown_grace=20)
runtime.register(double, first_hangs, first_hangs_in_thread, slow_plus_one, deaf_plus_one, held)

idle = QueueRuntime(os.environ.get("E2E_REDIS", "redis://localhost"))

parents = QueueRuntime(os.environ.get("E2E_REDIS", "redis://localhost"))
parents.register(calls_sleeper)

children = QueueRuntime(os.environ.get("E2E_REDIS", "redis://localhost"))
children.register(sleeper)
