"""A worker process of the chaos run, which can be told where to die: `python -m tests.chaos.worker`.

Settings come from the environment: `CHAOS_REDIS` (URL), `CHAOS_OPTIONS` (JSON: the runtime's), `CHAOS_IDLE`
(set: it serves nothing, and looks for the dead) and `CHAOS_CRASH`, such as `settle after-send 3`: the process
is killed (SIGKILL) when it has sent its third settlement and before it can read an answer. `POINTS` names all
points.

Crash points lie on the bytes of the node's connections and in the code of its jobs: nothing in the engine
knows of them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final, cast

import anyio

from am2z_trio import Context, QueueOptions, QueueRuntime, chain, processor
from am2z_trio.store.redis import scripts
from am2z_trio.wire.connection import Connection
from am2z_trio.wire.scripts import Script

SCRIPTS: Final = {
    "claim": scripts.CLAIM,
    "settle": scripts.SETTLE,
    "enqueue": scripts.ENQUEUE,
    "beat": scripts.BEAT,
    "join": scripts.JOIN,
}
POINTS: Final = (
    *(f"{name} {when}" for name in SCRIPTS for when in ("before-send", "after-send", "after-answer")),
    "code before-effect",
    "code after-effect",
)
"""Before a call's bytes leave; when they have left; when its answer has come, or the beginning of it; in a
job's code."""

OPTIONS: Final = QueueOptions(concurrency=20, session_concurrency=1, max_stalled_count=1000)
FREE: Final = QueueOptions(concurrency=20, max_stalled_count=1000)


class Crash:
    """The point at which this process dies, and how often it is passed before."""

    def __init__(self, plan: str = "") -> None:
        what, when, times = plan.split() if plan else ("", "", "0")
        self.point = f"{what} {when}"
        self.left = int(times)
        self.script: Script | None = SCRIPTS.get(what)

    def reach(self, point: str) -> None:
        if point != self.point:
            return
        self.left -= 1
        if self.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def is_in(self, data: bytes) -> bool:
        """Whether the call that is waited for is among these bytes."""
        if self.script is None:
            return False
        called = self.script.sha1.encode() in data or f"\r\n{self.script.function}\r\n".encode() in data
        return called or (b"EVAL\r\n" in data and self.script.source.encode() in data)


class CrashingStream:
    """A connection's bytes, and the points that lie on them."""

    def __init__(self, stream: Any, crash: Crash) -> None:
        self._stream, self._crash = stream, crash
        self._name = crash.point.partition(" ")[0]
        self._sent = False

    def send_now(self, data: bytes) -> int:
        # Its points lie around what is sent by `send_all`.
        return 0 if self._crash.is_in(data) else self._stream.send_now(data)

    async def send_all(self, data: bytes) -> None:
        crash, ours = self._crash, self._crash.is_in(data)
        if ours:
            crash.reach(f"{self._name} before-send")
        await self._stream.send_all(data)
        if ours:
            crash.reach(f"{self._name} after-send")
            self._sent = True

    async def receive_some(self, most: int) -> bytes:
        data: bytes = await self._stream.receive_some(most)
        if self._sent and data:
            self._sent = False
            self._crash.reach(f"{self._name} after-answer")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def arm(crash: Crash) -> None:
    """Let every connection of this process pass its bytes through the crash points."""
    opened = Connection.__init__

    def open_armed(self: Connection, host: Any, stream: Any, **options: Any) -> None:
        opened(self, host, cast(Any, CrashingStream(stream, crash)), **options)

    Connection.__init__ = open_armed  # type: ignore[method-assign]


crash = Crash(os.environ.get("CHAOS_CRASH", ""))


async def leave_effect(ctx: Context, name: str) -> None:
    """The job's effect: its name at the end of its session's state, with the settlement or not at all."""
    crash.reach("code before-effect")
    await ctx.state.update(lambda effects: [*(effects or []), name])
    crash.reach("code after-effect")


@processor(queue=OPTIONS)
async def effect(given: list[str], ctx: Context) -> list[str]:
    await anyio.sleep(0.002)
    await leave_effect(ctx, given[0])
    return given


@processor(queue=FREE)
async def plain(given: list[str]) -> list[str]:
    await anyio.sleep(0.001)
    return [*given, "plain"]


@processor(queue=FREE)
async def step(given: list[str], ctx: Context) -> list[str]:
    await leave_effect(ctx, given[0])
    return given


@processor(queue=FREE)
async def calling(given: list[str], ctx: Context) -> list[str]:
    """Durable calls, one with an effect of its own, then another effect."""
    called = await ctx.call("plain", given)
    await ctx.call("step", [f"{given[0]}-step"])
    await leave_effect(ctx, given[0])
    return called or []


steps = chain("steps", [plain, plain, plain], queue=FREE)


@processor(queue=FREE)
async def hangs(given: list[str], ctx: Context) -> list[str]:
    """The measure of recovery: hangs on its first delivery, until its process is killed."""
    if ctx.meta.deliveries == 1:
        await anyio.sleep_forever()
    return [*given, str(time.time())]


@processor(queue=QueueOptions(concurrency=20))
async def patient(given: list[str], ctx: Context) -> list[str]:
    """Waits for a file, then leaves an effect and says how often it was delivered."""
    while not Path(given[1]).exists():
        await anyio.sleep(0.05)
    await leave_effect(ctx, given[0])
    return [*given, str(ctx.meta.deliveries)]


PROCESSORS: Final = (effect, plain, step, calling, steps, hangs, patient)


async def main() -> None:
    runtime = QueueRuntime(os.environ["CHAOS_REDIS"], **json.loads(os.environ.get("CHAOS_OPTIONS", "{}")))
    if "CHAOS_IDLE" not in os.environ:
        runtime.register(*PROCESSORS)
    async with runtime:
        print("serves", flush=True)
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                return


if __name__ == "__main__":
    if crash.left:
        arm(crash)
    sys.exit(anyio.run(main, backend=os.environ.get("CHAOS_HOST", "trio")))
