"""A Lua script and its digest."""

from __future__ import annotations

import hashlib


class Script:
    """A script as Redis names it: by the SHA-1 of its source, computed once."""

    __slots__ = ("name", "sha1", "source")

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.sha1 = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def __repr__(self) -> str:
        return f"<script {self.name}>"
