"""The server that all contenders use, one after the other."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import anyio.from_thread
import msgspec

from am2z_trio.embedded.server import EmbeddedServer, open_embedded_server


@contextmanager
def private_server(binary: str | None = None) -> Iterator[EmbeddedServer]:
    """Start a server for this run alone, without persistence, that ends with its owner.

    It listens on a port of the loopback interface: not every contender speaks to a Unix socket. Its owner is
    an event loop in another thread, as the harness blocks.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    config = {"port": str(port), "bind": "127.0.0.1"}
    with anyio.from_thread.start_blocking_portal("asyncio") as portal:
        opened = open_embedded_server(binary=binary, config=config)
        with portal.wrap_async_context_manager(opened) as server:
            yield msgspec.structs.replace(server, url=f"redis://127.0.0.1:{port}/0")
