"""What the jobs application is asked, read within bounds."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote

import anyio
import msgspec

from am2z_trio.model.segments import id_in

from .problems import Problem
from .types import Receive, Scope, header

BODY_WAIT: Final = 20.0
"""Seconds that a body may take."""

MOST_PATH: Final = 16 * 1024
"""Characters of a path."""


class Submitted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of what submits a job. How it is queued is no client's to say: its processor's options are."""

    state: Any = None
    """What the processor is given; without one, it works on the session's stored state."""
    state_version: int | None = None
    """Of which version of its form it is; by default the one that the processor has."""
    session: str | None = None
    job_id: str | None = None
    """Asked for again, it is the same job; the header Idempotency-Key says the same."""


def parts_of(scope: Scope) -> list[str]:
    """The parts of the path below the place where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        # Some servers leave it in front, others take it away.
        path = path[len(root) :]
    if len(path) > MOST_PATH:
        raise Problem(414, "The address is too long.")
    return [part for part in path.strip("/").split("/") if part]


def mounted_at(scope: Scope) -> str:
    """The address of the application, seen from one of one part below it. Starlette says in `root_path` where
    it has mounted it; Litestar takes its mount away from `path`, and leaves it in `raw_path` alone."""
    root: str = scope.get("root_path", "").rstrip("/")
    asked = unquote((scope.get("raw_path") or b"").partition(b"?")[0].decode("latin-1")).strip("/")
    above = asked.removesuffix(scope["path"].strip("/").rpartition("/")[2]).rstrip("/")
    above = f"/{above}" if above else ""
    if root.endswith(above):
        return quote(root)
    return quote(above if above.startswith(root) else root + above)


def id_of(part: str) -> str:
    """The job's id that a part of the path says."""
    id = id_in(part)
    if not id:
        raise Problem(404, "There is no such job.")
    return id


async def read(scope: Scope, receive: Receive, most: int) -> bytes:
    """The body, of at most so many bytes."""
    length = header(scope, b"content-length")
    if length.isdecimal() and int(length[:20]) > most:
        raise Problem(413, f"A body may have {most:,} bytes at most.")
    data = bytearray()
    with anyio.move_on_after(BODY_WAIT):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem(400, "The body has ended too early.")
            data += message.get("body", b"")
            if len(data) > most:
                raise Problem(413, f"A body may have {most:,} bytes at most.")
            if not message.get("more_body", False):
                return bytes(data)
    raise Problem(408, f"The body has not come within {BODY_WAIT:g} seconds.")


def submitted(scope: Scope, body: bytes) -> Submitted:
    """What a body says. JSON alone: no page of elsewhere can have a browser send that unasked."""
    kind = header(scope, b"content-type").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "Send application/json.")
    try:
        return msgspec.json.decode(body, type=Submitted)
    except msgspec.ValidationError as error:
        raise Problem(422, f"That is none of what is taken: {error}.", code="VALIDATION") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(400, "The body is no JSON.") from None


def seconds_of(scope: Scope, name: str, most: float) -> float:
    """A number of seconds in the query; 0 where there is none."""
    try:
        query = parse_qsl(scope.get("query_string", b"").decode("ascii"), max_num_fields=20)
        seconds = float(dict(query).get(name, "0"))
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise Problem(422, f"{name} must be a number of seconds.", code="VALIDATION")
    return min(seconds, most)
