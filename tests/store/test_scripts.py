"""What a script carries: the shared steps that it uses, and no others."""

from __future__ import annotations

import re
from typing import Any

import pytest

from am2z_trio.store.redis import bundle, scripts
from am2z_trio.store.redis.keys import spelled_out
from am2z_trio.wire.scripts import Library, Script

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


def test_every_script_is_a_function_of_the_library(redis_server: Any):
    if redis_server.version < "7":
        pytest.skip("the server has no functions")
    redis_server.call("FUNCTION", "LOAD", "REPLACE", scripts.LIBRARY.source)
    told = str(redis_server.call("FUNCTION", "LIST", "LIBRARYNAME", scripts.LIBRARY.name))
    for script in SCRIPTS:
        assert script is scripts.PROBE or repr(script.function.encode()) in told


def test_another_text_has_another_name():
    def library(**agreed: int) -> Library:
        bundler = bundle.Bundler({"REPLY_BYTES": 1, "PUSHED_BYTES": 1, "POSTED_BYTES": 1, **agreed})
        bundler.script("jobs/view")
        return bundler.library()

    assert library().name == library().name != library(REPLY_BYTES=2).name


def test_what_a_call_collects_is_its_own_in_a_library():
    begin = re.search(r"local function begin.*?\nend", scripts.LIBRARY.source, re.DOTALL)
    assert begin is not None
    steps = "".join(bundle.read(f"steps/{name}") + "\n" for name in bundle.STEPS)
    for line in re.findall(r"^local [a-z_, ]+ = .*$", steps, re.MULTILINE):
        assert line.removeprefix("local ") in begin[0].splitlines()


def test_a_key_is_spelled_out_in_place():
    written = "f(job_key(g(1, ')') .. wait_key(name)), nodes_key(), other_key(x))"
    assert spelled_out(written) == (
        "f((anchor .. ':job:' .. (g(1, ')') .. (anchor .. ':q:' .. (name) .. ':wait'))), "
        "(anchor .. ':nodes'), other_key(x))"
    )


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
    first, second = bundle.statements(source)
    assert (first[0], second[0]) == ({"a", "b"}, {"c"})
    assert {"a", "f", "d"} <= bundle.words(second[1])
    assert not {"e", "g", "s", "it"} & bundle.words(source)
