"""What becomes of a job whose client has left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import anyio

from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.engine.submission.job import Job
from am2z_trio.model.checks import require, require_seconds
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log

logger: Final = Log("am2z_trio.asgi")

OnDisconnect = Literal["cancel", "leave"]

PATIENCE: Final = 5.0
"""Seconds that cancelling a job may take, also where the one who does it is cancelled."""


class Leaving:
    """One client of a job."""

    _watching: Final = Counter[str]()
    """By job: clients in this process."""

    def __init__(self, job: Job[Any], on_disconnect: OnDisconnect, grace: float) -> None:
        require(
            on_disconnect in ("cancel", "leave"),
            "on_disconnect",
            on_disconnect,
            "must be 'cancel' or 'leave'",
        )
        self._job: Final = job
        self._cancels: Final = on_disconnect == "cancel"
        self._grace: Final = require_seconds("grace", grace)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While the client is there."""
        self._watching[self._job.id] += 1
        try:
            yield
        finally:
            self._watching[self._job.id] -= 1
            if not self._watching[self._job.id]:
                del self._watching[self._job.id]

    async def while_there(
        self, tell: Callable[[], Awaitable[bool]], until_gone: Callable[[], Awaitable[None]]
    ) -> None:
        """Have the client told until `tell` returns whether it has taken all, or it has gone."""
        gone = False

        async def watch() -> None:
            nonlocal gone
            await until_gone()
            gone = True
            tasks.cancel_scope.cancel()

        with self.watching(), unwrapped():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                if not await tell():
                    gone = True
                tasks.cancel_scope.cancel()
        if gone:
            await self.left()

    async def left(self) -> None:
        """It has gone: cancel the job, if that is asked for, and nobody has come back within the grace."""
        if not self._cancels:
            return
        if self._grace:
            await anyio.sleep(self._grace)
            if self._watching[self._job.id]:
                return
        await self.cancel()

    async def cancel(self) -> None:
        """At once, if at all."""
        if not self._cancels:
            return
        with anyio.move_on_after(PATIENCE, shield=True):
            try:
                await self._job.cancel("its client has left")
            except AM2ZError as error:
                logger.warning(
                    "job %s could not be cancelled, whose client has left: %s", self._job.id, error
                )
