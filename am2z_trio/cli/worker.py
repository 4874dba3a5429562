"""`am2z worker`: serve until a signal; the first drains, the second cancels."""

from __future__ import annotations

import signal

import anyio
from anyio.abc import TaskStatus

from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.checks import require_seconds
from am2z_trio.model.errors import ConfigurationError

from .display import say


async def serve(runtime: Runtime, *, grace: float | None) -> int:
    """Enter the runtime and serve its processors until SIGINT or SIGTERM."""
    if grace is not None:
        require_seconds("--grace", grace)
    names = runtime.list_processors()
    if not names:
        raise ConfigurationError("the runtime has no processors: call runtime.register(...) in its module")
    if not runtime.serves:
        raise ConfigurationError("the runtime was made with workers=False: it submits jobs and serves none")
    with unwrapped():
        async with anyio.create_task_group() as tasks, runtime:
            # Before the line that says it serves: whoever has read that may send a signal.
            await tasks.start(_on_signals, runtime, grace, tasks.cancel_scope)
            served = ", ".join(names)
            await runtime.sync_processors()
            say(f"node {runtime.node_id} serves {served}; Ctrl-C drains", error=True)
            await runtime.wait_stopped()
            tasks.cancel_scope.cancel()
    return 0


async def _on_signals(
    runtime: Runtime, grace: float | None, scope: anyio.CancelScope, *, task_status: TaskStatus[None]
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async with anyio.create_task_group() as tasks:
            async for _ in signals:
                if runtime.is_started:
                    say("draining; once more to cancel", error=True)
                    tasks.start_soon(runtime.stop, grace)
                else:
                    say("cancelling; jobs go back to their queues", error=True)
                    scope.cancel()
