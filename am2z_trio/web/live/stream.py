"""What one browser gets of a page: server-sent events, each with what has changed since the one before.

An event's id says what the browser has then, so that one that comes back (`Last-Event-ID`) gets what it lacks
and nothing twice, from whichever process.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Final

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from .hub import MOST_STREAMS, Hub, Look, Watched

BEAT: Final = 15.0
"""Seconds after which something is sent, so that both sides notice where the other one has gone."""
SEND_WAIT: Final = 20.0
"""Seconds that a browser may take for one event."""
LASTS: Final = 300.0
"""Seconds after which a stream ends, and the browser asks again who it is for."""

_ID: Final = re.compile(r"(?:[A-Za-z0-9_]{1,40}=[0-9a-f]{12}(?:\.|$)){0,40}")


class Stream(Response):
    """One stream, of `look`'s blocks."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, key: Hashable, look: Look, *, every: float, last_id: str = "") -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub: Final = hub
        self._key: Final = key
        self._look: Final = look
        self._every: Final = every
        self._had: Final = had(last_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the browser has gone."""
        if self._hub.is_full:
            text = f"{MOST_STREAMS} pages are looked at live, which is all that may be."
            await PlainTextResponse(text, 503, {"Retry-After": "30"})(scope, receive, send)
            return
        takes = True
        with self._hub.watching(self._key, self._look, self._every) as watched, anyio.move_on_after(LASTS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._until_gone, receive, tasks.cancel_scope)
                tasks.start_soon(self._hub.poll)
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._follow(watched, send)
                takes = False
                tasks.cancel_scope.cancel()
        if takes:
            with anyio.move_on_after(SEND_WAIT):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    @staticmethod
    async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _follow(self, watched: Watched, send: Send) -> None:
        """Until cancelled; returns where the browser takes nothing any more."""
        seen, told = 0, "ok"
        while True:
            data = b": beat\n\n"
            with anyio.move_on_after(BEAT):
                while watched.version == seen:
                    await watched.changed.wait()
            if watched.version != seen:
                seen = watched.version
                lacks = {n: h for n, h in watched.blocks.items() if self._had.get(n) != watched.digests[n]}
                if not lacks and told == watched.state == "ok":
                    continue
                told = watched.state
                self._had.update(watched.digests)
                data = event(watched, lacks, id_of(self._had))
            with anyio.move_on_after(SEND_WAIT) as waited:
                await send({"type": "http.response.body", "body": data, "more_body": True})
            if waited.cancelled_caught:
                return


def event(watched: Watched, parts: dict[str, str], id: str) -> bytes:
    """One event: how it stands, and the blocks that are not as they were."""
    said = {"state": watched.state, "text": watched.text, "parts": parts}
    return b"id: %s\nevent: look\ndata: %s\n\n" % (id.encode("ascii"), msgspec.json.encode(said))


def id_of(digests: dict[str, str]) -> str:
    """What the browser has, as the id of the event that has brought it."""
    return ".".join(f"{name}={digest}" for name, digest in sorted(digests.items()))


def had(last_id: str) -> dict[str, str]:
    """What a browser has that comes back; nothing for what no event had as its id."""
    if len(last_id) > 4096 or not _ID.fullmatch(last_id):
        return {}
    pairs = (one.partition("=") for one in last_id.split(".") if one)
    return {name: digest for name, _, digest in pairs}


def is_wanted(request: Request) -> bool:
    """Whether a page is asked for as a stream."""
    return "text/event-stream" in request.headers.get("accept", "")
