"""Lints the Lua: `python -m tests.structure.lua`, with luacheck on PATH (Debian's package `lua-check`).

A file says nothing by itself of the names that others give it. So all stand in one text, as in a library of
functions: a name that nobody has, nobody uses, or that hides another one is found whichever file it is in.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import am2z_trio
from am2z_trio.store.redis.agreed import rendered
from am2z_trio.store.redis.bundle import CALLED, GROUND, STEPS
from am2z_trio.store.redis.keys import TEMPLATES

LUA: Final = Path(am2z_trio.__file__).parent / "store" / "redis" / "lua"
WIDTH: Final = 120
GIVEN: Final = ("KEYS", "ARGV", "anchor", "redis", "cmsgpack", "struct", "run")
"""What a server or the bundle gives to all of them; `run` is what this page calls a script by."""
ALLOWED: Final = ("542",)  # a branch without code that says why there is none


class Line(NamedTuple):
    path: Path
    number: int
    text: str


def joined() -> list[Line]:
    """All of it, in the order in which it is bundled."""
    lines = list[Line]()
    steps = [LUA / "steps" / f"{name}.lua" for name in (*GROUND, *STEPS)]
    scripts = sorted(path for path in LUA.glob("*/*.lua") if path.parent.name != "steps")
    for path in (*steps, *scripts):
        is_script = path.parent.name != "steps"
        text = path.read_text(encoding="utf-8").splitlines()
        within = [Line(path, number, line) for number, line in enumerate(text, 1)]
        lines += [Line(path, 0, "run(function()"), *within, Line(path, 0, "end)")] if is_script else within
    return lines


def findings(lines: list[Line]) -> list[str]:
    """What luacheck says of them."""
    names = (*GIVEN, *CALLED, *rendered(), *(f"{kind}_key" for kind in TEMPLATES))
    command = ("luacheck", "-", "--std=lua51", "--codes", "--no-color", "--formatter=plain", "--no-config")
    rules = (f"--max-line-length={WIDTH}", "--ignore", *ALLOWED, "--read-globals", *names)
    source = "\n".join(line.text for line in lines)
    told = subprocess.run((*command, *rules), input=source, capture_output=True, text=True, check=False)
    if told.returncode > 2:
        raise RuntimeError(told.stdout + told.stderr)
    found = list[str]()
    for number, rest in re.findall(r"^stdin:(\d+):(.*)$", told.stdout, re.MULTILINE):
        line = lines[int(number) - 1]
        found.append(f"{line.path.relative_to(LUA.parents[3])}:{line.number}:{rest}")
    return found


def main() -> int:
    if shutil.which("luacheck") is None:
        print("luacheck (Debian's lua-check) is not on PATH: the Lua is not linted")
        return 0
    found = findings(joined())
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
