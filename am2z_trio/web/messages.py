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
SECONDS: Final = 60


class Message(msgspec.Struct, frozen=True, array_like=True):
    """One sentence; `ok`: it was done."""

    ok: bool
    text: Annotated[str, Meta(max_length=MOST_BYTES)]


_decode: Final = msgspec.json.Decoder(Message)


def say(request: Request, response: Response, text: str, *, ok: bool) -> None:
    """Have the next page say it."""
    packed = msgspec.json.encode(Message(ok, cut(text, MOST_BYTES)))
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
