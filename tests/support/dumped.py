"""What a server holds, to be compared."""

from __future__ import annotations

from typing import Any


def dumped(server: Any, pattern: str = "*") -> dict[bytes, Any]:
    """All that is stored under keys like these. The order of a hash's fields says nothing, and may change
    while nobody writes."""
    kept: dict[bytes, Any] = {}
    for key in sorted(server.call("KEYS", pattern)):
        is_hash = server.call("TYPE", key) in ("hash", b"hash")
        kept[key] = sorted(server.call("HGETALL", key)) if is_hash else server.call("DUMP", key)
    return kept
