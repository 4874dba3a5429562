"""A script and its callers agree on what it is sent: an argument that one side alone has fails at once."""

from __future__ import annotations

import pytest

from am2z_trio.store.redis import bundle, scripts
from am2z_trio.store.redis.signature import Signature, require_same
from am2z_trio.wire.programs import Programs
from am2z_trio.wire.scripts import Script

RECORDS = """local clock, ttl = unpack(ARGV, 1, 2)
local function settle(id, token, reason, delay)
  return id
end
local i = 3
while i <= #ARGV do
  local id, token, more = unpack(ARGV, i, i + 2)
  if more == '' then i = i + 3 else settle(id, token, unpack(ARGV, i + 3, i + 4)) end
end"""
PAIRS = """for i = 1, #ARGV, 2 do
  local id, token = unpack(ARGV, i, i + 1)
end"""


@pytest.mark.parametrize(
    ("code", "sent"),
    [
        ("local clock, id = unpack(ARGV)", Signature.of("clock id")),
        ("local clock,\n  id = unpack(ARGV)", Signature.of("clock id")),
        (RECORDS, Signature.of("clock ttl", "id token more", "reason delay")),
        (PAIRS, Signature.of("", "id token")),
        ("for place, id in ipairs(ARGV) do", Signature.of("", "id")),
        (
            "local clock = unpack(ARGV, 1, 1)\nfor i = 2, #ARGV do\n  local id = ARGV[i]",
            Signature.of("clock", "id"),
        ),
        ("return 1", Signature.of("")),
    ],
)
def test_what_lua_reads_is_known_by_name(code, sent):
    require_same("x", code, sent)


@pytest.mark.parametrize(
    ("script", "before", "after", "told"),
    [
        (
            "jobs/report",
            "token, progress = ",
            "token, weight, progress = ",
            "reads .clock, id, token, weight",
        ),
        (
            "jobs/report",
            "id, token, progress = ",
            "id, progress = ",
            r"reads \(clock, id, progress\), but is sent",
        ),
        ("jobs/report", "id, token, progress = ", "token, id, progress = ", "but is sent .clock, id, token"),
        (
            "jobs/settle",
            "outcomes)\n",
            "outcomes, kept)\n",
            "settle.lua reads 8 arguments as .*outcomes, kept",
        ),
        ("jobs/settle", "ARGV, i, i + 7)", "ARGV, i, i + 8)", "settle.lua reads 9 arguments as"),
        ("jobs/settle", "local i = 6", "local i = 7", "by `local i = 7`"),
        ("jobs/settle", "history = unpack(ARGV, 1, 5)", "history = unpack(ARGV, 1, 6)", "reads 6 arguments"),
        ("nodes/reconcile", "#ARGV, 2 do", "#ARGV, 3 do", "by `for i = 1, #ARGV, 3 do`"),
        ("queues/pause", "if on == '1'", "if ARGV[2] == '1'", r"`ARGV\[2\]`, which has no name"),
    ],
)
def test_an_argument_that_lua_alone_has_is_refused_when_scripts_are_made(script, before, after, told):
    made = {one.name: one for one in vars(scripts).values() if isinstance(one, Script)}
    sent = scripts.BUNDLER.signature(made[script])
    require_same(script, bundle.read(script), sent)
    assert before in bundle.read(script)
    with pytest.raises(TypeError, match=told):
        require_same(script, bundle.read(script).replace(before, after), sent)


def test_an_argument_that_a_caller_alone_has_is_refused_before_it_is_sent():
    programs = Programs(lambda packed: None, lambda: 0.0)
    programs.call_of(scripts.REPORT, ("k", "k"), (0, "id", "token", 0.5))
    programs.call_of(scripts.RECONCILE, ("k", "k"), ("id", "token") * 3)
    with pytest.raises(TypeError, match="script jobs/report takes 4 arguments; it is sent 5"):
        programs.call_of(scripts.REPORT, ("k", "k"), (0, "id", "token", 0.5, "more"))
    with pytest.raises(TypeError, match="jobs/report takes 4 arguments; it is sent 3"):
        programs.call_of(scripts.REPORT, ("k", "k"), (0, "id", "token"))
    with pytest.raises(TypeError, match="takes 0 arguments, and 2 more any number of times; it is sent 3"):
        programs.call_of(scripts.RECONCILE, ("k", "k"), ("id", "token", "id"))
