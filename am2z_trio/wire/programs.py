"""What one server has been taught: scripts by their digests, libraries of functions, and how to call them.

Functions are called where the server has them, and lets this user have them; else scripts are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Final

from .resp import NOT_APPLIED, Argument, is_denied, pack
from .scripts import Library, Script

FUNCTIONS_SINCE: Final = 7
"""The first major version, of Redis as of Valkey, that has functions."""

TEACH_AGAIN: Final = 1.0
"""Seconds after which a server that still does not know a library is sent it once more."""

ASK_AGAIN: Final = 10.0
"""Seconds after which a server is sent a library again that it had no memory for, or could not take then."""

REFUSED_AS_A_WHOLE: Final = frozenset({"OOM", "MISCONF", "NOREPLICAS"})
"""Error codes with which a server refuses a function before it has begun, whatever it would have done. A
script goes on until it writes, or for ever if it removes something first."""

_FCALL: Final = b"$5\r\nFCALL\r\n"
_LOAD: Final = b"$8\r\nFUNCTION\r\n$4\r\nLOAD\r\n"


class Programs:
    """Packs calls, and has what they call taught before their first, and after every reconnect."""

    def __init__(self, teach: Callable[[bytes], None], now: Callable[[], float]) -> None:
        """`teach` sends a packed command if there is a connection, and forgets it."""
        self.has_functions = False
        """Whether this server has functions and lets this user have them, as far as is known."""
        self._teach = teach
        self._now = now
        self._scripts: dict[str, Script] = {}
        self._libraries: dict[str, Library] = {}
        self._taught_again = -inf
        """When the server had lost a library, and was sent it."""
        self._ask_again = inf
        """When a server that could not take a library is sent it again; never, where this user may not."""

    def call_of(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> bytes:
        """The packed call of a script."""
        script.require(len(args))
        library = script.library
        if library is not None and (self.has_functions or self._now() >= self._ask_again):
            if library.name not in self._libraries or not self.has_functions:
                self.has_functions = True
                self._libraries[library.name] = library
                self._teach(library.load)
            return pack(("FCALL", script.function, len(keys), *keys, *args))
        if script.sha1 not in self._scripts:
            self._know(script)
        return pack(("EVALSHA", script.sha1, len(keys), *keys, *args))

    def _know(self, script: Script) -> None:
        if script.sha1 not in self._scripts:
            self._scripts[script.sha1] = script
            self._teach(script.load)

    def greeted(self, version: str) -> Iterator[bytes]:
        """A connection stands: what its server of this version is to be taught, packed."""
        major = version.partition(".")[0]
        self.has_functions = major.isdecimal() and int(major) >= FUNCTIONS_SINCE
        self._ask_again = inf
        for script in self._scripts.values():
            yield script.load
        if self.has_functions:
            for library in self._libraries.values():
                yield library.load

    def instead_of(self, packed: bytes, script: Script | None, code: str, said: str) -> bytes | None:
        """What to send instead of a call that was refused as a function; `None` if that is not why."""
        at = packed.find(b"$")
        if packed.startswith(_LOAD, at):
            # Who may not have functions has scripts; and where there is no memory for them, for a while.
            if "already exists" not in said:
                self._have_scripts(may_pass=code == "OOM" or code in NOT_APPLIED)
            return None
        if script is None or script.library is None or not packed.startswith(_FCALL, at):
            return None
        if said.startswith("ERR Function not found"):
            # The server was emptied, or somebody has taken the library away.
            if self.has_functions and self._now() - self._taught_again > TEACH_AGAIN:
                self._taught_again = self._now()
                self._teach(script.library.load)
        elif said.startswith("ERR unknown command") or (is_denied(said) and "fcall" in said):
            self._have_scripts(may_pass=False)
        elif code not in REFUSED_AS_A_WHOLE:
            return None
        self._know(script)
        return script.as_script(packed)

    def _have_scripts(self, *, may_pass: bool) -> None:
        self.has_functions = False
        self._ask_again = self._now() + ASK_AGAIN if may_pass else inf
