"""Seeded bugs in the scripts of schedules: each dies by a case of the store's contract, or by the auditor."""

from __future__ import annotations

from typing import Any

import pytest

from am2z_trio.testing.conformance.due import DueCases
from am2z_trio.testing.conformance.schedules import ScheduleCases
from tests.mutants.killers import AGAIN, found_after
from tests.mutants.test_script_mutants import Mutant, mutate

NAMES = (*vars(ScheduleCases), *vars(DueCases))
CASES = (AGAIN, *(name for name in NAMES if name.startswith("test_")))

MUTANTS = {
    "anybody writes over another owner's": Mutant(
        ("UPSERT_SCHEDULE",), "and take_over == '0' then", "and false then"
    ),
    "nobody takes a schedule over": Mutant(("UPSERT_SCHEDULE",), "~= owner and take_over == '0'", "~= owner"),
    "of two changes at a time the later one counts": Mutant(
        ("UPSERT_SCHEDULE",), "~= mark or revision(its_rev) ~= rev", "~= mark"
    ),
    "one that was made anew is changed as it was": Mutant(
        ("UPSERT_SCHEDULE",), "(its_mark or '') ~= mark or revision", "revision"
    ),
    "what was written anew is fired as it was": Mutant(
        ("FIRE",), "if not is_meant(key, v[1], v[2], mark, rev) then return { 'stale' } end", ""
    ),
    "the revision is not looked at": Mutant(("FIRE",), "~= mark or revision(its_rev) ~= rev", "~= mark"),
    "one that was made anew is fired as it was": Mutant(
        ("FIRE",), "(its_mark or '') ~= mark or revision", "revision"
    ),
    "every node fires": Mutant(
        ("FIRE",), "if not beside and (v[8] or next_time(v[3]) ~= expected) then return { 'stale' } end", ""
    ),
    "what is paused is fired": Mutant(
        ("FIRE",), "v[8] or next_time(v[3]) ~= expected", "next_time(v[3]) ~= expected"
    ),
    "a step whose answer was lost is refused": Mutant(
        ("FIRE",), "if v[4] == nonce then return { 'done', unpack(unpacked(v[5]) or {}) } end", ""
    ),
    "a step whose answer was lost tells nothing": Mutant(
        ("FIRE",), "redis.call('HSET', key, 'done', cmsgpack.pack(outcomes))", ""
    ),
    "how the last run stands is no matter": Mutant(
        ("FIRE",), "if stands ~= '' and last_stands(v[6], v[7]) ~= stands then return { 'stale' } end", ""
    ),
    "the next time is not set": Mutant(("FIRE",), "redis.call('HSET', key, 'next', next)\n", ""),
    "it is due as it was": Mutant(
        ("FIRE",), "redis.call('ZADD', schedules_key(), pause ~= '' and 'inf' or in_order(due), name)", ""
    ),
    "paused by a failure, it is due": Mutant(
        ("FIRE",), "pause ~= '' and 'inf' or in_order(due)", "in_order(due)"
    ),
    "the last run is not cancelled": Mutant(("FIRE",), "if cancel ~= '' and v[6] then", "if false then"),
    "the last run is not known": Mutant(("FIRE",), "redis.call('HSET', key, 'last', id, 'last_at', at)", ""),
    "what waits does not say since when": Mutant(
        ("FIRE",), "redis.call('HSET', key, 'held', held)", "redis.call('HDEL', key, 'held')"
    ),
    "what has waited waits on": Mutant(("FIRE",), "redis.call('HDEL', key, 'held')", "do end"),
    "its history has no end": Mutant(
        ("FIRE",), "redis.call('ZREMRANGEBYRANK', runs_key(name), 0, -1 - tonumber(history))", ""
    ),
    "a time that was passed by stays so": Mutant(
        ("FIRE",), "if noted and what ~= 'queued' then return end", "if noted then return end"
    ),
    "a time has two notes": Mutant(
        ("FIRE",), "if noted then redis.call('ZREM', runs_key(name), noted) end", ""
    ),
    "a failure is never forgiven": Mutant(
        ("LOOK_AT_SCHEDULES",), "status == 'failed' and id ~= forgiven and", "status == 'failed' and"
    ),
    "nothing is forgiven": Mutant(
        ("SET_SCHEDULE",), "if v[5] then redis.call('HSET', key, 'forgiven', v[5]) end", ""
    ),
    "another time is set whatever it is by now": Mutant(
        ("SET_SCHEDULE",), "or next_time(v[3]) ~= expected then return 0 end", "then return 0 end"
    ),
    "what is paused is due": Mutant(("SET_SCHEDULE",), "paused and 'inf' or in_order(due)", "in_order(due)"),
    "what is paused is due when it is written anew": Mutant(
        ("UPSERT_SCHEDULE",), "v[4] and 'inf' or in_order(due)", "in_order(due)"
    ),
    "the same again is a change": Mutant(
        ("UPSERT_SCHEDULE",), "if v[1] == spec then return { 'unchanged', rev } end", ""
    ),
    "a removed one leaves its runs": Mutant(("REMOVE_SCHEDULE",), "redis.call('UNLINK', runs_key(name))", ""),
    "a removed one stays in line": Mutant(
        ("REMOVE_SCHEDULE",), "redis.call('ZREM', schedules_key(), name)", ""
    ),
    "anybody's is removed": Mutant(("REMOVE_SCHEDULE",), "if owner ~= '*' and", "if false and"),
    "nobody hears when one is due": Mutant(
        ("BEAT",), "return due and math.max(0, due - now) or -1", "return -1"
    ),
    "a schedule is told to have missed nothing": Mutant(("SCHEDULE_STANDINGS",), "v[1] or '0'", "'0'"),
    "what is paused is told to go on": Mutant(("SCHEDULE_STANDINGS",), "v[2] and 1 or 0", "0"),
    "what is due is not told": Mutant(
        ("DUE_SCHEDULES",), "'-inf', whole(now), 'LIMIT', offset, most", "'-inf', '(0', 'LIMIT', offset, most"
    ),
    "names without records stand before all others": Mutant(
        ("DUE_SCHEDULES",), "until not names[1] or answers[3] or", "until answers[2] or"
    ),
    "names without records stay": Mutant(
        ("DUE_SCHEDULES",),
        "if nameless[1] then redis.call('ZREM', schedules_key(), unpack(nameless)) end",
        "",
    ),
}


@pytest.mark.seeded
@pytest.mark.parametrize("name", MUTANTS)
def test_the_mutant_dies(
    name: str, redis_server: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch, MUTANTS[name])
    assert any(found_after(case, redis_url, redis_server) for case in CASES)
