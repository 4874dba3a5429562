"""A Lua script and its digest."""

from __future__ import annotations

import hashlib
from typing import Final

from .resp import pack


class Script:
    """A script as Redis names it: by the SHA-1 of its source, computed once."""

    __slots__ = ("load", "name", "sha1", "source")

    def __init__(self, name: str, source: str) -> None:
        self.name: Final = name
        """For people only."""
        self.source: Final = source
        self.sha1: Final = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        self.load: Final = pack(("SCRIPT", "LOAD", source))
        """The packed command that teaches a server this script."""

    def with_source(self, evalsha: bytes) -> bytes:
        """Turn this script's packed EVALSHA into an EVAL with the same keys and arguments."""
        # *N $7 EVALSHA $40 <sha1> and then what stays as it is.
        count, _, _, _, _, rest = evalsha.split(b"\r\n", 5)
        _, _, words = pack(("EVAL", self.source)).partition(b"\r\n")
        return count + b"\r\n" + words + rest

    def __repr__(self) -> str:
        return f"<script {self.name}>"
