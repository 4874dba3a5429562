"""Tells the store who this node is: its process, its versions, and what it serves."""

from __future__ import annotations

import os
import socket
import time
from functools import cache
from itertools import islice
from typing import Final

from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.limits import MAX_NODE_BYTES
from am2z_trio.model.logs import Log
from am2z_trio.model.records import INTRODUCED_FOR, NodeInfo
from am2z_trio.model.telling import cut

from .draining import Draining
from .inside import Inside

logger: Final = Log("am2z_trio.node")

MOST_NAMED: Final = 500
"""Processors that are named; more are counted."""

EVERY: Final = INTRODUCED_FOR * 0.3
"""Seconds after which it is said again, at the latest."""

GATHER: Final = 0.05
"""Seconds in which several changes become one record."""


@cache
def own_version() -> str:
    """Of this package; empty where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("am2z-trio")
    except PackageNotFoundError:
        return ""


@cache
def _python() -> str:
    import platform

    return platform.python_version()


class Introduction:
    """What one node says of itself, and says again."""

    def __init__(self, inside: Inside, draining: Draining) -> None:
        self._inside = inside
        self._pauses = inside.node.heartbeat.pauses
        self._draining = draining
        self._started = int(time.time() * 1000)
        self._bell = inside.host.spot()

    def say_soon(self) -> None:
        """Something of it has changed, or the store may have forgotten it."""
        self._bell.wake()

    async def run(self) -> None:
        """Say it until cancelled."""
        host = self._inside.host
        while True:
            try:
                # Without a lease it is not kept: whoever takes one has it said again.
                await self._inside.store.control.introduce(self.info())
            except AM2ZError as error:
                logger.debug("this node could not say who it is: %s", error)
            with self._pauses.of(EVERY):
                await self._bell.park()
                await host.sleep(GATHER)

    def info(self) -> NodeInfo:
        inside = self._inside
        served = inside.fleet.served()
        named = ((name, inside.registry.get(name)) for name in islice(served, MOST_NAMED))
        return NodeInfo(
            # Its bytes need be no text.
            host=cut(socket.gethostname(), MAX_NODE_BYTES),
            pid=os.getpid(),
            version=own_version(),
            python=_python(),
            library=inside.host.name,
            started=self._started,
            max_running=inside.options.max_running,
            concurrency={name: one.processor.queue.concurrency for name, one in named if one is not None},
            served=len(served),
            draining=self._draining.is_on,
            full=inside.fleet.why_full(),
        )
