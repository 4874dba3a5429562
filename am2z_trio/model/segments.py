"""How ids of any text become parts of an address and come back.

An id may hold a slash, a dot, a percent sign, a line's end, anything: what servers and proxies do with these
in a path differs. So nothing of an id needs to be escaped there: letters, digits, `_` and `-` stand for
themselves, every other byte of its UTF-8 is `~` and two hex digits, and an empty id is `~`.
"""

from __future__ import annotations

import re
from typing import Final

_SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9_-]|~[0-9A-F]{2})+|~")
_OTHER: Final = re.compile(rb"[^A-Za-z0-9_-]")


def segment(id: str) -> str:
    """An id as one part of a path."""
    encoded = _OTHER.sub(lambda found: b"~%02X" % found[0][0], id.encode("utf-8", "surrogatepass"))
    return encoded.decode("ascii") or "~"


def id_of(segment: str) -> str | None:
    """The id that a part of a path stands for; `None`: it is none that `segment` has written."""
    if not _SEGMENT.fullmatch(segment):
        return None
    if segment == "~":
        return ""
    first, *escaped = segment.split("~")
    try:
        data = first.encode("ascii") + b"".join(
            bytes([int(one[:2], 16)]) + one[2:].encode("ascii") for one in escaped
        )
        return data.decode("utf-8", "surrogatepass")
    except ValueError:
        return None


def id_in(part: str) -> str | None:
    """The id that a program means by a part of a path, whose percent signs have been decoded: `~` and two hex
    digits, and `~` alone, are as in `segment`, and what need not have been written so may stand for itself.
    `None`: it is none."""
    return id_of("".join(c if c == "~" else segment(c) for c in part))
