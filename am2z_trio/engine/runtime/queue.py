"""The engine over Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Unpack, cast

from am2z_trio.model.arguments import exact_arguments
from am2z_trio.model.checks import require
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.model.runtime_options import RuntimeKeywords, RuntimeOptions
from am2z_trio.store.ports import Store

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
        # What is not there without Redis is loaded with the first such runtime; not later, in the event loop.
        import_module("am2z_trio.embedded.server")
        import_module("am2z_trio.store.redis.store")

    def client(self) -> QueueRuntime:
        """Another runtime of the same Redis, options and processors, which serves none of them: to submit, or
        to look, from a process that is not to work. Raises `ConfigurationError` of an embedded server, which
        nobody else reaches."""
        require(not self._embedded, "embedded", True, "has no clients: it is this runtime's own")
        options = {name: getattr(self._options, name) for name in self._options.__struct_fields__}
        other = QueueRuntime(self._redis, **cast("RuntimeKeywords", {**options, "workers": False}))
        other.register(*(definition.processor for definition in self._registry.all()))
        return other

    @property
    def place(self) -> str:
        """Which jobs it has, for a person: `am2z on redis://localhost:6379/0`, without a password."""
        return f"{self._options.prefix} on {'a server of its own' if self._embedded else self._redis.display}"

    @property
    def _address(self) -> tuple[str, int | None] | None:
        where = self._redis
        if self._embedded:
            return None
        return (where.path, None) if where.path else (where.host, where.port)

    @asynccontextmanager
    async def _open_store(self, node: str) -> AsyncIterator[Store]:
        from am2z_trio.embedded.server import open_embedded_server
        from am2z_trio.store.redis.store import RedisStore

        async with AsyncExitStack() as stack:
            where, death = self._redis, None
            if self._embedded:
                server = await stack.enter_async_context(open_embedded_server())
                where, death = RedisOptions.from_url(server.url), server.death
            yield RedisStore(node, where, prefix=self._options.prefix, settings=self._settings, death=death)
