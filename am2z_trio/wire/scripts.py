"""A Lua script and its digest, and a library of functions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from .resp import pack


class Script:
    """A script as Redis names it: by the SHA-1 of its source, computed once."""

    __slots__ = ("function", "least", "library", "load", "name", "sha1", "source", "step")

    def __init__(self, name: str, source: str, *, least: int = 0, step: int = 1) -> None:
        """It takes so many arguments, and any number of times `step` of them beyond; 0: no more."""
        self.name: Final = name
        """For people only."""
        self.source: Final = source
        self.sha1: Final = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        self.least: Final = least
        self.step: Final = step
        self.load: Final = pack(("SCRIPT", "LOAD", source))
        """The packed command that teaches a server this script."""
        self.library: Library | None = None
        """In which it is, too: a server that has functions is asked for that one."""
        self.function = ""
        """What it is called there."""

    def require(self, arguments: int) -> None:
        """Raise `TypeError` if it does not take so many."""
        beyond = arguments - self.least
        if beyond and (beyond < 0 or not self.step or beyond % self.step):
            more = f", and {self.step} more any number of times" if self.step else ""
            raise TypeError(f"script {self.name} takes {self.least} arguments{more}; it is sent {arguments}")

    def with_source(self, evalsha: bytes) -> bytes:
        """Turn this script's packed EVALSHA into an EVAL with the same keys and arguments."""
        # *N $7 EVALSHA $40 <sha1> and then what stays as it is.
        count, _, _, _, _, rest = evalsha.split(b"\r\n", 5)
        _, _, words = pack(("EVAL", self.source)).partition(b"\r\n")
        return count + b"\r\n" + words + rest

    def as_script(self, fcall: bytes) -> bytes:
        """Turn this script's packed FCALL into an EVALSHA with the same keys and arguments."""
        # *N $5 FCALL $<bytes> <function> and then what stays as it is.
        count, _, _, _, _, rest = fcall.split(b"\r\n", 5)
        _, _, words = pack(("EVALSHA", self.sha1)).partition(b"\r\n")
        return count + b"\r\n" + words + rest

    def __repr__(self) -> str:
        return f"<script {self.name}>"


def function_of(script: str) -> str:
    """What follows a library's name in that of a script's function: Redis takes letters, digits and `_`."""
    return script.replace("/", "_")


class Library:
    """Scripts as functions that a server makes once, not at every call. Its name tells its text: another text
    has another name, so no node replaces what another one uses, and one that is gone may be taught anew."""

    __slots__ = ("load", "name", "source")

    def __init__(self, name: str, source: str, scripts: Iterable[Script]) -> None:
        self.name: Final = name
        self.source: Final = source
        self.load: Final = pack(("FUNCTION", "LOAD", source))
        """The packed command that teaches a server this library."""
        for script in scripts:
            script.library, script.function = self, f"{name}_{function_of(script.name)}"

    def __repr__(self) -> str:
        return f"<library {self.name}>"
