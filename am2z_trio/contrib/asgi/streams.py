"""A job as server-sent events: an ASGI response, also one of Starlette's where that is there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import anyio

from am2z_trio.engine.submission.job import Job
from am2z_trio.model.as_json import encoded
from am2z_trio.model.checks import require, require_text
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.limits import MAX_NAME_BYTES
from am2z_trio.model.logs import one_line

from .leaving import Leaving, OnDisconnect
from .missed import Mark
from .problems import problem_of, refuse
from .telling import LAST, Told, told
from .types import Receive, Scope, Send, header, until_gone

SEND_WAIT: Final = 20.0
"""Seconds that a client may take for one event; then it has gone."""

HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]

GONE: Final = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError)
"""What servers raise where nobody reads any more."""


class JobStream:
    """What `sse` gives: an ASGI application, and a response of whatever framework calls such."""

    def __init__(self, job: Job[Any], leaving: Leaving, *, events: str, reveal: bool) -> None:
        self._job = job
        self._leaving = leaving
        self._events = events
        self._reveal = reveal
        self.raw_headers = [*HEADERS]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the job has ended, or the client has gone."""
        since = header(scope, b"last-event-id")
        if since == LAST:
            # Browsers ask again when a stream ends, and stop at this.
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._leaving.while_there(lambda: self._send_all(send, since), lambda: until_gone(receive))

    async def chunks(self, last_event_id: str = "") -> AsyncGenerator[bytes, None]:
        """The body, for frameworks whose responses are generators (Quart). One that is closed, or cancelled,
        before the end has lost its client. `last_event_id`: the request's header `Last-Event-ID`, if it has
        one; after `end` there are no chunks, and the response is to be a 204."""
        if last_event_id == LAST:
            return
        finished = False
        with self._leaving.watching():
            try:
                async with aclosing(self._lines(last_event_id)) as lines:
                    async for line in lines:
                        yield line
                finished = True
            finally:
                if not finished:
                    await self._leaving.cancel()

    async def _send_all(self, send: Send, since: str) -> bool:
        """Whether the client has taken all of it."""
        begun = False
        try:
            async with aclosing(self._lines(since)) as lines:
                async for line in lines:
                    if not begun:
                        begun = True
                        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                        await send(start)
                    with anyio.move_on_after(SEND_WAIT) as waited:
                        await send({"type": "http.response.body", "body": line, "more_body": True})
                    if waited.cancelled_caught:
                        return False
            with anyio.move_on_after(SEND_WAIT):
                await send({"type": "http.response.body", "body": b""})
        except GONE:
            return False
        except AM2ZError as error:
            if begun:
                raise
            await refuse(error, send)
        return True

    async def _lines(self, since: str) -> AsyncGenerator[bytes, None]:
        id, begun = since if Mark.of(since) else "", False
        everything = told(self._job, events=self._events, reveal=self._reveal, since=since)
        try:
            async with aclosing(everything) as all_told:
                async for one in all_told:
                    id, begun = one.id if one else id, True
                    yield b": beat\n\n" if one is None else _line(one)
        except AM2ZError as error:
            if not begun:
                raise
            # A client that asks again sees what is so then.
            problem = problem_of(error)
            yield _line(Told("trouble", {"status": problem.status, "detail": problem.detail}, id))


def _line(one: Told) -> bytes:
    return f"id: {one.id}\nevent: {one_line(one.event)}\ndata: ".encode() + encoded(one.data) + b"\n\n"


def sse(
    job: Job[Any],
    *,
    on_disconnect: OnDisconnect = "cancel",
    grace: float = 0.0,
    events: str = "job:*",
    reveal_errors: bool = False,
) -> JobStream:
    """A response that tells of a job as server-sent events until it has ended, and may be returned as it is
    from a path operation of FastAPI, a route of Starlette or a handler of Litestar.

    * `status` comes first: `{"id", "status", "progress"}`, as it is now
    * events of the job that match `events` by their names, with their data: `job:started`,
      `job:progress`, `job:retrying`; with `events="*"` what its code tells by `ctx.emit`, too
    * `result` comes last: `{"id", "status": "completed", "state"}`, or `"failed"` or `"cancelled"` with an
      `error`: `code` and `message`. Only a `BusinessError`'s message is told unless `reveal_errors`
    * a comment every 15 seconds

    `on_disconnect`: `"cancel"` cancels the job when its client leaves, or takes nothing for 20 seconds;
    `"leave"` leaves it alone. With `grace` the client has so many seconds to come back (browsers do, by
    themselves), or another one of the job to be there in this process. A server that ends is no client that
    has left.

    Each event has an id, which says when it happened. A client that comes back with the last one it has
    (`Last-Event-ID`, as browsers do) is told what it has missed, in order, and then the `status`, where a
    history of events is kept (`event_history` of the runtimes). At most 50,000 events of all jobs are looked
    through for it, and one of the same millisecond may be told twice. Without a history it is told the
    `status` as it is by then, and the end. One that comes back after the end gets 204, and stops asking.
    Where there is no such job the answer is 404, as `application/problem+json`.
    """
    require(isinstance(job, Job), "job", job, "must be a job, as `submit` returns it")
    require_text("events", events, most=MAX_NAME_BYTES)
    require(isinstance(reveal_errors, bool), "reveal_errors", reveal_errors, "must be True or False")
    leaving = Leaving(job, on_disconnect, grace)
    return _class()(job, leaving, events=events, reveal=reveal_errors)


@cache
def _class() -> type[JobStream]:
    """A `Response` of Starlette's where that is installed: FastAPI takes nothing else as it is."""
    if TYPE_CHECKING:
        return JobStream
    try:
        from starlette.responses import Response
    except ImportError:
        return JobStream

    class StarletteJobStream(JobStream, Response):
        def __init__(self, *args: Any, **options: Any) -> None:
            Response.__init__(self)
            JobStream.__init__(self, *args, **options)

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await JobStream.__call__(self, scope, receive, send)
            if self.background is not None:
                await self.background()

    return StarletteJobStream
