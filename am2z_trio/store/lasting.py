"""Tasks of a node that have no end of their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from am2z_trio.concurrency import Host, TaskStatus
from am2z_trio.model.errors import RuntimeStateError


async def lasting(
    host: Host,
    what: str,
    run: Callable[..., Awaitable[None]],
    *args: Any,
    task_status: TaskStatus | None = None,
) -> None:
    """Run a task until it is cancelled; ended unasked, it takes the node down with one error.

    Such an end is silent otherwise: a cancellation that nobody asked for is absorbed by the next nursery.
    """
    options = {} if task_status is None else {"task_status": task_status}
    try:
        await run(*args, **options)
    except anyio.get_cancelled_exc_class() as cancelled:
        if host.is_cancellation(cancelled):
            raise
    raise RuntimeStateError(f"{what} of this node has ended by itself, and the node with it")
