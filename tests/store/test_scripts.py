"""What a script carries: the shared steps that it uses, and no others."""

from __future__ import annotations

import dataclasses
import re
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from am2z_trio.model import records
from am2z_trio.store import agreed as stores
from am2z_trio.store.redis import agreed, bundle, scripts
from am2z_trio.store.redis.keys import spelled_out
from am2z_trio.store.redis.signature import Signature
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
    redis_server.call("FUNCTION", "LOAD", "REPLACE", scripts.library().source)
    told = str(redis_server.call("FUNCTION", "LIST", "LIBRARYNAME", scripts.library().name))
    for script in SCRIPTS:
        assert script is scripts.PROBE or repr(script.function.encode()) in told


@by_name
def test_a_script_that_may_end_jobs_is_told_how_many_are_kept(script: Script):
    if script is not scripts.PROBE:
        written = scripts.BUNDLER.written(script)
        told = re.search(r"^most_recent\b.* = tonumber\(recent\)", written, re.MULTILINE)
        assert ("note_end(job.queue" in written) == (told is not None)


def test_another_text_has_another_name():
    def library(**given: str) -> Library:
        bundler = bundle.Bundler(agreed.rendered() | given)
        bundler.script("jobs/view", Signature.of("", "id"))
        return bundler.library()

    assert library().name == library().name != library(REPLY_BYTES="2").name


def test_what_a_call_collects_is_its_own_in_a_library():
    begin = re.search(r"local function begin.*?\nend", scripts.library().source, re.DOTALL)
    assert begin is not None
    steps = "".join(bundle.read(f"steps/{name}") + "\n" for name in bundle.STEPS)
    for names, values in re.findall(r"^local ([a-z_, ]+) = (.*)$", steps, re.MULTILINE):
        given = dict(
            zip_longest(names.split(", "), scripts.BUNDLER.spelled(values).split(", "), fillvalue="nil")
        )
        for name, value in given.items():
            # A table that has been used is another call's; of two the order says it of both.
            anew = f"if not {name} or next({name}) then {name} = {{}} end"
            order, of = f"{name}_order", name.removesuffix("_order")
            if order in given:
                anew = f"if not {name} or {order}[1] then {name}, {order} = {{}}, {{}} end"
            elif of != name and of in given:
                anew = f"if not {of} or {name}[1] then {of}, {name} = {{}}, {{}} end"
            assert (anew if value == "{}" else f"{name} = {value}") in begin[0].splitlines()


def test_what_has_an_order_stands_in_it_first():
    """So an empty order says that there is nothing, wherever a call was broken off."""
    orders = {
        name
        for code in CODE.values()
        for name in re.findall(r"\b(\w+)_order = \{\}|, (\w+)_order\b", code)
        for name in name
        if name
    }
    assert len(orders) >= 8
    for code in CODE.values():
        for name in orders:
            written = re.findall(rf"(.*)\n +{name}\[[\w.]+\] = (?!nil)", code)
            assert all(f"{name}_order[#{name}_order + 1] = " in line for line in written), (name, written)


@pytest.mark.parametrize("name", ["jobs_enqueue", "jobs_settle"])
def test_a_library_makes_the_functions_of_a_hot_script_once(name: str):
    body = re.search(rf"_{name}', function\(keys, args\)\n(.*?)\nend\)", scripts.library().source, re.DOTALL)
    assert body is not None
    assert "function" not in body[1]


OWN_FUNCTIONS = """\
local first, second = unpack(ARGV)
local seen, seen_order = {}, {}
local many = 0
local function see(what)
  many = many + what
  if not seen[what] then
    seen_order[#seen_order + 1] = what
    seen[what] = true
  end
end
see(tonumber(first))
local most
local function sum_up()
  most = (most or 0) + many
  return most
end
see(tonumber(second))
local unused, between = 'unused', sum_up()
local function last() return between end
return last() + 100 * sum_up() + 10000 * #seen_order
"""
MUCH_TAKEN = sorted(name for one in bundle._steps() for name in one.names if name.islower())[:56]


@pytest.mark.parametrize(
    ("before", "after", "is_made_once"),
    [
        ("sum_up()\n", "sum_up(first)\n", True),
        ("{}, {}", "{}, { [0] = 'next' }", True),
        ("local most\n", "local most, next\nif next then return next end\n", True),
        ("  return most", "  local outbox = most\n  return outbox", True),
        # A name would be that of another value, too: of one of the script, the library or Lua.
        ("see(tonumber(second))", "see(many)\nlocal many = second\nsee(many)", False),
        ("local most\n", "local most, outbox\noutbox = 1\n", True),
        (
            "local most\nlocal function sum_up()\n",
            "local most, outbox\nlocal function sum_up()\n  outbox = 1\n",
            False,
        ),
        ("local many = 0\n", "local many, tonumber = 0, tonumber\n", False),
        # There would be no room.
        (
            "local most\n",
            f"local most\nif first == '' then return {{ {', '.join(MUCH_TAKEN)} }} end\n",
            False,
        ),
    ],
)
def test_a_script_that_is_made_once_does_what_it_does_alone(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch, before: str, after: str, is_made_once: bool
):
    if redis_server.version < "7":
        pytest.skip("the server has no functions")
    body, read = OWN_FUNCTIONS.replace(before, after, 1), bundle.read
    monkeypatch.setattr(bundle, "read", lambda name: body if name == "own/functions" else read(name))
    bundler = bundle.Bundler(agreed.rendered())
    script = bundler.script("own/functions", Signature.of("first second"))
    library = bundler.library()
    assert ("do local function script()" in library.source) == is_made_once
    redis_server.call("FUNCTION", "LOAD", "REPLACE", library.source)
    # What one call has left is not what the next one begins with.
    for given in (("1", "2"), ("2", "2"), ("1", "2")):
        alone = redis_server.call("EVAL", script.source, 1, "{x:0}", *given)
        assert redis_server.call("FCALL", script.function, 1, "{x:0}", *given) == alone
    redis_server.call("FUNCTION", "DELETE", library.name)


FILES = {
    "/".join(path.parts[-2:]): path.read_text()
    for path in Path(str(files("am2z_trio.store.redis") / "lua")).rglob("*.lua")
}
CODE = {name: re.sub(r"--.*", "", text) for name, text in FILES.items()}
TOLD_TO_NO_SCRIPT = {
    # Of records, and of how nodes announce what they serve: the stores do nothing by them.
    "WIRE_VERSION",
    "ANNOUNCE_EVERY_MS",
    # An argument of the script.
    "ENDED_BY_STOP",
}


def test_no_lua_spells_a_value_that_is_agreed_in_python():
    texts = [text for text in agreed.rendered().values() if " " in text]
    assert len(texts) >= 5
    for name, code in CODE.items():
        declared = set(re.findall(r"\w+", " ".join(re.findall(r"local ([A-Z][\w, ]*) =", code))))
        assert not declared & set(agreed.rendered()), name
        assert not [text for text in texts if text.strip("'") in code], name


def test_every_agreed_value_is_used_by_both_sides():
    unused = set(agreed.rendered()) - bundle.words("\n".join(CODE.values()))
    assert unused == TOLD_TO_NO_SCRIPT
    memory = Path(str(files("am2z_trio.store.memory")))
    python = "\n".join(path.read_text() for path in memory.glob("*.py"))
    bounds = {f"BOUNDS.{field.name}" for field in dataclasses.fields(stores.BOUNDS)}
    constants = {name for name in vars(stores) if name.isupper()}
    assert not [name for name in bounds | constants if not re.search(rf"\b{name}\b", python)]


def test_seconds_are_told_as_milliseconds_and_texts_in_quotes():
    told = agreed.rendered()
    assert told["KEPT_MS"] == str(int(records.KEPT * 1000))
    assert told["SESSION_STOPPED"] == f"'{records.SESSION_STOPPED}'"
    assert told["DEAD_AMONG"] == str(stores.DEAD_AMONG)


def test_a_key_is_spelled_out_in_place():
    written = "f(job_key(g(1, ')') .. wait_key(name)), nodes_key(), other_key(x))"
    assert spelled_out(written) == (
        "f((anchor .. ':job:' .. (g(1, ')') .. (anchor .. ':q:' .. name .. ':wait'))), "
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
    assert (first.names, second.names) == ({"a", "b"}, {"c"})
    assert {"a", "f", "d"} <= second.uses
    assert not {"e", "g", "s", "it"} & bundle.words(source)
