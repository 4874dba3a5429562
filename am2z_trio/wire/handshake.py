"""The greeting: get in, and find out whether this server can be trusted with jobs."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, cast

from am2z_trio.model.errors import (
    AuthenticationError,
    ConfigurationError,
    UnsupportedServerError,
)
from am2z_trio.model.logs import Log
from am2z_trio.model.redis_options import RedisOptions

from .connection import Connection
from .holes import known_holes, product_of
from .resp import ReplyError, code_of, error_from, is_denied

logger: Final = Log("am2z_trio.wire")

OLDEST: Final = (6, 2)
"""The first version with everything the scripts use."""


class Greeting(NamedTuple):
    """What the server has said of itself."""

    version: str
    run_id: str
    """What it calls its present life; empty if it does not tell."""
    in_cluster: bool
    history: str
    """What it calls its data set's history: another one after each start, and when a replica takes over."""
    holes: str
    """What is known against it; empty for nothing."""


async def greet(connection: Connection, options: RedisOptions, client_name: str) -> Greeting:
    """Switch to RESP3, log in, choose the database, check the server.

    Raises `AuthenticationError`, `AccessDeniedError`, `UnsupportedServerError` or `ConfigurationError`.
    """
    hello = await _hello(connection, options, client_name)
    if options.db:
        reply = await connection.call("SELECT", options.db)
        if isinstance(reply, ReplyError) and is_denied(str(reply)):
            raise error_from(reply)
        if isinstance(reply, ReplyError):
            raise ConfigurationError(
                f"db={options.db}: {options.display} has no such database ({reply})",
                context={"field": "db", "value": options.db},
            )
    info = await _info(connection, options)
    _refuse_replica(hello, info, options)
    _refuse_eviction(info, options)
    product = product_of(info)
    return Greeting(
        hello["version"],
        info.get("run_id", ""),
        hello.get("mode") == "cluster",
        info.get("master_replid", ""),
        "" if product is None else known_holes(*product),
    )


async def _hello(connection: Connection, options: RedisOptions, client_name: str) -> dict[str, str]:
    words: list[str] = ["HELLO", "3"]
    if options.password or options.username:
        words += ["AUTH", options.username or "default", options.password]
    if client_name:
        words += ["SETNAME", _plain(client_name)]
    reply = await connection.call(*words)
    if isinstance(reply, ReplyError):
        code = code_of(reply)
        if code == "NOAUTH":
            raise AuthenticationError(f"{options.display} wants a password: put it into the URL")
        if code in ("WRONGPASS", "NOPERM"):
            raise AuthenticationError(f"{options.display} refused the username or password")
        if "unknown command" in str(reply):
            raise UnsupportedServerError(
                f"the server at {options.display} is too old: it does not know HELLO; "
                f"Redis {_spell(OLDEST)} or later is needed"
            )
        # What stands in between may quote what it was sent.
        text = str(reply)
        raise error_from(ReplyError(text.replace(options.password, "***") if options.password else text))
    if not isinstance(reply, dict) or b"version" not in reply:
        raise UnsupportedServerError(f"what answers at {options.display} is not Redis")
    told = cast("dict[object, object]", reply)
    hello = {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in told.items()
        if isinstance(name, bytes) and isinstance(value, bytes)
    }
    version = hello.get("version", "")
    if hello.get("mode") == "sentinel":
        raise UnsupportedServerError(
            f"what answers at {options.display} is a Sentinel: give the URL of the server that it watches"
        )
    if _parse(version) < OLDEST:
        raise UnsupportedServerError(
            f"Redis {version} at {options.display} is too old: {_spell(OLDEST)} or later is needed",
            context={"version": version},
        )
    return hello


async def _info(connection: Connection, options: RedisOptions) -> dict[str, str]:
    reply: Any = await connection.call("INFO")
    if isinstance(reply, ReplyError):
        logger.warning(
            "%s does not tell its maxmemory-policy (%s); it must be noeviction", options.display, reply
        )
        return {}
    if not isinstance(reply, bytes):
        raise UnsupportedServerError(f"what answers at {options.display} is not Redis")
    lines = reply.decode(errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _refuse_replica(hello: dict[str, str], info: dict[str, str], options: RedisOptions) -> None:
    """A replica takes no jobs. One that a failover has made so is asked again until it is none, or until its
    name leads elsewhere."""
    if hello.get("role", "master") == "master":
        return
    primary = f"{info['master_host']}:{info.get('master_port', '')}" if info.get("master_host") else ""
    raise UnsupportedServerError(
        f"the server at {options.display} is a replica, which takes no jobs: give the URL of its primary"
        + (f" ({primary})" if primary else ""),
        context={"url": options.display, "primary": primary},
    )


def _refuse_eviction(info: dict[str, str], options: RedisOptions) -> None:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and not options.allow_eviction:
        raise UnsupportedServerError(
            f"{options.display} may drop jobs when its memory is full: its maxmemory-policy is {policy!r}. "
            "Set it to noeviction, or pass allow_eviction=True",
            context={"maxmemory_policy": policy},
        )


def _plain(name: str) -> str:
    """CLIENT SETNAME takes no spaces or line ends."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.-:@") else "_" for c in name)


def _parse(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def _spell(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
