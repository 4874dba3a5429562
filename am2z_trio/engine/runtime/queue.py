"""The engine over Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Unpack

from am2z_trio.embedded.server import open_embedded_server
from am2z_trio.model.arguments import exact_arguments
from am2z_trio.model.checks import require
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.model.runtime_options import RuntimeKeywords, RuntimeOptions
from am2z_trio.store.ports import Store
from am2z_trio.store.redis.store import RedisStore

from .runtime import Runtime


class QueueRuntime(Runtime):
    """Jobs on Redis: any number of processes share the work."""

    @exact_arguments
    def __init__(
        self,
        redis: str | RedisOptions | None = None,
        *,
        embedded: bool = False,
        **options: Unpack[RuntimeKeywords],
    ) -> None:
        """`redis` is a URL (`redis://`, `rediss://`, `unix://`) or `RedisOptions`; the default is
        `redis://localhost:6379/0`. `embedded=True` starts a private server instead, which ends with
        this process; if it dies, the block ends with a `NetworkError` that says how. The other keyword
        arguments are the fields of `RuntimeOptions`. A bad or misspelt one is a `ConfigurationError`.
        """
        require(isinstance(embedded, bool), "embedded", embedded, "must be True or False")
        require(
            not (embedded and redis is not None),
            "embedded",
            embedded,
            "goes without a URL: it starts a server of its own",
        )
        super().__init__(RuntimeOptions(**options))
        where = RedisOptions() if redis is None else redis
        self._redis = RedisOptions.from_url(where) if isinstance(where, str) else where
        require(
            isinstance(self._redis, RedisOptions),
            "redis",
            type(redis).__name__,
            "must be a URL or RedisOptions",
        )
        self._embedded = embedded

    @asynccontextmanager
    async def _open_store(self, node: str) -> AsyncIterator[Store]:
        async with AsyncExitStack() as stack:
            where, death = self._redis, None
            if self._embedded:
                server = await stack.enter_async_context(open_embedded_server())
                where, death = RedisOptions.from_url(server.url), server.death
            yield RedisStore(node, where, prefix=self._options.prefix, settings=self._settings, death=death)
