"""A Lua script and its digest, and a library of functions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Final

from .resp import pack


class Script:
    """A script as Redis names it: by the SHA-1 of its source. The source is made when it is first asked for:
    where the server has functions that is never."""

    __slots__ = ("__dict__", "function", "least", "library", "name", "step")

    def __init__(self, name: str, source: str | Callable[[], str], *, least: int = 0, step: int = 1) -> None:
        """It takes so many arguments, and any number of times `step` of them beyond; 0: no more."""
        self.name: Final = name
        """For people only."""
        self._make: Final = source
        self.least: Final = least
        self.step: Final = step
        self.library: Library | None = None
        """In which it is, too: a server that has functions is asked for that one."""
        self.function = ""
        """What it is called there."""

    @cached_property
    def source(self) -> str:
        """Its text."""
        return self._make if isinstance(self._make, str) else self._make()

    @cached_property
    def sha1(self) -> str:
        """The digest by which a server knows it."""
        return hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    @cached_property
    def load(self) -> bytes:
        """The packed command that teaches a server this script."""
        return pack(("SCRIPT", "LOAD", self.source))

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
