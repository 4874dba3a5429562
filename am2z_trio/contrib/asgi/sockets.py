"""A job over a WebSocket: each message is one event, and the client may cancel the job."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final, Protocol

import anyio

from am2z_trio.engine.submission.job import Job
from am2z_trio.model.as_json import encoded
from am2z_trio.model.checks import require, require_text
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.limits import MAX_NAME_BYTES
from am2z_trio.model.origins import is_of

from .leaving import Leaving, OnDisconnect
from .problems import REFUSED, problem_of
from .streams import GONE, SEND_WAIT
from .telling import Told, told
from .types import Receive, Scope, Send, header

NORMAL: Final = 1000
UNSUPPORTED: Final = 1003
TROUBLE: Final = 1011

CANCEL: Final = "cancel"
"""The one text that a client may send."""


class Connection(Protocol):
    """A WebSocket as Starlette and FastAPI give it."""

    @property
    def scope(self) -> Any: ...
    @property
    def receive(self) -> Any: ...
    @property
    def send(self) -> Any: ...


class JobSocket:
    """What `websocket` gives: an ASGI application for scopes of that type."""

    def __init__(
        self,
        job: Job[Any],
        leaving: Leaving,
        *,
        events: str,
        reveal: bool,
        may_cancel: bool,
        origins: Sequence[str],
    ) -> None:
        self._job = job
        self._leaving = leaving
        self._events = events
        self._reveal = reveal
        self._may_cancel = may_cancel
        self._origins = tuple(origins)

    async def serve(self, connection: Connection) -> None:
        """Serve a connection of Starlette's or FastAPI's, which nobody has accepted yet."""
        await self(connection.scope, connection.receive, connection.send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell until the job has ended, or the client has gone."""
        require(scope["type"] == "websocket", "scope", scope["type"], "must be a websocket's")
        if (await receive())["type"] != "websocket.connect":
            return
        if not is_welcome(scope, self._origins):
            await send({"type": "websocket.close", "code": REFUSED, "reason": "of another origin"})
            return
        await send({"type": "websocket.accept"})
        line = _Line(send)
        await self._leaving.while_there(lambda: self._tell(line), lambda: self._hear(receive, line))

    async def _hear(self, receive: Receive, line: _Line) -> None:
        """Until the client has gone, or says what nobody understands."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") != CANCEL or not self._may_cancel:
                await line.close(UNSUPPORTED, "only 'cancel' is understood")
                return
            try:
                await self._job.cancel("cancelled by its client")
            except AM2ZError as error:
                # It may try again.
                await line.say(_trouble(error))

    async def _tell(self, line: _Line) -> bool:
        code = NORMAL
        try:
            async with aclosing(told(self._job, events=self._events, reveal=self._reveal)) as all_told:
                async for one in all_told:
                    if not await line.say(one or Told("beat", {})):
                        return False
        except AM2ZError as error:
            code = TROUBLE
            await line.say(_trouble(error))
        return await line.close(code)


def _trouble(error: AM2ZError) -> Told:
    problem = problem_of(error)
    return Told("trouble", {"status": problem.status, "detail": problem.detail})


class _Line:
    """What is sent to one client: one message at a time, whichever task has it, and none after it was closed.
    Servers take neither."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._turn = anyio.Lock()
        self._is_open = True

    async def say(self, one: Told) -> bool:
        """Whether the client has taken it."""
        text = encoded({"event": one.event, "data": one.data}).decode()
        return await self._sent({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str = "") -> bool:
        """The last that is sent."""
        return await self._sent({"type": "websocket.close", "code": code, "reason": reason}, is_last=True)

    async def _sent(self, message: dict[str, Any], *, is_last: bool = False) -> bool:
        with anyio.move_on_after(SEND_WAIT) as waited:
            async with self._turn:
                if not self._is_open:
                    return False
                self._is_open = not is_last
                try:
                    await self._send(message)
                except Exception as error:
                    self._is_open = False
                    if isinstance(error, GONE) or _is_disconnect(error):
                        return False
                    raise
        return not waited.cancelled_caught


def _is_disconnect(error: Exception) -> bool:
    """Whether it is what Starlette makes of a client that has gone."""
    return isinstance(error, getattr(sys.modules.get("starlette.websockets"), "WebSocketDisconnect", ()))


def is_welcome(scope: Scope, origins: Sequence[str]) -> bool:
    """Whether a page that asks is one of this host, or of those origins. Programs name no origin, and are."""
    origin = header(scope, b"origin")
    if not origin or origin in origins or "*" in origins:
        return True
    scheme = "https" if scope.get("scheme") in ("wss", "https") else "http"
    return is_of(origin, header(scope, b"host"), scheme)


def websocket(
    job: Job[Any],
    *,
    on_disconnect: OnDisconnect = "cancel",
    grace: float = 0.0,
    events: str = "job:*",
    reveal_errors: bool = False,
    may_cancel: bool = True,
    origins: Sequence[str] = (),
) -> JobSocket:
    """Tell of a job over a WebSocket: `await websocket(job).serve(connection)` in an endpoint that has not
    accepted it, or mounted as an ASGI application.

    Each message is `{"event", "data"}`, with the events of `sse`, and `beat` every 15 seconds; after `result`
    it is closed (1000). The client may send the text `cancel` (unless `may_cancel` is false); anything else
    closes it (1003), and is its leaving. Pages of other origins than this host are refused, but for `origins`
    (`"https://shop.example"`, `"*"` for all). The other options are those of `sse`.
    """
    require(isinstance(job, Job), "job", job, "must be a job, as `submit` returns it")
    require_text("events", events, most=MAX_NAME_BYTES)
    for field, value in (("reveal_errors", reveal_errors), ("may_cancel", may_cancel)):
        require(isinstance(value, bool), field, value, "must be True or False")
    leaving = Leaving(job, on_disconnect, grace)
    return JobSocket(
        job, leaving, events=events, reveal=reveal_errors, may_cancel=may_cancel, origins=_checked(origins)
    )


def _checked(origins: object) -> Sequence[str]:
    listed: Any = origins
    ok = isinstance(origins, list | tuple | set | frozenset) and all(isinstance(one, str) for one in listed)
    require(ok, "origins", listed, "must be origins such as 'https://shop.example', in a list")
    return tuple(listed)
