"""The session states alone, for programs that run no processors here."""

from __future__ import annotations

from types import TracebackType
from typing import Self, Unpack

from am2z_trio.engine.states.manager import StateManager
from am2z_trio.model.arguments import exact_arguments
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.model.runtime_options import NodeKeywords, SharedKeywords

from .local import LocalRuntime
from .queue import QueueRuntime
from .runtime import Runtime


class _StandAlone(StateManager):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime.state._running)
        self._runtime = runtime

    async def __aenter__(self) -> Self:
        await self._runtime.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._runtime.__aexit__(kind, value, traceback)


class RedisStateManager(_StandAlone):
    """What `QueueRuntime.state` is, on a connection of its own:
    `async with RedisStateManager("redis://localhost") as state`."""

    @exact_arguments
    def __init__(
        self,
        redis: str | RedisOptions | None = None,
        *,
        embedded: bool = False,
        **options: Unpack[SharedKeywords],
    ) -> None:
        """The arguments are those of `QueueRuntime`, but for `workers`: it has none."""
        super().__init__(QueueRuntime(redis, embedded=embedded, workers=False, **options))


class MemoryStateManager(_StandAlone):
    """What `LocalRuntime.state` is, by itself. The states are gone with this object, not at exit."""

    @exact_arguments
    def __init__(self, **options: Unpack[NodeKeywords]) -> None:
        """The arguments are those of `LocalRuntime`."""
        super().__init__(LocalRuntime(**options))
