"""Events as they happen, each sent as its name, its id, and itself as JSON."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from am2z_trio.admin import Admin, Principal
from am2z_trio.model.events import Event
from am2z_trio.model.logs import one_line

from ..answers import AWAY, Trouble, as_json, trouble_of
from ..live.stream import SEND_WAIT
from .asked import Asked
from .shown import Shown

MOST_STREAMS: Final = 50
"""Of one process."""

BEAT: Final = 15.0
"""Seconds after which a line that says nothing is sent, so that whoever has gone is noticed."""

WHO_EVERY: Final = 300.0
"""Seconds after which it is asked again who listens: who may no longer, or not the same, does not."""

_ASKED: Final = Asked.of(Admin.listen, "listen", without=(), types={})
_SHOWN: Final = Shown(Event)


class Listening(Response):
    """One program that listens, until it goes. `Last-Event-ID` goes on behind that event, where the history
    is kept."""

    under_way = 0

    def __init__(self, admin: Admin, request: Request) -> None:
        super().__init__(None)
        self._admin = admin
        self._query = request.url.query
        self._last = request.headers.get("last-event-id")
        self._who: Callable[[], Awaitable[Principal | None]] = request.scope["am2z.who"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream; or say why not."""
        if Listening.under_way >= MOST_STREAMS:
            text = f"{MOST_STREAMS} programs listen already, which is all that may"
            await as_json(Trouble(429, "TOO_MANY", text))(scope, receive, send)
            return
        Listening.under_way += 1
        began = False
        try:
            said = _ASKED.of_query(self._query)
            if self._last:
                said["since"] = self._last
            async with self._admin.listen(**said) as events:
                began = True
                await send(_START)
                await self._stream(events, receive, send)
        except Exception as error:
            trouble = trouble_of(error)
            if not began:
                await as_json(trouble)(scope, receive, send)
            elif trouble.status != AWAY:
                raise
            # Once it has begun there is nothing more to say: whoever listens asks again.
        finally:
            Listening.under_way -= 1

    async def _stream(self, events: AsyncGenerator[Event, None], receive: Receive, send: Send) -> None:
        turn = anyio.Lock()

        async def write(data: bytes) -> None:
            with anyio.move_on_after(SEND_WAIT) as waited:
                async with turn:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
            if waited.cancelled_caught:
                # It takes nothing any more, and others may have its place.
                group.cancel_scope.cancel()

        async def beat() -> None:
            while True:
                await write(b":\n\n")
                await anyio.sleep(BEAT)

        async def until_another() -> None:
            is_the_same = True
            while is_the_same:
                await anyio.sleep(WHO_EVERY)
                is_the_same = await self._who() == self._admin.principal
            group.cancel_scope.cancel()

        async def until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(beat)
            group.start_soon(until_gone)
            group.start_soon(until_another)
            async with aclosing(events):
                async for event in events:
                    await write(_line(event))
            group.cancel_scope.cancel()


def _line(event: Event) -> bytes:
    id = f"id: {one_line(event.id)}\n" if event.id else ""
    return f"event: {one_line(event.name)}\n{id}data: ".encode() + _SHOWN.encoded(event) + b"\n\n"


_START: Final = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")],
}
