"""What a script carries: the shared steps that it uses, and no others."""

from __future__ import annotations

import re
from typing import Any

import pytest

from am2z_trio.store import scripts
from am2z_trio.wire.scripts import Script

SCRIPTS = [value for value in vars(scripts).values() if isinstance(value, Script)]
by_name = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)


@by_name
def test_a_script_carries_only_what_it_uses(script: Script):
    code = re.sub(r"--.*", "", script.source)
    steps = re.findall(r"^(?:local )?function (\w+)\(", code, re.MULTILINE)
    unused = [step for step in steps if len(re.findall(rf"(?<![.\w]){step}\b", code)) < 2]
    assert not unused


@by_name
def test_every_server_can_read_a_script(script: Script, redis_server: Any):
    """Lua has room for 200 names in a function and for 60 that it takes from around it."""
    assert redis_server.call("SCRIPT", "LOAD", script.source) in (script.sha1, script.sha1.encode())


def test_a_statement_ends_where_the_next_line_stands_at_the_margin():
    source = "\n".join(
        [
            "-- about it's parts",
            "local a, b = 1, {",
            "  of = { [2] = 'no name\\'s -- end' },",
            "}",
            "",
            "local function c(d)",
            "  -- it's d",
            "  return d.e or f('g', a)",
            "end",
        ]
    )
    first, second = scripts._statements(source)
    assert (first[0], second[0]) == ({"a", "b"}, {"c"})
    assert {"a", "f", "d"} <= scripts._words(second[1])
    assert not {"e", "g", "s", "it"} & scripts._words(source)
