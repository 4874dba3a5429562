"""The console, served alone: by Hypercorn, in the runtime's own loop on Trio."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from anyio.abc import TaskStatus
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType]

from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.limits import KIB
from am2z_trio.observe.listen import bind

from .security.hosts import LOOPBACK, is_loopback

MOST_HEAD: Final = 64 * KIB
"""Bytes of a request's head: a session's id may be 16 KiB, each of which may take three in an address."""
TAKES_WITHIN: Final = 30.0
"""Seconds after which a connection is cut whose reader takes nothing of what was sent: more than any answer
waits for one by itself, which Hypercorn keeps it from on Trio. By Linux; elsewhere it is held as long as the
reader is there."""
LEAVES_WITHIN: Final = 1.0
"""Seconds that browsers have at the end: those that look live would stay."""


def hosts_of(host: str, named: Sequence[str]) -> tuple[str, ...]:
    """By which names a console that is bound there is asked for: those that were `named`, and otherwise those
    of the address. Raises `ConfigurationError` where the address tells none."""
    if named:
        return tuple(named)
    if is_loopback(host):
        return LOOPBACK
    if host in ("0.0.0.0", "::"):
        raise ConfigurationError(
            f"{host or '*'} is every address of this machine: say by --host what it is called"
        )
    return (f"[{host}]" if ":" in host else host,)


@asynccontextmanager
async def serving(app: Any, host: str, port: int) -> AsyncIterator[str]:
    """Serve it within the block, which gets its address, such as `http://127.0.0.1:8484`. Port 0: any that is
    free. Raises `ConfigurationError` where it cannot be bound."""
    listener = bind((host, port))
    name, port = f"[{host}]" if ":" in host else host, listener.getsockname()[1]
    listener.setblocking(False)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Whatever is accepted has it, too.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(TAKES_WITHIN * 1000))
    config = Config()
    # Closed by Hypercorn.
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = logging.getLogger("am2z_trio.web.server")
    config.include_server_header = False
    config.h11_max_incomplete_size = MOST_HEAD
    config.graceful_timeout = config.shutdown_timeout = LEAVES_WITHIN
    ends, ended = anyio.Event(), anyio.Event()
    # It is not cancelled but told to end, so that what it has begun to send is sent.
    kept = anyio.CancelScope(shield=True)
    async with anyio.create_task_group() as tasks:

        async def run(*, task_status: TaskStatus[None]) -> None:
            begun: Any = _Begun(task_status)
            with kept:
                await serve(app, config, shutdown_trigger=ends.wait, task_status=begun)
            ended.set()

        await tasks.start(run)
        try:
            yield f"http://{name}:{port}"
        finally:
            ends.set()
            with anyio.move_on_after(LEAVES_WITHIN + 2, shield=True):
                await ended.wait()
            kept.cancel()


class _Begun:
    """Says that it is served, without the addresses that Hypercorn tells."""

    def __init__(self, status: TaskStatus[None]) -> None:
        self._status: Final = status

    def started(self, value: object = None) -> None:
        self._status.started()
