"""A request in, a reply out: found in the table, asked of `Admin`, and told."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import msgspec

from am2z_trio.admin import Admin
from am2z_trio.model.as_json import encoded

from ..answers import Trouble, trouble_of
from .faults import Fault
from .routes import Route
from .table import ROUTES


class Reply(msgspec.Struct, frozen=True):
    """What a request is answered with, as JSON."""

    status: int
    body: bytes
    allow: str = ""
    """Verbs that there are at this path, where that was none of them."""


def told(trouble: Trouble, allow: str = "") -> Reply:
    """Why there is no answer."""
    return Reply(trouble.status, encoded(Fault.of(trouble)), allow)


def found(verb: str, parts: Sequence[str]) -> tuple[Route, dict[str, str]] | Reply:
    """The route of a path, and what that says; or why there is none."""
    there = [(route, said) for route in ROUTES if (said := route.matched(tuple(parts))) is not None]
    for route, said in there:
        if route.verb == verb:
            return route, said
    if not there:
        return told(Trouble(HTTPStatus.NOT_FOUND, "NOT_FOUND", "there is nothing at this path"))
    allow = ", ".join(sorted({route.verb for route, _ in there}))
    why = Trouble(HTTPStatus.METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", f"this path takes {allow}")
    return told(why, allow)


async def answered(admin: Admin, verb: str, parts: Sequence[str], query: str, body: bytes) -> Reply:
    """Ask, and say what has become of it. `parts`: the path below `/api/v1`, its segments decoded."""
    there = found(verb, parts)
    if isinstance(there, Reply):
        return there
    route, said = there
    try:
        return Reply(HTTPStatus.OK, await route.answer(admin, said, query, body))
    except Exception as error:
        return told(trouble_of(error))
