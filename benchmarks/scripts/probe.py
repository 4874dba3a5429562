"""A store whose every script call is measured."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from am2z_trio.store.redis import scripts
from am2z_trio.wire.programs import FUNCTIONS_SINCE
from am2z_trio.wire.scripts import Script

T = TypeVar("T")

Connection = Any
"""A blocking `redis.Redis`, whose commands redis-py types in part only."""


@dataclass
class Call:
    """One script call."""

    script: str
    ms: float
    """As SLOWLOG has it: on a busy machine, also while the server was not running."""
    cpu: float
    """Milliseconds that the server's main thread has worked, 0 where it does not say."""
    commands: int


class Probe:
    """What a `RedisStore` needs of its client: blocking, and every call is measured."""

    state = "ready"

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.calls: list[Call] = []
        scripts.library()
        self._has_functions = (
            int(connection.info("server")["redis_version"].partition(".")[0]) >= FUNCTIONS_SINCE
        )
        self._taught: set[str] = set()

    async def eval(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        connection = self.connection
        called = self._taught_call(script)
        connection.execute_command("SLOWLOG", "RESET")
        before, cpu = self._commands(), self._cpu()
        try:
            return connection.execute_command(*called, len(keys), *keys, *args)
        finally:
            worked = self._cpu() - cpu
            # Less the looks at what has run and the script call itself.
            commands = self._commands() - before - 4
            entries: Any = connection.slowlog_get(10)
            took = [entry["duration"] for entry in entries if entry["command"].startswith(called[0].encode())]
            self.calls.append(Call(script.name, max(took, default=0) / 1000, worked, commands))

    def _taught_call(self, script: Script) -> tuple[str, str]:
        """How the product calls the script on this server, which knows it from here on."""
        execute = self.connection.execute_command
        if script.library is None or not self._has_functions:
            if script.sha1 not in self._taught:
                execute("SCRIPT", "LOAD", script.source)
            self._taught.add(script.sha1)
            return "EVALSHA", script.sha1
        if script.library.name not in self._taught:
            execute("FUNCTION", "LOAD", "REPLACE", script.library.source)
        self._taught.add(script.library.name)
        return "FCALL", script.function

    def _commands(self) -> int:
        found: Any = self.connection.info("commandstats")
        return sum(row["calls"] for row in found.values())

    def _cpu(self) -> float:
        found: Any = self.connection.info("cpu")
        seconds: float = sum(found.get(f"used_cpu_{kind}_main_thread", 0.0) for kind in ("user", "sys"))
        return seconds * 1000

    async def call(self, *args: Any) -> Any:
        return self.connection.execute_command(*args)

    def send_eval(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> None:
        drive(self.eval(script, keys, args))


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("the store waited")
