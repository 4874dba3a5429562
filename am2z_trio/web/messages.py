"""What became of an action, said by the page that comes after it: kept by the browser for that one page."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from am2z_trio.model.telling import cut

from . import cookies

WHAT: Final = "said"
MOST_BYTES: Final = 1_500
MOST_PACKED: Final = 2_400
"""Bytes of its JSON: browsers keep cookies of 4 KiB at most, name and all, and these are base64."""
SECONDS: Final = 60


class Message(msgspec.Struct, frozen=True, array_like=True):
    """One sentence; `ok`: it was done."""

    ok: bool
    text: Annotated[str, Meta(max_length=MOST_BYTES)]


_decode: Final = msgspec.json.Decoder(Message)


def say(request: Request, response: Response, text: str, *, ok: bool) -> None:
    """Have the next page say it."""
    most = MOST_BYTES
    while len(packed := msgspec.json.encode(Message(ok, cut(text, most)))) > MOST_PACKED:
        # What is nothing but quotes is twice as long there.
        most //= 2
    cookies.write(request, response, urlsafe_b64encode(packed).decode(), WHAT, seconds=SECONDS)


def of(request: Request) -> Message | None:
    """What this page is to say."""
    try:
        return _decode.decode(urlsafe_b64decode(cookies.read(request, WHAT)))
    except (ValueError, msgspec.MsgspecError):
        return None


def forget(request: Request, response: Response) -> None:
    """It has been said."""
    cookies.drop(request, response, WHAT)
