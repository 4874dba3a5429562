"""The Lua files, each with the key functions and the shared steps in front."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from am2z_trio.wire.scripts import Script

from .keys import lua_functions

_FOLDER: Final = files("am2z_trio.store") / "lua"
_PRELUDE: Final = lua_functions() + "\n" + (_FOLDER / "prelude.lua").read_text(encoding="utf-8")


def _script(name: str) -> Script:
    return Script(name, f"{_PRELUDE}\n{(_FOLDER / f'{name}.lua').read_text(encoding='utf-8')}")


ANNOUNCE: Final = _script("announce")
CANCEL: Final = _script("cancel")
CLAIM: Final = _script("claim")
ENQUEUE: Final = _script("enqueue")
JOIN: Final = _script("join")
LEAVE: Final = _script("leave")
QUEUES: Final = _script("queues")
RECONCILE: Final = _script("reconcile")
RENEW: Final = _script("renew")
REPORT: Final = _script("report")
SETTLE: Final = _script("settle")
STATS: Final = _script("stats")
TICK: Final = _script("tick")
UNPARK: Final = _script("unpark")
VIEW: Final = _script("view")
