"""Puts the Lua together: what a file says behind what it shares with others, as a script or in a library.

Steps are written once. In a script they are made anew by every call, so it carries those alone that it uses,
itself or through others. In a library of functions (Redis 7.0 and later, Valkey) all are made once; only what
a call collects is made anew, and that is told by its spelling: a name in small letters that begins with a
plain value (`local outbox, posted = {}, {}`) is a call's own, one in capitals is a constant. So are a
script's own functions made once there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from itertools import zip_longest
from typing import Final, NamedTuple

from am2z_trio.wire.scripts import Library, Script, function_of

from .keys import spelled_out
from .signature import Signature, require_same

_FOLDER: Final = files("am2z_trio.store.redis") / "lua"
GROUND: Final = ("spoilt", "clock")
"""What all steps use."""

STEPS: Final = (
    *("values", "sessions", "outbox", "parked", "line", "record", "schedules", "trail", "early", "waits"),
    *("many",),
    *("children", "retention", "recent", "turns", "ending", "ghosts", "leaving", "claims", "handoff"),
    *("losses", "states", "grants", "servers", "registry", "samples", "absent", "renewal", "looking"),
    *("shown", "places"),
)
"""The files of steps, one concept each, behind those that they use."""

CALLED: Final = {"enqueue_jobs": "jobs/enqueue", "cancel_job": "jobs/cancel"}
"""Scripts whose work others do, too, by the names that they call them by."""

MOST_TAKEN: Final = 60
"""How many names a function may take from around it."""

LIBRARIES: Final = "am2z_"
"""What the name of every library of ours begins with; the digest of its text follows."""

_QUOTED: Final = r"'(?:\\.|[^'\\\n])*'"

# What a call begins with. The server is among it: it is another one while a library is read.
_PLAIN: Final = r"(?:\{\}|nil|false|\d+|[A-Z_]+|redis|server\.pcall)"
_OWN: Final = re.compile(rf"local (?P<names>[a-z_]\w*(?:, [a-z_]\w*)*) = (?P<values>{_PLAIN}(?:, {_PLAIN})*)")
_CALL: Final = re.compile(r"\bredis\.call\(")
_CONSTANT: Final = re.compile(r"local [A-Z]")


def read(name: str) -> str:
    """The text of a file, without the lines that are for its reader alone."""
    text = (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))


class Bundler:
    """Makes scripts, and a library of those it has made. `agreed`: values that both languages agree on, as
    Lua writes them: each is spelled out where its name stands."""

    def __init__(self, agreed: Mapping[str, str]) -> None:
        self._agreed = agreed
        self._names = re.compile(rf"{_QUOTED}|(?<![.\w])(?:{'|'.join(agreed)})\b")
        self._sent: dict[str, Signature] = {}
        self._scripts: list[Script] = []

    def script(self, name: str, sent: Signature) -> Script:
        """The script of a file, `subject/what`. The file is read when the text is wanted: a program that
        never asks a server does not wait for that."""
        made = Script(
            name,
            lambda: _outdented(self.spelled(self.assembled(self._body(name)))),
            least=len(sent.front),
            step=sent.step,
        )
        self._sent[name] = sent
        self._scripts.append(made)
        return made

    def _body(self, name: str) -> str:
        """What the file of a script says. `TypeError` if it reads other arguments than it is sent."""
        body = read(name)
        require_same(name, body, self._sent[name])
        return body

    def signature(self, script: Script) -> Signature:
        """What a script is sent."""
        return self._sent[script.name]

    def written(self, script: Script) -> str:
        """A script's text with keys and agreed values as its author wrote them."""
        return self.assembled(self._body(script.name))

    def spelled(self, written: str) -> str:
        """A text with keys and agreed values in place of their names, and the guarded call by its short one:
        no table is looked into for it."""
        text = spelled_out(self._names.sub(lambda found: self._agreed.get(found[0], found[0]), written))
        return _CALL.sub("ask(", text)

    def assembled(self, body: str) -> str:
        """A script's text behind what it uses, with keys and agreed values as its author wrote them.

        For each name that a function takes from around it Lua looks through all names of the one around it
        that any has taken before: so the steps stand in a function of their own, within the one of what they
        all use. Lua has room for 200 names in one, and for 60 from outside of it.
        """
        ground = _ground()
        shared = ground + _steps()
        functions = [_as_function(name) for name in CALLED if name in words(body)]
        wanted, used = words("\n".join((body, *functions))), set[int]()
        while found := [n for n, one in enumerate(shared) if n not in used and one.names & wanted]:
            used.update(found)
            wanted.update(*(shared[n].uses for n in found))
        below = [shared[n].text for n in sorted(used) if n < len(ground)]
        above = [shared[n].text for n in sorted(used) if n >= len(ground)] + functions
        inner = "\n".join((*above, "local function run()", body, "end", "return run()"))
        if above:
            inner = f"local function steps()\n{inner}\nend\nreturn steps()"
        return "\n".join(("local anchor = KEYS[1]", *below, inner))

    def library(self) -> Library:
        """A library of all scripts made so far, which from now on know it."""
        texts = [one.text for one in _ground() + _steps()]
        own = [found for text in texts if (found := _OWN.fullmatch(text))]
        constants = [text for text in texts if _CONSTANT.match(text)]
        rest = [text for text in texts if not _CONSTANT.match(text) and not _OWN.fullmatch(text)]
        lines = [
            "local loading, KEYS, ARGV, anchor = redis",
            *(f"local {one['names']}" for one in own),
            "local function begin(keys, args)",
            "KEYS, ARGV, anchor = keys, args, keys[1]",
            "local next = next",
            *(_begun(one["names"], one["values"]) for one in own),
            "end",
            # For the names of all these there is no room beside those of the steps.
            "local function library()",
            *constants,
            *rest,
            *map(_as_function, CALLED),
        ]
        outside = {"KEYS", "ARGV", "anchor", "begin"}.union(*(one.names for one in _ground() + _steps()))
        for name in self._sent:
            made, body = _made_once(self._body(name), outside)
            function = [f"loading.register_function('NAME_{function_of(name)}', function(keys, args)"]
            function += ["begin(keys, args)", body, "end)"]
            # In a function of their own the names of what is made once take no room of others.
            lines += (
                ["do local function script()", *made, *function, "end script() end"] if made else function
            )
        lines += ["end", "library()"]
        text = self.spelled("\n".join(lines))
        name = LIBRARIES + hashlib.sha256(text.encode()).hexdigest()[:16]
        return Library(name, f"#!lua name={name}\n" + text.replace("NAME_", f"{name}_"), self._scripts)


def _outdented(text: str) -> str:
    """A script without what only indents it: where there is no library, a server reads all of its text."""
    return "\n".join(map(str.lstrip, text.split("\n")))


def _as_function(name: str) -> str:
    """A script as a function of what it is sent."""
    return f"local function {name}(ARGV)\n{read(CALLED[name])}\nend"


def _made_once(body: str, outside: set[str]) -> tuple[list[str], str]:
    """A script's own functions, which a library makes once, and the rest of it.

    What they take from around them is declared among them, in their order, and given its value where it was:
    by every call. None where one of these names would then be another's, too, or the rest would take more
    names from around it than Lua has room for.
    """
    pieces = statements(body)
    taken = set[str]().union(*(one.uses for one in pieces if one.text.startswith("local function")))
    made, rest, declared, is_clear = list[str](), list[str](), set[str](), True
    for one in pieces:
        mine = one.names & taken
        names, _, values = one.text.removeprefix("local ").partition(" = ")
        if one.text.startswith("local function"):
            mine, values = one.names, ""
            made.append(one.text)
        elif not mine:
            rest.append(one.text)
        else:
            made.append(f"local {', '.join(sorted(mine))}")
            if others := sorted(one.names - mine):
                rest.append(f"local {', '.join(others)}")
            plain = not others and _OWN.fullmatch(one.text) and "next" not in words(body)
            rest.append(_begun(names, values) if plain else f"{names} = {values or 'nil'}")
        # Its value may be one that the same name has had before.
        again = mine and one.names & words(values)
        is_clear = is_clear and not (again or mine & (declared | outside))
        declared |= mine
    left = "\n".join(rest)
    if not is_clear or len(words(left) & (outside | declared)) > MOST_TAKEN:
        return [], body
    return made, left


def _begun(names: str, values: str) -> str:
    """What gives a call its own values. A table into which none has put anything is taken again: to make one,
    and have it collected, takes as long as some commands do. Of `a, a_order` the second says that of both:
    what is put into the first is put there before."""
    pairs = list(zip_longest(names.split(", "), values.split(", "), fillvalue="nil"))
    tables = {name for name, value in pairs if value == "{}"}
    lines = list[str]()
    for name, value in pairs:
        if value != "{}":
            lines.append(f"{name} = {value}")
        elif (order := f"{name}_order") in tables:
            lines.append(f"if not {name} or {order}[1] then {name}, {order} = {{}}, {{}} end")
        elif name.removesuffix("_order") == name or name.removesuffix("_order") not in tables:
            lines.append(f"if not {name} or next({name}) then {name} = {{}} end")
    return "\n".join(lines)


class Statement(NamedTuple):
    """A piece of Lua that others use."""

    names: set[str]
    """What it is about; none if it is no declaration."""
    uses: set[str]
    """The names in it, its own included."""
    text: str


@cache
def _ground() -> tuple[Statement, ...]:
    return _stated(GROUND)


@cache
def _steps() -> tuple[Statement, ...]:
    return _stated(STEPS)


def _stated(names: Iterable[str]) -> tuple[Statement, ...]:
    found = tuple(one for name in names for one in statements(read(f"steps/{name}")))
    assert all(one.names for one in found), [one.text for one in found if not one.names]
    return found


def statements(source: str) -> list[Statement]:
    """The statements of a file of steps. One ends where the next line begins that is neither indented nor an
    end."""
    texts = list[str]()
    for line in source.splitlines():
        if line.startswith((" ", "end", "}")):
            texts[-1] += "\n" + line
        elif line and not line.startswith("--"):
            texts.append(line)
    return [Statement(_names(text), words(text), text) for text in texts]


def _names(statement: str) -> set[str]:
    about = re.match(r"(?:local )?function (\w+)|local ([\w,\s]+)", statement)
    return words(about[1] or about[2]) if about else set()


def words(source: str) -> set[str]:
    """The names in a piece of Lua that are no fields."""
    code = re.sub(r"--.*", "", re.sub(_QUOTED, "''", source))
    return set(re.findall(r"(?<![.\w])[A-Za-z_]\w*", code))
