"""What the worker processes of these tests serve. Settings come from the environment."""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio

from am2z_trio import Context, Processor, QueueOptions, QueueRuntime, RateLimit, chain, processor

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


STEPS = 10
QUICK = QueueOptions(stalled_interval=0.1)


def stair(number: int) -> Processor[list[int]]:
    """A step that is there for ever when it runs for the first time."""

    async def step(done: list[int], ctx: Context) -> list[int]:
        mark(f"step-{number}-run-{ctx.meta.deliveries}")
        await ctx.state.update(lambda effects: [*(effects or []), number])
        if ctx.meta.deliveries == 1:
            await anyio.sleep_forever()
        return [*done, number]

    return processor(name=f"step-{number}", queue=QUICK)(step)


@processor(queue=QUICK)
async def count_up(done: list[int], ctx: Context) -> list[int]:
    """A composition of the user's own, with an effect at its end that keeps those of its calls."""
    for number in range(STEPS):
        done = await ctx.call(f"step-{number}", done)
    await ctx.state.update(lambda effects: [*(effects or []), STEPS])
    return done


@processor(queue=QueueOptions(limiter=RateLimit(max=50, duration=1)))
async def limited(n: int) -> int:
    return n


POISON = 13


@processor(queue=QueueOptions(concurrency=20, stalled_interval=0.1))
async def handle(n: int, ctx: Context) -> int:
    """End the whole process, for one input."""
    mark(f"handle-{n}-run-{ctx.meta.deliveries}")
    if n == POISON:
        os._exit(9)
    await anyio.sleep(0.01)
    return -n


REDIS = os.environ.get("E2E_REDIS", "redis://localhost")

stairs = QueueRuntime(REDIS)
steps = [stair(number) for number in range(STEPS)]
stairs.register(chain("stairs", steps, queue=QUICK), count_up)

limits = QueueRuntime(REDIS)
limits.register(limited)

poisoned = QueueRuntime(REDIS)
poisoned.register(handle)

runtime = QueueRuntime(REDIS, shutdown_grace=20)
runtime.register(double, first_hangs, first_hangs_in_thread, slow_plus_one, deaf_plus_one, held)

# A frozen worker's connections stand: it is missed when its lease is over. Longer than a busy machine pauses.
freezes = QueueRuntime(REDIS, lease=3, shutdown_grace=20)
freezes.register(first_hangs, deaf_plus_one)

idle = QueueRuntime(REDIS)

parents = QueueRuntime(REDIS)
parents.register(calls_sleeper)

children = QueueRuntime(REDIS)
children.register(sleeper)
