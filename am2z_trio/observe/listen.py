"""A small HTTP listener for probes and scrapers: `/livez`, `/readyz`, `/metrics`, and nothing else.

It has a thread of its own, so that `/livez` answers although the event loop is stuck. It is no web server:
GET and HEAD of these three paths, one request per connection, and every bound is below. What it does not know
it closes; nobody is waited for. It has no log: probes come every few seconds.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError, Future
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal

import msgspec

from am2z_trio.concurrency import current_host
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.checks import require, require_text
from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.logs import Log
from am2z_trio.model.telling import text_of
from am2z_trio.model.views.health import NodeHealth
from am2z_trio.policy.health import STUCK

logger: Final = Log("am2z_trio.listener")

MOST_HEAD: Final = 4 * 1024
"""Bytes of a request; one that has more is refused."""

MOST_OPEN: Final = 64
"""Connections at a time; the oldest goes where another one comes."""

BACKLOG: Final = 64
"""Connections that the system may hold beside these, until they are taken."""

PATIENCE: Final = 3.0
"""Seconds a connection may last, from its beginning to its end."""

READY_WITHIN: Final = 1.5
"""Seconds the event loop has to say whether the node is ready."""

FULL_FOR: Final = 0.02
"""Seconds after a connection that could not be taken."""

_REQUEST: Final = re.compile(rb"(GET|HEAD) (/[!-~]*) HTTP/1\.[01]\r?\n")
_ACCEPT: Final = re.compile(rb"^accept:[ \t]*([ -~]*)", re.IGNORECASE | re.MULTILINE)
_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"} | {
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"

Metrics = Callable[[str], tuple[str, bytes]]
"""The content type and the body of `/metrics`, for what a request's `Accept` says. Called in the listener's
thread."""

Ask = Callable[[], "Future[NodeHealth]"]
"""Has the event loop judge the node."""


class Answer(msgspec.Struct, frozen=True):
    """What a request is answered with."""

    status: int
    body: bytes
    kind: str = TEXT

    def written(self, *, head: bool) -> bytes:
        lines = (
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}",
            f"Content-Type: {self.kind}",
            f"Content-Length: {len(self.body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        )
        return "\r\n".join((*lines, "", "")).encode("ascii") + (b"" if head else self.body)


class _Connection:
    """One client, from its request to the last byte of its answer."""

    def __init__(self, peer: socket.socket, until: float) -> None:
        self.peer = peer
        self.until = until
        self.head = b""
        self.out: bytes | None = None
        self.is_head = False
        self.waits_for: Future[NodeHealth] | None = None
        self.answer_by = 0.0


class Listener:
    """Answers for one node. `run` blocks: give it a thread; `stop` ends it from any thread."""

    def __init__(
        self,
        server: socket.socket,
        *,
        silent: Callable[[], float],
        ask: Ask,
        metrics: Metrics | None = None,
    ) -> None:
        """`silent`: seconds for which the event loop has owed a sign of life."""
        self._server = server
        self._silent = silent
        self._ask = ask
        self._metrics = metrics
        self._open: dict[socket.socket, _Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._is_over = False
        for one in (server, self._woken, self._waker):
            one.setblocking(False)

    def stop(self) -> None:
        self._is_over = True
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):
            # Full: it is awake.
            self._waker.send(b"\0")

    def run(self) -> None:
        """Serve until stopped."""
        try:
            self._selector.register(self._server, selectors.EVENT_READ)
            self._selector.register(self._woken, selectors.EVENT_READ)
            while not self._is_over:
                for key, _ in self._selector.select(self._pause()):
                    self._on_ready(key.fileobj)
                self._look()
        finally:
            for one in list(self._open.values()):
                self._close(one)
            for socket_ in (self._server, self._woken, self._waker):
                socket_.close()
            self._selector.close()

    def _pause(self) -> float | None:
        """Seconds until somebody has no more time."""
        times = [one.answer_by if one.waits_for is not None else one.until for one in self._open.values()]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _on_ready(self, ready: object) -> None:
        if ready is self._server:
            self._accept()
        elif ready is self._woken:
            with suppress(OSError):
                self._woken.recv(4096)
        else:
            assert isinstance(ready, socket.socket)
            connection = self._open.get(ready)
            if connection is not None:
                self._serve(connection)

    def _look(self) -> None:
        """Answer whom the event loop has told of, or not in time; close who has no more time."""
        now = time.monotonic()
        for one in list(self._open.values()):
            if one.waits_for is not None and (one.waits_for.done() or now >= one.answer_by):
                self._begin_answer(one, self._readiness(one.waits_for))
            elif now >= one.until:
                self._close(one)

    # --- connections --------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            peer, _ = self._server.accept()
        except OSError:
            # Gone again; or this process may open no more files, which a moment may mend.
            time.sleep(FULL_FOR)
            return
        peer.setblocking(False)
        if len(self._open) >= MOST_OPEN:
            self._close(next(iter(self._open.values())))
        self._open[peer] = _Connection(peer, time.monotonic() + PATIENCE)
        self._selector.register(peer, selectors.EVENT_READ)

    def _close(self, one: _Connection) -> None:
        self._open.pop(one.peer, None)
        with suppress(KeyError, ValueError):
            self._selector.unregister(one.peer)
        one.peer.close()

    def _serve(self, one: _Connection) -> None:
        try:
            if one.out is not None:
                one.out = one.out[one.peer.send(one.out) :]
                if not one.out:
                    with suppress(OSError):
                        one.peer.shutdown(socket.SHUT_WR)
                    self._close(one)
                return
            data = one.peer.recv(MOST_HEAD)
        except BlockingIOError:
            return
        except OSError:
            self._close(one)
            return
        if not data or one.waits_for is not None:
            # It has gone, or says more than it was asked for.
            self._close(one)
            return
        one.head += data
        self._read(one)

    def _read(self, one: _Connection) -> None:
        end = min((at for at in (one.head.find(b"\r\n\r\n"), one.head.find(b"\n\n")) if at >= 0), default=-1)
        if end < 0 and len(one.head) <= MOST_HEAD:
            return
        if end < 0 or end > MOST_HEAD:
            self._begin_answer(one, Answer(431, b"the request is too large\n"))
            return
        request = _REQUEST.match(one.head)
        if request is None:
            named = re.match(rb"[A-Z]{1,20} ", one.head)
            status = 400 if named is None or named[0] in (b"GET ", b"HEAD ") else 405
            self._begin_answer(one, Answer(status, b"GET or HEAD, and HTTP/1.1\n"))
            return
        one.is_head = request[1] == b"HEAD"
        path = request[2].partition(b"?")[0]
        if path == b"/readyz":
            self._ask_for(one)
        else:
            accept = _ACCEPT.search(one.head)
            self._begin_answer(one, self._answer(path, "" if accept is None else accept[1].decode()))

    def _begin_answer(self, one: _Connection, answer: Answer) -> None:
        one.waits_for = None
        one.out = answer.written(head=one.is_head)
        self._selector.modify(one.peer, selectors.EVENT_WRITE)
        self._serve(one)

    # --- answers ------------------------------------------------------------------------------

    def _answer(self, path: bytes, accept: str) -> Answer:
        if path == b"/livez":
            return self._liveness()
        if path == b"/metrics" and self._metrics is not None:
            try:
                kind, body = self._metrics(accept)
            except Exception as error:
                logger.error("the figures could not be told: %s", text_of(error))
                return Answer(500, b"the figures could not be told\n")
            return Answer(200, body, kind)
        return Answer(404, b"/livez, /readyz or /metrics\n")

    def _liveness(self) -> Answer:
        silent = self._silent()
        if silent >= STUCK:
            return Answer(503, f"the event loop has given no sign of life for {silent:.1f} s\n".encode())
        return Answer(200, b"ok\n")

    def _ask_for(self, one: _Connection) -> None:
        try:
            one.waits_for = self._ask()
        except RuntimeError:
            self._begin_answer(one, Answer(503, _told("stopping", "the node is not running"), JSON))
            return
        one.answer_by = time.monotonic() + READY_WITHIN
        one.until = one.answer_by + PATIENCE
        one.waits_for.add_done_callback(lambda _: self._wake())

    def _readiness(self, asked: Future[NodeHealth]) -> Answer:
        if not asked.done():
            asked.cancel()
            text = f"the event loop has not answered within {READY_WITHIN:g} s"
            return Answer(503, _told("loop_stuck", text), JSON)
        try:
            health = asked.result()
        except (Exception, CancelledError) as error:
            return Answer(503, _told("refused", text_of(error, 500)), JSON)
        return Answer(200 if health.ready else 503, msgspec.json.encode(health) + b"\n", JSON)


def _told(code: str, text: str) -> bytes:
    """As `NodeHealth` is written, of a node that could not say anything itself."""
    reasons = [{"code": code, "text": text}]
    return json.dumps({"live": code != "loop_stuck", "ready": False, "reasons": reasons}).encode() + b"\n"


def address(text: object) -> tuple[str, int]:
    """`HOST:PORT` as a pair; brackets around an IPv6 address. Port 0: any that is free."""
    given = require_text("listen", text, most=300)
    host, colon, port = given.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    ok = bool(colon and host) and port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) < 65536
    require(ok, "listen", text, "must be HOST:PORT, such as 127.0.0.1:9400")
    return host, int(port)


def bind(where: tuple[str, int]) -> socket.socket:
    """A socket that listens there; a `ConfigurationError` if that cannot be."""
    host, port = where
    family: Literal[socket.AddressFamily.AF_INET6, socket.AddressFamily.AF_INET]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(where)
        server.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        server.close()
        place = f"{host}:{port}"
        told = f"nothing can listen at {place}: {text_of(error, 500)}"
        raise ConfigurationError(told, context={"listen": place}) from error
    return server


@asynccontextmanager
async def listening(
    runtime: Runtime, listen: str, *, metrics: Metrics | None = None
) -> AsyncIterator[tuple[str, int]]:
    """Answer at `HOST:PORT` for a runtime that is entered, for as long as the block lasts; gives where it
    listens.

    `metrics`: as in `Listener`; without it there is no `/metrics`. What is answered names processors and
    files: bind it to where only probes can reach it.
    """
    server = bind(address(listen))
    host, port = server.getsockname()[:2]
    pulse, doctor = runtime.node.control.pulse, _Doctor(runtime)
    listener = Listener(server, silent=lambda: pulse.silent, ask=doctor.ask, metrics=metrics)
    async with current_host().open_nursery() as nursery:
        nursery.start_soon(doctor.run)
        threading.Thread(target=listener.run, name="am2z listener", daemon=True).start()
        try:
            yield host, port
        finally:
            listener.stop()
            nursery.cancel_scope.cancel()


class _Doctor:
    """Judges a node in its event loop, for somebody in another thread."""

    def __init__(self, runtime: Runtime) -> None:
        host = current_host()
        self._runtime = runtime
        self._soon = host.asker()
        self._bell = host.spot()
        self._asked: deque[Future[NodeHealth]] = deque()

    def ask(self) -> Future[NodeHealth]:
        """From any thread; never waits. A `RuntimeError` if the event loop has ended."""
        future: Future[NodeHealth] = Future()
        self._asked.append(future)
        self._soon(self._bell.wake)
        return future

    async def run(self) -> None:
        """Answer until cancelled: all who have asked by then hear the same."""
        while True:
            await self._bell.park()
            waiting = [self._asked.popleft() for _ in range(len(self._asked))]
            wanted = [future for future in waiting if future.set_running_or_notify_cancel()]
            if wanted:
                health = await self._runtime.health()
                for future in wanted:
                    future.set_result(health)
