"""The shapes of ASGI, as its specification has them: no framework is needed to know them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def header(scope: Scope, name: bytes) -> str:
    """The first header of this name, in lower case; empty for none."""
    for key, value in scope.get("headers", ()):
        if key.lower() == name:
            return bytes(value).decode("latin-1")
    return ""


async def until_gone(receive: Receive) -> None:
    """Until the client has left."""
    while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
        pass
