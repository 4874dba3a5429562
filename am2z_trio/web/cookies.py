"""The console's cookies: read by servers only, sent to this console only, and never along from another site.

Over TLS their names begin with `__Host-`, by which browsers vouch for where they come from. Without it, which
is for loopback alone, not every browser takes such a one; there the port is part of the name, as cookies are
shared by all ports of a host.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

NAME: Final = "am2z"


def name_of(request: Request, what: str = "") -> str:
    """By which name it goes: `what` of several."""
    name = f"{NAME}-{what}" if what else NAME
    if is_secure(request):
        return f"__Host-{name}"
    server = request.scope.get("server")
    return f"{name}-{server[1]}" if server and server[1] else name


def read(request: Request, what: str = "") -> str:
    """What it holds; empty where there is none."""
    return request.cookies.get(name_of(request, what), "")


def write(request: Request, response: Response, value: str, what: str = "", *, seconds: int | None) -> None:
    """Have the browser keep it; `seconds`: for how long, `None`: until it is closed."""
    response.set_cookie(
        name_of(request, what),
        value,
        max_age=seconds,
        path="/",
        secure=is_secure(request),
        httponly=True,
        samesite="strict",
    )


def drop(request: Request, response: Response, what: str = "") -> None:
    """Have the browser forget it."""
    write(request, response, "", what, seconds=0)


def is_secure(request: Request) -> bool:
    """Whether the browser has come over TLS, as far as the server knows."""
    return str(request.scope.get("scheme", "http")) == "https"
