"""Lists as files, a line of JSON each: so many at a time, and none for longer than somebody takes it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import anyio
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from am2z_trio.admin import Principal
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.limits import KIB
from am2z_trio.model.logs import Log

logger: Final = Log("am2z_trio.web")

MOST_EXPORTS: Final = 4
"""Of one process, at a time: each holds some of the list in memory, and asks for the next of it."""

SEND_WAIT: Final = 20.0
"""Seconds that a reader may take for one piece."""

LASTS: Final = 600.0
"""Seconds that all of it may take."""

PIECE: Final = 64 * KIB
"""Bytes that are sent at once, or a line more."""


class Export(Response):
    """The lines, one after the other. One that ends before its time is cut off, so that its reader sees that
    it is not whole."""

    media_type = "application/jsonl"
    under_way = 0

    def __init__(self, lines: AsyncGenerator[bytes, None], name: str) -> None:
        """Raises `HTTPException` where too many are under way."""
        if Export.under_way >= MOST_EXPORTS:
            text = f"{MOST_EXPORTS} lists are exported now, which is all that may be: ask again in a while."
            raise HTTPException(429, text)
        super().__init__(headers={"Content-Disposition": f'attachment; filename="am2z-{name}.jsonl"'})
        del self.headers["content-length"]
        self._lines: Final = lines
        self._name: Final = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until all is sent, or the reader has gone, or takes too long."""
        Export.under_way += 1
        ended = ""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
                with anyio.move_on_after(LASTS) as whole:
                    ended = await self._send(send)
                if whole.cancelled_caught:
                    ended = f"it has taken {LASTS:g} s, and more is left"
                tasks.cancel_scope.cancel()
        finally:
            Export.under_way -= 1
        if ended:
            principal: Principal = scope["am2z.principal"]
            logger.warning("an export of %s for %s is cut off: %s", self._name, principal.name, ended)

    async def _send(self, send: Send) -> str:
        """Returns why not all of it was sent; nothing where it was."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        piece = bytearray()
        try:
            async with aclosing(self._lines) as lines:
                async for line in lines:
                    piece += line
                    if len(piece) >= PIECE:
                        if not await _sent(send, bytes(piece), more=True):
                            return f"its reader has taken nothing for {SEND_WAIT:g} s"
                        piece.clear()
        except AM2ZError as error:
            return str(error)
        is_sent = await _sent(send, bytes(piece), more=False)
        return "" if is_sent else f"its reader has taken nothing for {SEND_WAIT:g} s"


async def _sent(send: Send, data: bytes, *, more: bool) -> bool:
    began = anyio.current_time()
    with anyio.move_on_after(SEND_WAIT):
        await send({"type": "http.response.body", "body": data, "more_body": more})
    # Hypercorn shields it on Trio, and says of a connection that was cut meanwhile that all was sent.
    return anyio.current_time() - began < SEND_WAIT


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
