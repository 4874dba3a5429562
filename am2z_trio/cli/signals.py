"""Ctrl-C and SIGTERM end a command in good order."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskStatus

from am2z_trio.concurrency.groups import unwrapped

from .exits import INTERRUPTED


async def until_signal(work: Callable[[], Awaitable[int]]) -> int:
    """Run `work`; Ctrl-C or SIGTERM cancels it, so that it leaves in good order. Returns its exit status."""
    status = INTERRUPTED

    async def watch(scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                scope.cancel()

    # The group is the signal watcher's doing; a person wants the error.
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            await tasks.start(watch, tasks.cancel_scope)
            status = await work()
            tasks.cancel_scope.cancel()
    return status
