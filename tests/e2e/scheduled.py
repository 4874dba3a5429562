"""What the workers of the schedules' tests serve: each run adds its nominal time to a session's state."""

from __future__ import annotations

import os

import anyio

from am2z_trio import Context, QueueOptions, QueueRuntime, processor


@processor(queue=QueueOptions(stalled_interval=0.1))
async def note(times: list[int], ctx: Context) -> list[int]:
    await anyio.sleep(0.01)
    assert ctx.schedule is not None
    return [*times, ctx.schedule.at]


runtime = QueueRuntime(os.environ.get("E2E_REDIS", "redis://localhost"), shutdown_grace=20)
runtime.register(note)
