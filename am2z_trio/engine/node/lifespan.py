"""What the processors of a node share, from before the first claim to after the last job: a user's context
manager, in a task of its own, so that nothing that goes on in it surrounds the runtime's block."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from am2z_trio.concurrency import CancelScope, Host, Nursery
from am2z_trio.engine.processors.injection import Provided
from am2z_trio.engine.processors.registry import Registry
from am2z_trio.model.arguments import refusal
from am2z_trio.model.errors import RuntimeStateError
from am2z_trio.model.logs import Log

logger: Final = Log("am2z_trio.node")

LEAVES_WITHIN: Final = 5.0
"""Seconds that its end may take, also where the runtime is cancelled or fails, before it is cancelled."""


class Lifespan:
    """One node's, entered and left once. It is left without hearing how the runtime ends."""

    def __init__(
        self, host: Host, registry: Registry, opens: Callable[[], AbstractAsyncContextManager[Any]] | None
    ) -> None:
        """`opens`: a user's; without one, nothing is provided."""
        self._host = host
        self._registry = registry
        self._opens = opens
        self._entered, self._over, self._left = host.event(), host.event(), host.event()
        self._begun = False
        self._scope: CancelScope = host.cancel_scope(shield=True)
        self._given: Any = None

    async def enter(self, nursery: Nursery) -> None:
        """Have processors given what it provides. What entering it raises comes through the nursery."""
        if self._opens is not None:
            self._begun = True
            nursery.start_soon(self._run, self._opens, name="am2z lifespan")
            await self._entered.wait()
        self._registry.provide(Provided(self._given))

    async def leave(self) -> None:
        """Have it end, for as long as that may take, also where the node is cancelled."""
        self._registry.provide(None)
        if not self._begun:
            return
        if not self._entered.is_set():
            self._scope.cancel()
        self._over.set()
        with self._host.cancel_scope(deadline=self._host.now() + LEAVES_WITHIN, shield=True):
            await self._left.wait()
        if not self._left.is_set():
            logger.error("the lifespan has not ended within %g s, and is cancelled", LEAVES_WITHIN)
            self._scope.cancel()

    async def _run(self, opens: Callable[[], object]) -> None:
        try:
            with self._scope:
                opened = opens()
                if not isinstance(opened, AbstractAsyncContextManager):
                    raise refusal("lifespan", opened, "must return an async context manager")
                async with opened as self._given:
                    self._entered.set()
                    await self._over.wait()
            if not self._over.is_set():
                raise RuntimeStateError("the lifespan has ended by itself, and the node with it")
        finally:
            self._given = None
            self._left.set()
