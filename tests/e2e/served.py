"""What the worker processes of these tests serve. Settings come from the environment."""

from __future__ import annotations

import os
from pathlib import Path

import anyio

from am2z_trio import Context, QueueOptions, QueueRuntime, processor

MARKS = Path(os.environ.get("E2E_MARKS", "."))


@processor(queue=QueueOptions(concurrency=50))
async def double(n: int) -> int:
    return 2 * n


@processor
async def first_hangs(seen: list[str], ctx: Context) -> list[str]:
    """Hang on the first delivery; say who ran on a later one."""
    (MARKS / f"started-{ctx.meta.deliveries}").touch()
    if ctx.meta.deliveries == 1:
        await anyio.sleep_forever()
    return [*seen, f"attempt {ctx.meta.attempt}", f"delivery {ctx.meta.deliveries}", str(os.getpid())]


@processor
async def slow_plus_one(n: int, ctx: Context) -> int:
    """Hold still on the first delivery until a file appears, then count."""
    (MARKS / f"started-{ctx.meta.deliveries}").touch()
    while ctx.meta.deliveries == 1 and not (MARKS / "go").exists():
        await anyio.sleep(0.005)
    return n + 1


runtime = QueueRuntime(os.environ.get("E2E_REDIS", "redis://localhost"), lease=1, shutdown_grace=20)
runtime.register(double, first_hangs, slow_plus_one)

idle = QueueRuntime(os.environ.get("E2E_REDIS", "redis://localhost"))
