"""A store on Redis without an event loop: one call after the other, as the product calls its scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import redis

from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.store.ports import StoreSettings
from am2z_trio.store.redis import scripts
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.wire.programs import FUNCTIONS_SINCE
from am2z_trio.wire.scripts import Script
from benchmarks.scripts.probe import drive


class BlockingClient:
    """What `RedisStore` needs of its client, on redis-py."""

    def __init__(self, connection: redis.Redis) -> None:
        self._connection = connection
        found: Any = connection.info("server")
        scripts.library()
        self._has_functions = int(found["redis_version"].partition(".")[0]) >= FUNCTIONS_SINCE
        self.last: tuple[Any, ...] = ()

    async def eval(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        if script.library is None or not self._has_functions:
            self.last = ("EVAL", script.source, len(keys), *keys, *args)
            return self.again()
        self.last = ("FCALL", script.function, len(keys), *keys, *args)
        try:
            return self.again()
        except redis.ResponseError as error:
            if not str(error).startswith("Function not found"):
                raise
        self._connection.execute_command("FUNCTION", "LOAD", script.library.source)
        return self.again()

    async def call(self, *args: Any) -> Any:
        return self._connection.execute_command(*args)

    def send_eval(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> None:
        drive(self.eval(script, keys, args))

    def again(self) -> Any:
        """Send the last script call once more, byte for byte."""
        return self._connection.execute_command(*self.last)


def blocking_store(
    client: BlockingClient, node: str, settings: StoreSettings, clock: Callable[[], int] | None = None
) -> RedisStore:
    """A node's store over such a client, of which several may share one."""
    store = RedisStore(node, RedisOptions(), settings=settings, clock=clock)
    store.link.commands = client  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    return store
