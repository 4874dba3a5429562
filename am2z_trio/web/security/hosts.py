"""By which names the console may be asked for: a page of elsewhere whose name is made to lead here is
refused."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
ANY: Final = "*"


def is_known(host: str, known: Sequence[str]) -> bool:
    """Whether a `Host` header names one of these, at any port. `*.example.com` is all below it, `*` all."""
    name = name_in(host)
    return name is not None and any(_is(name, one.lower()) for one in known)


def _is(name: str, known: str) -> bool:
    if known == ANY:
        return True
    if known.startswith("*."):
        return name.endswith(known[1:])
    return name == known


def name_in(host: str) -> str | None:
    """The name in `name:port`, lower case; `None` where that is no such thing."""
    host = host.lower()
    if host.startswith("["):
        name, bracket, rest = host.partition("]")
        name += bracket
        if not bracket or (rest and not _is_port(rest)):
            return None
        return name
    name, colon, port = host.partition(":")
    if not name or (colon and not _is_port(colon + port)):
        return None
    return name.rstrip(".") or None


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isascii() and text[1:].isdigit() and len(text) <= 6


def is_loopback(host: str) -> bool:
    """Whether an address, or a name to bind, is reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False
