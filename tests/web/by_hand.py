"""What an application is called with by hand, where no client would behave as badly."""

from __future__ import annotations

from typing import Any

import anyio


def scope_of(path: str) -> dict[str, Any]:
    """A viewer's request."""
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"x-test-role", b"viewer")],
        "server": ("127.0.0.1", 80),
        "scheme": "http",
    }


async def never() -> Any:
    """Of who says nothing more, and stays."""
    await anyio.sleep_forever()
