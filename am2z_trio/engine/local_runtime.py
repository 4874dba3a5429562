"""The engine over the memory store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from am2z_trio.model.options import ResourceLimits, RuntimeOptions
from am2z_trio.model.records import KEPT, queue_name
from am2z_trio.store.memory import MemoryStore
from am2z_trio.store.memory_server import MemoryServer
from am2z_trio.store.ports import Store

from .processor import Processor
from .runtime import Runtime
from .submissions import name_of


class LocalRuntime(Runtime):
    """Everything in this process, in memory: no Redis, the same behaviour."""

    def __init__(
        self,
        *,
        node: str = "local",
        shutdown_grace: float = 5.0,
        result_ttl: float | None = None,
        state_ttl: float | None = None,
        state_history: int = 0,
        max_state_bytes: int = RuntimeOptions().max_state_bytes,
        max_conflicts: int = RuntimeOptions().max_conflicts,
        max_call_depth: int = RuntimeOptions().max_call_depth,
        max_running: int | None = None,
        limits: ResourceLimits | None = None,
    ) -> None:
        """Options are those of `RuntimeOptions`. Where `result_ttl` is not given, the record of an ended job
        whose `job_id` nobody has chosen is kept for a minute only, as it takes this process's memory."""
        super().__init__(
            RuntimeOptions(
                node=node,
                shutdown_grace=shutdown_grace,
                result_ttl=RuntimeOptions().result_ttl if result_ttl is None else result_ttl,
                state_ttl=state_ttl,
                state_history=state_history,
                max_state_bytes=max_state_bytes,
                max_conflicts=max_conflicts,
                max_call_depth=max_call_depth,
                max_running=max_running,
                limits=limits or ResourceLimits(),
            )
        )
        settings = self._settings
        if result_ttl is None:
            settings = msgspec.structs.replace(settings, unnamed_ttl=KEPT)
        self._server = MemoryServer(settings)

    def unregister(self, processor: Processor[Any] | str) -> bool:
        """As `Runtime.unregister`; as there is no other node, nobody knows the processor any more."""
        removed = super().unregister(processor)
        self._server.withdraw(queue_name(name_of(processor)))
        return removed

    @asynccontextmanager
    async def _open_store(self, node: str) -> AsyncIterator[Store]:
        yield MemoryStore(node, self._server)
