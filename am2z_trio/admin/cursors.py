"""Where a list goes on: opaque to whoever holds it, and looked at as what anybody may have written.

A cursor says of which query and which place it is, from where that is to be read on, the last id that was
seen there, and when the first one had ended: what has come since stands before these, so that pages do not
shift.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from am2z_trio.model.checks import require
from am2z_trio.model.errors import AM2ZError, ValidationError
from am2z_trio.model.limits import MAX_ANY_ID_BYTES

MAX_CURSOR_CHARACTERS: Final = 8_192
"""More than one that names the longest id takes."""

VERSION: Final = 1

MOST: Final = 2**53


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a list goes on."""

    version: Annotated[int, Meta(ge=VERSION, le=VERSION)]
    of: Annotated[str, Meta(max_length=16)]
    """Digest of what was asked for, and who asked."""
    source: Annotated[int, Meta(ge=0, le=1_000_000)]
    """Which of the places that are looked through: how many came before it."""
    position: Annotated[int, Meta(ge=0, le=MOST)]
    """From where on there."""
    last: Annotated[str, Meta(max_length=MAX_ANY_ID_BYTES)] = ""
    """The last id that was seen there; empty at the beginning."""
    moment: Annotated[int, Meta(ge=0, le=MOST)] = 0
    """When the first one had ended that was seen there, by which the position is counted; 0 where it is
    not."""
    looked_at: Annotated[int, Meta(ge=0, le=MOST)] = 0
    """In all places so far."""
    place: Annotated[str, Meta(max_length=16)] = ""
    """Digest of its name: who reads on may know of other places. Empty where it has yet to begin."""


_decode: Final = msgspec.msgpack.Decoder(Cursor)


def digest_of(*asked: str) -> str:
    """What a cursor says of what was asked for."""
    return hashlib.sha256("\0".join(asked).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def written(cursor: Cursor) -> str:
    """A cursor as text: letters, digits, `-` and `_`."""
    return urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode().rstrip("=")


def back(text: str, places: int) -> str:
    """One of ours that begins so many places earlier, as that many have left those that were looked at."""
    cursor = _decode.decode(_bytes(text))
    return written(msgspec.structs.replace(cursor, position=max(0, cursor.position - places)))


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read(text: object, of: str) -> Cursor:
    """The cursor that a text is, of a list of this digest. Raises `ConfigurationError` or `ValidationError`,
    and nothing else, for any other text."""
    require(isinstance(text, str), "cursor", text, "must be a text that an earlier page has named")
    assert isinstance(text, str)
    rule = "is none that an earlier page has named"
    if len(text) > MAX_CURSOR_CHARACTERS or not text.isascii():
        raise _refused(rule)
    try:
        cursor = _decode.decode(_bytes(text))
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise _refused(rule) from error
    if written(cursor) != text:
        raise _refused(rule)
    if cursor.of != of:
        raise _refused("is that of another list: a cursor goes with the query that it came with")
    return cursor


def _refused(rule: str) -> AM2ZError:
    return ValidationError(f"cursor {rule}", context={"field": "cursor", "rule": rule})
