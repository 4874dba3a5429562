"""Whether a page that asks is of the host that it asks."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_of(origin: str, host: str, scheme: str) -> bool:
    """Whether an origin is that of this host. Its scheme may be https where a proxy has taken that off, never
    the other way round."""
    try:
        found = urlsplit(origin)
    except ValueError:
        return False
    if found.scheme not in ("http", "https") or (scheme == "https" and found.scheme != "https"):
        return False
    return bool(host) and found.netloc.lower() == host.lower() and not (found.path or found.query)
