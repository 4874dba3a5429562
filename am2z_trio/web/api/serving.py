"""The API within the console's application: who asks is known by then, and what was sent is bounded."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from am2z_trio.admin import Permission
from am2z_trio.model.as_json import encoded
from am2z_trio.model.segments import id_in

from .. import cookies
from ..routes import Endpoint
from ..view import View
from .answering import answered
from .listening import Listening
from .openapi import document
from .table import ROUTES as TABLE

BASE: Final = "/api/v1"


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, as the console knows them."""

    name: str
    role: str
    may: list[Permission]
    sessions: tuple[str, ...]
    """Patterns of those that are their business."""
    queues: tuple[str, ...]


async def ask(view: View) -> Response:
    """Whatever the table has."""
    request = view.request
    verb = "GET" if request.method == "HEAD" else request.method
    parts = [id_in(part) for part in request.path_params["path"].split("/")]
    if None in parts:
        raise HTTPException(404, "The address names no id.")
    reply = await answered(view.admin, verb, [part or "" for part in parts], request.url.query, view.body)
    headers = {"Allow": reply.allow} if reply.allow else {}
    return _json(reply.body, reply.status, headers)


async def describe(view: View) -> Response:
    """The document that says what there is."""
    return _json(document(TABLE, server=f"{view.root}{BASE}", cookie=cookies.name_of(view.request)))


async def me(view: View) -> Response:
    """Who asks."""
    who = view.principal
    me = Me(name=who.name, role=who.role, may=sorted(who.may), sessions=who.sessions, queues=who.queues)
    return _json(encoded(me))


async def listen(view: View) -> Response:
    """Events as they happen."""
    return Listening(view.admin, view.request)


def _json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


ROUTES: Final = [
    Endpoint(f"{BASE}/openapi.json", describe),
    Endpoint(f"{BASE}/me", me),
    Endpoint(f"{BASE}/events/live", listen),
    Endpoint(f"{BASE}/{{path:path}}", ask, "GET"),
    Endpoint(f"{BASE}/{{path:path}}", ask, "POST"),
    Endpoint(f"{BASE}/{{path:path}}", ask, "PUT"),
    Endpoint(f"{BASE}/{{path:path}}", ask, "DELETE"),
]
