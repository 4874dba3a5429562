"""Seeded bugs in the Redis scripts: each must be found by the tests that hold them to the specification.

A mutant is a replacement of a piece of Lua that must be there exactly once, so that a mutant which no
longer applies is found, too. To see how short its counterexample is: `pytest -s --mutant <name>`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from am2z_trio.store.redis import scripts
from am2z_trio.wire.scripts import Script
from tests.mutants.killers import a_case_fails, explore
from tests.store.test_stateful import (
    CallMachine,
    KeptMachine,
    LimitsMachine,
    NamedMachine,
    ServingMachine,
    SessionMachine,
    StoreMachine,
    TurnMachine,
)


class Mutant(NamedTuple):
    scripts: tuple[str, ...]
    before: str
    after: str


HOLDS = "if not holds_lock(name, token, now) then return 0 end"
COMPARE = "(whole(state.version) ~= version or state.sha ~= sha)"

MUTANTS = {
    "finish without token": Mutant(("SETTLE",), "if job.token ~= token then", "if false then"),
    "finish without compare": Mutant(("SETTLE",), COMPARE, "false"),
    "finish: compare on version only": Mutant(("SETTLE",), COMPARE, "whole(state.version) ~= version"),
    "a commit is not seen by the next one of its call": Mutant(
        ("SETTLE",), "states[job.skey] or load_state(job.skey, now)", "load_state(job.skey, now)"
    ),
    "a conflict shows the state before its call": Mutant(
        ("SETTLE",), "if committed[state] then keep_committed(state) end", ""
    ),
    "a session has one job at its turn": Mutant(("CLAIM",), "math.min(run, room)", "math.min(share, room)"),
    "a session's turn lasts until its jobs do": Mutant(
        ("CLAIM",), "math.min(in_a_row, math", "math.min(99, math"
    ),
    "finish twice": Mutant(("SETTLE",), "if job.last_token == token then", "if false then"),
    "an outcome is built on what is not recorded": Mutant(
        ("SETTLE",), "if outcomes and not are_recorded(outcomes) then return { 'unfounded' } end", ""
    ),
    "a job is built on what is not recorded": Mutant(
        ("ENQUEUE",), "if not are_recorded(outcomes) then return { 'unfounded' } end", ""
    ),
    "what is built on an outcome asks for any of that job": Mutant(
        ("ENQUEUE", "SETTLE"), " or v[2] ~= told[i + 1]", ""
    ),
    "what is built on an outcome asks for any of that claim": Mutant(
        ("ENQUEUE", "SETTLE"), "v[1] ~= 'completed' or v[2]", "v[2]"
    ),
    "reap that keeps the token": Mutant(
        ("TICK", "LEAVE", "SETTLE"),
        "redis.call('HDEL', job_key(job.id), 'node', 'token', 'away')",
        "redis.call('HDEL', job_key(job.id), 'node', 'away')",
    ),
    "reap that does not count": Mutant(("TICK",), "'stalls', 1)", "'stalls', 0)"),
    "a lost claim that somebody else was granted is given back": Mutant(
        ("SETTLE", "RECONCILE"),
        "if lost ~= token or grant ~= (v[2] or '0') then return false end",
        "if lost ~= token then return false end",
    ),
    "a stall stays counted for a node that is back": Mutant(
        ("SETTLE", "RECONCILE"), "if not at then return end", "do return end"
    ),
    "a claim that is given back leaves the job in its queue": Mutant(
        ("SETTLE", "RECONCILE"),
        "redis.call('HINCRBY', job_key(id), 'gen', 1)",
        "",
    ),
    "who was away itself takes others for dead": Mutant(
        ("TICK",), "if lease_until - now >= lease / 3 then return end", "do return end"
    ),
    "claim without replay": Mutant(("CLAIM",), "if seq == last[1] then", "if false then"),
    "late duplicate of a claim is served": Mutant(
        ("CLAIM",), "if seq < last[1] then return { 'stale' } end", ""
    ),
    "a known job is queued again": Mutant(("ENQUEUE",), "if known[1] and not again then", "if false then"),
    "a plain job that is known is queued again": Mutant(
        ("ENQUEUE",), "local plain = server.call('EXISTS', job_key(id)) == 0 and", "local plain = "
    ),
    "a plain job stands in no list": Mutant(("ENQUEUE",), "arrive(queue, id)", ""),
    "jobs that are alike and known are queued again": Mutant(
        ("ENQUEUE",), "math.min(from + 999, #keys))) > 0", "math.min(from + 999, #keys))) < 0"
    ),
    "jobs that are alike go on behind one that is refused": Mutant(
        ("ENQUEUE",), "if REFUSED[answer[1]] then return { n - 1, answer } end", ""
    ),
    "jobs that are alike are accepted of a session that is being stopped": Mutant(
        ("ENQUEUE",), "not (what[3] ~= '' and is_stopping(what[3], now))", "true"
    ),
    "jobs that are alike are not counted": Mutant(("ENQUEUE",), "count(queue, 'waiting', all)", ""),
    "jobs that are alike give their session no turn": Mutant(
        ("ENQUEUE",), "if length == all then take_turn(queue, skey, false) end", ""
    ),
    "jobs that are alike are not their session's": Mutant(
        ("ENQUEUE",), "then join_jobs(skey, session, unpack(ids, first, last)) end", "then end"
    ),
    "jobs that are alike are given one input": Mutant(
        ("ENQUEUE",), "what[12] = again .. (inputs[n] or '')", "what[12] = again"
    ),
    "jobs that are alike wake one node": Mutant(
        ("ENQUEUE",), "ids[n])\n    wake(queue)", "ids[n])\n    if n == 1 then wake(queue) end"
    ),
    "what only some jobs have is not looked for": Mutant(
        ("SETTLE", "CANCEL"), "'HSET', job_key(id), 'more', '1', ...)", "'HSET', job_key(id), ...)"
    ),
    "a job that is not plain counts as such": Mutant(("ENQUEUE",), "'more', '1', 'processor'", "'processor'"),
    "a job that is handed out is held by nobody": Mutant(
        ("ENQUEUE",), "  redis.call('HSET', active_key(node), id, token)", ""
    ),
    "what is to be asked for is handed out": Mutant(("ENQUEUE",), " and only_asked == ''", ""),
    "a queue that is paused or limited hands out": Mutant(
        ("ENQUEUE",), "not (limits[1] or limits[2] or limits[3]) and", ""
    ),
    "a job is handed out past those that wait": Mutant(
        ("ENQUEUE",),
        "ready_key(queue), prio_key(queue), blocked_key(queue)) == 0",
        "blocked_key(queue)) == 0",
    ),
    "who takes nothing unasked is given a job": Mutant(
        ("ENQUEUE",), "if not (spare >= 1 and fits", "if not (node and fits"
    ),
    "who has let its lease run out is given a job": Mutant(
        ("ENQUEUE",), "number(redis.call('ZSCORE', nodes_key(), node), -1) >= now", "true"
    ),
    "who hears nothing is given a job": Mutant(
        ("ENQUEUE",), "redis.call('PUBSUB', 'NUMSUB', inbox_key(node))[2] > 0\n      and ", ""
    ),
    "who sends and is at rest is given nothing at once": Mutant(("ENQUEUE",), "at_rest[queue] = own", ""),
    "who sends and is at rest is given more than one": Mutant(("ENQUEUE",), "at_rest[queue] = nil", ""),
    "a call that comes again does not tell what it has given": Mutant(
        ("ENQUEUE",), "local is_own = known[1]", "local is_own = false and known[1]"
    ),
    "any call tells what the node was given": Mutant(
        ("ENQUEUE",), "string.match(known[12] or '', ':(.*)$') == nonce", "true"
    ),
    "what a message tells of is told by the answer to the same call, too": Mutant(
        ("ENQUEUE",), "(own and ':' or ':-')", "':'"
    ),
    "a job that comes twice in one call is given twice": Mutant(("ENQUEUE",), "and not given[id]", ""),
    "who was handed all that it takes stays in the lot": Mutant(
        ("ENQUEUE",), "redis.call('ZREM', lot_key(queue), node)\n  end\n  if not own", "end\n  if not own"
    ),
    "no jobs give their session a turn": Mutant(("ENQUEUE",), "if #ids > 0 and not known", "if not known"),
    "who leaves late is searched for": Mutant(
        ("LEAVE",), "redis.call('HDEL', leaving_key(), node)\n  redis.call('DEL'", "redis.call('DEL'"
    ),
    "who has too little room is given all that it asks for": Mutant(
        ("CLAIM",), "tonumber(unasked) - #found", "limit - #found"
    ),
    "a limited queue hands out": Mutant(("CLAIM",), "limited and 0 or tonumber", "tonumber"),
    "who takes one unasked is given more": Mutant(("ENQUEUE",), "if spare > 1 then", "if true then"),
    "what was handed out counts as waiting": Mutant(
        ("ENQUEUE",),
        "count(queue, status, 1)",
        "count(queue, 'waiting', 1)",
    ),
    "wake-up lost": Mutant(("ENQUEUE",), "if nobody[queue] or (no_call[queue]", "if true or (no_call[queue]"),
    "write without compare": Mutant(("WRITE_STATE",), COMPARE, "false"),
    "write: compare on version only": Mutant(("WRITE_STATE",), COMPARE, "whole(state.version) ~= version"),
    "write applied again": Mutant(("WRITE_STATE",), "if seq == receipt[1] then", "if false then"),
    "late duplicate of a write is applied": Mutant(
        ("WRITE_STATE",), "if seq < receipt[1] then return { 'stale' } end", ""
    ),
    "write under a lock that was lost": Mutant(
        ("WRITE_STATE",), "if token ~= '' and not holds_lock(name, token, now) then", "if false then"
    ),
    "version reset on delete": Mutant(
        ("WRITE_STATE",), "'version', whole(version), 'gone', why", "'version', '0', 'gone', why"
    ),
    "an expired state is read": Mutant(("READ_STATE",), "(v[6] and number(v[6], now + 1) <= now)", "false"),
    "release without token": Mutant(
        ("RELEASE_LOCK",), "if redis.call('HGET', lock_key(name), 'token') == token then", "if true then"
    ),
    "renew without owner check": Mutant(("RENEW_LOCK",), HOLDS, ""),
    "renew of an expired lease": Mutant(
        ("RENEW_LOCK",), "return lock[1] == token and number(lock[2], 0) >= now", "return lock[1] == token"
    ),
    "two holders": Mutant(
        ("ACQUIRE_LOCK",), "local held = lock[1] and number(lock[3], 0) >= now", "local held = false"
    ),
    "fencing number that does not grow": Mutant(
        ("ACQUIRE_LOCK", "RELEASE_LOCK"), "local fence = new_fence()", "local fence = 1"
    ),
    "fencing numbers that a server gives out again when it goes back": Mutant(
        ("ACQUIRE_LOCK",), "if fence >= floor then return fence end", "do return fence end"
    ),
    "a handed-on lock is not announced": Mutant(
        ("RELEASE_LOCK",), "redis.call('PUBLISH', inbox_key(node), '\\145\\147'", "local _ = ('\\145\\147'"
    ),
    "stop that tells no node": Mutant(
        ("STOP_SESSION",),
        "post(job.node, '\\148' .. cmsgpack.pack('cancel', id, job.token, SESSION_STOPPED))",
        "",
    ),
    "a stop that its blocks do not hear": Mutant(
        ("STOP_SESSION",), "redis.call('PUBLISH', stops_key(),", "redis.call('PUBLISH', 'nowhere',"
    ),
    "a stop that cannot be asked for": Mutant(
        ("STOP_SESSION",), "redis.call('ZADD', stopped_key(), whole(stop), name)", ""
    ),
    "a stopping session accepts jobs": Mutant(
        ("ENQUEUE",), "return till and number(till, 0) > now", "return false"
    ),
    "a child outlives its parent": Mutant(
        ("SETTLE", "CANCEL", "TICK"),
        "if job.calls then\n    end_children(",
        "if false then\n    end_children(",
    ),
    "a rate limit that counts nothing": Mutant(
        ("CLAIM",), "flow_starts - redis.call('ZCOUNT',", "flow_starts - 0 * redis.call('ZCOUNT',"
    ),
    "room for one more is not announced": Mutant(
        ("SETTLE", "TICK"), "for _ = 1, flow[1] and freed or 0 do wake(queue) end", ""
    ),
    "a job that ended still counts in its session": Mutant(
        ("SETTLE", "TICK"),
        "if redis.call('HINCRBY', running_key(queue), skey, -1) <= 0",
        "if false",
    ),
    "a blocked session is forgotten": Mutant(
        ("SETTLE", "TICK", "LEAVE"), "redis.call('ZREM', blocked_key(queue), skey) == 1", "false"
    ),
    "a paused queue grants": Mutant(
        ("CLAIM",), "local places = meta[1] and 0 or limit", "local places = limit"
    ),
    "a dead letter is revived twice": Mutant(
        ("REVIVE",),
        "if job.status ~= 'failed' or not redis.call('ZSCORE', dead_key(job.queue), id)",
        "if false",
    ),
    "a revived job keeps its attempts": Mutant(
        ("REVIVE",), "'status', 'waiting', 'attempt', '1'", "'status', 'waiting'"
    ),
    "a revived job stays a dead letter": Mutant(
        ("REVIVE",), "redis.call('ZREM', dead_key(job.queue), id)", ""
    ),
    "a revived job that was plain has not failed before": Mutant(
        ("REVIVE",), "redis.call('HSETNX', key, 'last_outcome', 'failed')", ""
    ),
    "a plain job is still one when it is to be cancelled": Mutant(
        ("CANCEL",),
        "note(job.id, 'cancel', reason)",
        "redis.call('HSET', job_key(job.id), 'cancel', reason)",
    ),
    "a plain job is still one when it is tried again": Mutant(
        ("SETTLE",),
        "note(id, 'status', status, 'attempt'",
        "redis.call('HSET', job_key(id), 'status', status, 'attempt'",
    ),
    "a plain job is still one when it has called others": Mutant(
        ("ENQUEUE",),
        "children_key(parent), id)\n    note(parent, 'calls', '1')\n  end\n  if keep",
        "children_key(parent), id)\n  end\n  if keep",
    ),
    "a plain job is still one when it has stepped aside": Mutant(
        ("STEP_ASIDE",), "note(job.id, 'away', '1')", "redis.call('HSET', job_key(job.id), 'away', '1')"
    ),
    "a plain job is still one when it was handed back": Mutant(
        ("SETTLE", "TICK", "LEAVE"),
        "note(job.id, 'status', status)\n",
        "redis.call('HSET', job_key(job.id), 'status', status)\n",
    ),
    "dead letters without number": Mutant(
        ("SETTLE",), "if own_most >= 0 then most = own_most end", "most = 1000"
    ),
    "a debounced job runs, too": Mutant(("ENQUEUE",), "cancel_unbegun(replaced, now, ttl, DEBOUNCED)", ""),
    "an id is that of another session's job, too": Mutant(
        ("ENQUEUE",), "if (known[8] or '') ~= session then return 'session' end", ""
    ),
    "an id is that of another processor's job, too": Mutant(
        ("ENQUEUE",), "if known[5] ~= processor then return 'processor' end", ""
    ),
    "an id is that of a job with another input, too": Mutant(
        ("ENQUEUE",), "known[9] ~= input then return 'input' end", "false then return 'input' end"
    ),
    "what runs anew is bound to its input": Mutant(("ENQUEUE",), "again and '' or input)", "input)"),
    "who joins a job makes one": Mutant(
        ("ENQUEUE",), "elseif joins and not known[1] then", "elseif false then"
    ),
    "another session's processor is told": Mutant(
        ("ENQUEUE",), "other ~= 'session' and known[5] or ''", "known[5]"
    ),
    "who has stepped aside still counts": Mutant(
        ("STEP_ASIDE",), "count(job.queue, 'away', 1)", "count(job.queue, 'away', 0)"
    ),
    "who has stepped aside is not let back": Mutant(
        ("SETTLE", "STEP_ASIDE"), "if flow[2] or flow[3] then freed = freed - let_back(queue) end", ""
    ),
    "a call that was claimed from among the calls is claimed from its list, too": Mutant(
        ("CLAIM",), "if calls_only and job.status == 'waiting' then leave_place", "if false then leave_place"
    ),
    "a call that has begun stays among the calls": Mutant(
        ("CLAIM",), "if job.depth then leave_calls(job) end", ""
    ),
    "a call that comes back is no call any more": Mutant(
        ("SETTLE", "LEAVE"), "front, job.skey, v[2], job.depth)", "front, job.skey, v[2])"
    ),
    "a node that claims calls only keeps another's wake-up": Mutant(("CLAIM",), "wake(queue, 'free')", ""),
    "a node that claims calls only is woken for any job": Mutant(
        ("ENQUEUE",), "redis.call('EXISTS', calls_key(queue)) == 0", "false"
    ),
    "one caller's departure is everybody's": Mutant(
        ("CANCEL",),
        "if #others > 0 or redis.call('HEXISTS', job_key(job.id), 'stays') == 1 then",
        "if false then",
    ),
    "two have one turn": Mutant(("CLAIM",), "(turns[job.turn] or is_taken(job.turn, id))", "false"),
    "a commit takes the turn from another": Mutant(("SETTLE",), "if is_late or (version", "if (version"),
    "a turn is not passed on": Mutant(
        ("SETTLE", "TICK", "LEAVE", "STOP_SESSION"), "if job.turn then pass_turn(job) end", ""
    ),
    "who was about to take a turn ends and calls nobody": Mutant(
        ("CANCEL", "CLAIM"), "if job.turn then leave_line(job) end", ""
    ),
    "a place in line is lost": Mutant(("CLAIM",), "if not place then", "if true then"),
    "what is run in vain takes no turn": Mutant(
        ("SETTLE",), "if reason ~= '' then redis.call('HSET', job_key(id), 'turn', reason) end", ""
    ),
    "every node looks": Mutant(("BEAT",), "local looks = due <= now", "local looks = true"),
    "who looked last says when the next look is": Mutant(("BEAT",), "looks or due > now + every", "looks"),
    "what other nodes hold is looked after no sooner": Mutant(
        ("BEAT",), "if other ~= node and redis.call('EXISTS', active_key(other)) == 1 then", "if false then"
    ),
    "a suspect is looked at no sooner": Mutant(
        ("BEAT",), "if calm and redis.call('EXISTS', suspects_key()) == 0 then", "if calm then"
    ),
    "a queue with jobs is known no more": Mutant(
        ("FORGET_QUEUE",), "left == 0 and workers == 0", "workers == 0"
    ),
    "a job that is run again stands where it was cancelled": Mutant(
        ("CLAIM",), "or (listed and job.gen ~= gen) then", "then"
    ),
    "a session whose jobs were cancelled keeps its turn": Mutant(
        ("CANCEL", "STOP_SESSION"), "redis.call('ZREM', ready_key(queue), skey)", ""
    ),
    "a node that left serves": Mutant(("LEAVE",), "unserve_all(node, now) or", ""),
    "a node that was taken for dead serves": Mutant(("TICK",), "and not unserve_all(name, now)", ""),
    "a node without a lease serves": Mutant(("ANNOUNCE",), "if serves and has_lease then", "if serves then"),
    "a node whose lease is over counts among the servers": Mutant(
        ("QUEUES",), "if till < now then", "if false then"
    ),
    "a node that nobody reaches counts among the servers": Mutant(
        ("STATS",), "if heard[2 * index] == 0 then", "if false then"
    ),
    "a deaf node counts among the servers no more": Mutant(
        ("STATS",), "number(grace or 0, 0) + RENEWED_MS then", "0 then"
    ),
    "a name is taken away from a queue that is served": Mutant(
        ("WITHDRAW",), "and workers_of(queue, now) == 0 then", "then"
    ),
    "a queue that is served is forgotten": Mutant(
        ("FORGET_QUEUE",), "left == 0 and workers == 0", "left == 0"
    ),
    "who only submits makes a queue known by name": Mutant(
        ("ANNOUNCE",), "if serves then redis.call('HSET'", "if true then redis.call('HSET'"
    ),
    "who only submits gives a retired queue its name back": Mutant(
        ("ANNOUNCE",), "if serves or not redis.call('ZSCORE', queues_key(), queue) then", "if true then"
    ),
    "a queue is known for a day since it was announced, not served": Mutant(
        ("WITHDRAW", "LEAVE"), "redis.call('HSET', meta_key(queue), 'seen', whole(now))", "local _ = nil"
    ),
    "an open circuit lets jobs through": Mutant(("BREAKER",), "return { 0, state,", "return { 1, state,"),
}


OF_FLOW = {
    "a rate limit that counts nothing",
    "room for one more is not announced",
    "a job that ended still counts in its session",
    "a blocked session is forgotten",
    "a paused queue grants",
    "who has stepped aside still counts",
    "who has stepped aside is not let back",
}
OF_CALLS = {
    "a call that was claimed from among the calls is claimed from its list, too",
    "a call that has begun stays among the calls",
    "a call that comes back is no call any more",
    "a node that claims calls only keeps another's wake-up",
    "a node that claims calls only is woken for any job",
}
OF_TURNS = {
    "a commit takes the turn from another",
    "two have one turn",
    "a turn is not passed on",
    "who was about to take a turn ends and calls nobody",
    "a place in line is lost",
    "what is run in vain takes no turn",
}
OF_SERVERS = {
    name
    for name, mutant in MUTANTS.items()
    if {"QUEUES", "STATS", "ANNOUNCE", "WITHDRAW"} & {*mutant.scripts}
} | {
    "a node that left serves",
    "a node that was taken for dead serves",
    "a queue that is served is forgotten",
}
OF_WHAT_IS_KEPT = {
    "a dead letter is revived twice",
    "a revived job keeps its attempts",
    "a revived job stays a dead letter",
    "dead letters without number",
    "a debounced job runs, too",
}
OF_IDS = {
    "an id is that of another session's job, too",
    "an id is that of another processor's job, too",
    "an id is that of a job with another input, too",
    "what runs anew is bound to its input",
    "who joins a job makes one",
    "another session's processor is told",
}
OF_SESSIONS = {
    "WRITE_STATE",
    "READ_STATE",
    "ACQUIRE_LOCK",
    "RENEW_LOCK",
    "RELEASE_LOCK",
    "STOP_SESSION",
    "BREAKER",
}


def machine_for(name: str) -> type[StoreMachine]:
    """The machine that has the steps a mutant is about; fewer kinds of steps find bugs sooner."""
    if name in OF_FLOW:
        return LimitsMachine
    if name in OF_SERVERS:
        return ServingMachine
    if name in OF_CALLS:
        return CallMachine
    if name in OF_TURNS:
        return TurnMachine
    if name in OF_WHAT_IS_KEPT:
        return KeptMachine
    if name in OF_IDS:
        return NamedMachine
    of_sessions = OF_SESSIONS & {*MUTANTS[name].scripts} or "session" in name
    return SessionMachine if of_sessions else StoreMachine


def mutate(monkeypatch: pytest.MonkeyPatch, mutant: Mutant) -> None:
    for name in mutant.scripts:
        script: Script = getattr(scripts, name)
        written = scripts.BUNDLER.written(script)
        assert written.count(mutant.before) == 1, f"the mutant does not apply to {name}"
        changed = Script(script.name, scripts.BUNDLER.spelled(written.replace(mutant.before, mutant.after)))
        monkeypatch.setattr(scripts, name, changed)


@pytest.mark.parametrize("name", MUTANTS)
def test_the_mutant_dies(
    name: str,
    redis_server: Any,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    mutate(monkeypatch, MUTANTS[name])
    shrink = request.config.getoption("--mutant") == name
    if not shrink and a_case_fails(redis_url, redis_server):
        return
    with pytest.raises(AssertionError) as found:
        explore(redis_server, machine_for(name), shrink=shrink)
    if shrink:
        print("\n".join(getattr(found.value, "__notes__", [])))
