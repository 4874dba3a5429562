"""The engine over the memory store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Unpack

import msgspec

from am2z_trio.model.arguments import exact_arguments
from am2z_trio.model.records import KEPT
from am2z_trio.model.runtime_options import NodeKeywords, RuntimeOptions
from am2z_trio.store.memory.server import MemoryServer
from am2z_trio.store.memory.store import MemoryStore
from am2z_trio.store.ports import Store

from .runtime import Runtime


class LocalRuntime(Runtime):
    """Everything in this process, in memory: no Redis, the same behaviour.

    There are no other nodes: a processor that is not registered here is an error also where it is given
    itself, as nobody else will come to serve it.
    """

    _shared = False

    @exact_arguments
    def __init__(self, **options: Unpack[NodeKeywords]) -> None:
        """Options are those of `RuntimeOptions` that make sense in one process; `node` is `local` by default.
        Where `result_ttl` is not given, the record of an ended job whose `job_id` nobody has chosen is kept
        for a minute only, as it takes this process's memory. A bad or misspelt option is a
        `ConfigurationError`."""
        options.setdefault("node", "local")
        super().__init__(RuntimeOptions(**options))
        settings = self._settings
        if "result_ttl" not in options:
            settings = msgspec.structs.replace(settings, unnamed_ttl=KEPT)
        self._server = MemoryServer(settings)

    @property
    def place(self) -> str:
        """Which jobs it has, for a person."""
        return "in this process's memory"

    @asynccontextmanager
    async def _open_store(self, node: str) -> AsyncIterator[Store]:
        yield MemoryStore(node, self._server)
