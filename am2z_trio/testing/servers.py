"""A private Redis server without an event loop: for a test session, a script, a notebook."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from am2z_trio.embedded.find import find_server, version_of
from am2z_trio.embedded.prepared import NO_CONFIG, PreparedServer
from am2z_trio.model.errors import NetworkError

PATIENCE: Final = 60.0
"""Seconds for a server to answer, or to end."""

LOOK_EVERY: Final = 0.005


@contextmanager
def private_server(binary: str | None = None, *, config: Mapping[str, str] = NO_CONFIG) -> Iterator[str]:
    """The URL of a server of one's own, which ends with the block, or with this process however that ends.

    `binary` is as for `embedded.find.find_server`: by default the one of the extra `embedded`, else
    `redis-server` or `valkey-server` on PATH; `ConfigurationError` where there is none. Blocks the thread
    until the server answers; `NetworkError` with its log if it does not.
    """
    program = find_server(binary)
    said = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    prepared = PreparedServer.create(program, version_of(program, said.stdout), config)
    try:
        process = subprocess.Popen(
            prepared.command(),
            stdin=prepared.stdin,
            stdout=prepared.log,
            stderr=prepared.log,
            cwd="/",
            start_new_session=True,
        )
        try:
            prepared.started()
            deadline = time.monotonic() + PATIENCE
            while not _answers(prepared):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise NetworkError(f"the private Redis server does not answer: {prepared.log_tail()}")
                time.sleep(LOOK_EVERY)
            yield prepared.url
        finally:
            prepared.hang_up()
            process.wait(PATIENCE)
    finally:
        prepared.remove()


def _answers(prepared: PreparedServer) -> bool:
    request, lines = prepared.ping
    received = b""
    with socket.socket(socket.AF_UNIX) as asker:
        try:
            asker.settimeout(PATIENCE)
            asker.connect(str(prepared.socket))
            asker.sendall(request)
            while received.count(b"\r\n") < lines and (data := asker.recv(65536)):
                received += data
        except OSError:
            return False
    return prepared.is_answered(received)
