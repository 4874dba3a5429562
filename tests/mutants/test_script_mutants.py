"""Seeded bugs in the Redis scripts: each must be found by the tests that hold them to the specification.

A mutant is a replacement of a piece of Lua that must be there exactly once, so that a mutant which no
longer applies is found, too. To see how short its counterexample is: `pytest -s --mutant <name>`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from am2z_trio.store.redis import scripts
from am2z_trio.testing.conformance.many_waits import ManyWaitCases
from am2z_trio.testing.conformance.promised import PromisedCases
from am2z_trio.testing.conformance.signals import SignalCases
from am2z_trio.testing.conformance.waits import WaitCases
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
    WaitMachine,
)


class Mutant(NamedTuple):
    scripts: tuple[str, ...]
    before: str
    after: str


HOLDS = "if not holds_lock(name, token, now) then return 0 end"
COMPARE = "(whole(state.version) ~= version or state.sha ~= sha)"

OF_WAITS = {
    "anybody waits for a job": Mutant(("WAIT",), " or token == '' or job.token ~= token", ""),
    "what became of a wait is another thing in the next run": Mutant(
        ("WAIT",), "redis.call('HSET', box, '=' .. key, cmsgpack.pack({ outcome, name, value or '' }))", ""
    ),
    "a signal is delivered twice": Mutant(("WAIT",), "if value then drop_signal(found_in, name) end", ""),
    "a wait begins anew in every run": Mutant(("WAIT",), "if not wait then", "if true then"),
    "a wait for something else is the same one": Mutant(
        ("WAIT",), "if over[2] ~= name then", "if false then"
    ),
    "a job waits any number of times": Mutant(("WAIT",), "if begun >= MOST_WAITS then", "if false then"),
    "who gets on is lost with its worker for good": Mutant(
        ("WAIT",), "redis.call('HDEL', job.key, 'stalls', 'charged')\n", "\n"
    ),
    "a signal that comes before its job parks is missed": Mutant(
        ("SETTLE",),
        "if not wait or signal_for(job, wait[1]) then return nil end",
        "if not wait then return end",
    ),
    "a parked job sleeps on when its time has come": Mutant(
        ("SETTLE",), "if wait[3] >= 0 then due = math.min(due, wait[3]) end", ""
    ),
    "nobody hears that a job is parked": Mutant(
        ("SETTLE",), "if due then tell('job:parked'", "if false then tell('job:parked'"
    ),
    "a job is said to be parked that goes on": Mutant(
        ("SETTLE",), "if due then tell('job:parked'", "if true then tell('job:parked'"
    ),
    "who is parked without an end is said to have one": Mutant(
        ("SETTLE",), "due < PARKED_TILL_MS and {['until']", "true and {['until']"
    ),
    "a parked job has no deadline": Mutant(
        ("SETTLE",), "due = math.min(due, number(redis.call('HGET', job.key, 'deadline') or nil, due))", ""
    ),
    "a wait that is over for its job keeps its place in the line": Mutant(
        ("SETTLE",), "if not kept[key] then left[#left + 1] = wait[1] end", ""
    ),
    "a signal is sent twice": Mutant(("SIGNAL",), "if is_known(job.key, op) then return 'kept' end", ""),
    "a signal does not wake the job": Mutant(
        ("SIGNAL",), "if has_wait_for(id, name) then bring(job, name) end", ""
    ),
    "any signal wakes the job": Mutant(("SIGNAL",), "if has_wait_for(id, name) then", "if true then"),
    "a signal hurries a job that backs off": Mutant(
        ("SIGNAL",), "redis.call('HGET', job.key, 'last_outcome') == 'parked'", "true"
    ),
    "any number of signals is kept": Mutant(("SIGNAL",), "many >= MOST_SIGNALS or ", ""),
    "signals of any size are kept": Mutant(("SIGNAL",), " or bytes + #value > MOST_SIGNAL_BYTES", ""),
    "a job has ended and takes signals": Mutant(
        ("SIGNAL",), "if ENDED[job.status] then return 'ended' end", ""
    ),
    "a signal to a session is sent twice": Mutant(
        ("SIGNAL_SESSION",), "if is_known(box, op) then return 'kept' end", ""
    ),
    "all of a session's jobs are woken by one signal": Mutant(
        ("SIGNAL_SESSION",), "redis.call('ZRANGE', line, 0, many - 1)", "redis.call('ZRANGE', line, 0, -1)"
    ),
    "whoever asks first takes what is sent to the session": Mutant(
        ("WAIT",), "if place and place < #sent then", "if place and #sent > 0 then"
    ),
    "what has ended stays in the line for signals": Mutant(("CANCEL",), "all[#all + 1] = '#' .. wait[1]", ""),
    "what has ended leaves its waits behind": Mutant(("SETTLE", "CANCEL"), "redis.call('DEL', box)", ""),
    "a stopped session keeps its signals": Mutant(
        ("STOP_SESSION",), "line_key(name), mail_key(name))", "line_key(name))"
    ),
    "many waits of what has ended stay in the lines": Mutant(
        ("SETTLE",), "string.match(field, '^#(.*)') or ''", "field == '#go' and 'go' or ''"
    ),
    "many waits begin anew where they are given a field each": Mutant(
        ("WAIT",), "wait, many = open[key], v[3] or", "wait, many = nil, v[3] or"
    ),
    "of many waits none is counted": Mutant(("WAIT",), "redis.call('HINCRBY', box, '#' .. name, 1)", ""),
    "one of many waits that is over is counted on": Mutant(
        ("WAIT",), "redis.call('HINCRBY', box, '#' .. name, -1) <= 0", "false"
    ),
    "many waits that are packed count for what they were": Mutant(
        ("SIGNAL",), "v[1] and v[1] == (v[2] or '') .. ' ' .. whole", "v[1] and whole"
    ),
    "whoever was given a job packs its waits": Mutant(
        ("PACK",), "if not job or token == '' or job.token ~= token then return 0 end", ""
    ),
    "what is packed stays whether it is named or not": Mutant(
        ("PACK",), "kept[key] = open[key] end", "kept[key] = open[key] end kept = open"
    ),
    "what is packed no more keeps its place in the line": Mutant(
        ("PACK",), "if not named[name] then leave_awaiting(job, name) end", ""
    ),
    "what is packed is there as fields, too": Mutant(
        ("PACK",), "if kind == '?' or kind == '#' then", "if kind == '#' then"
    ),
}

OF_PROMISES = {
    "a promise: though something waits there": Mutant(("ENQUEUE",), " or not is_open(part) then", " then"),
    "a promise: of more than the node takes": Mutant(
        ("ENQUEUE",), "if many[part] > spare_of(redis.call('ZSCORE', lot_key(part), node)) or", "if"
    ),
    "a promise: each part as if it were the first": Mutant(
        ("ENQUEUE",), "many[part] = (many[part] or 0) + 1", "many[part] = 1"
    ),
    "a promise: with a job that may have called before": Mutant(
        ("ENQUEUE",), "asked == '' and not again)", "true)"
    ),
    "a promise: not counted": Mutant(
        ("ENQUEUE",), "if promised ~= '' then count_promised(promised, 1) end", ""
    ),
    "a promise: not written down": Mutant(
        ("ENQUEUE",), "{ 'more', '1', 'promised', promised } or NOTHING", "NOTHING or NOTHING"
    ),
    "a promise: beyond the first call": Mutant(
        ("ENQUEUE",), "note(parent, 'calls', '1', 'promised', '')", "note(parent, 'calls', '1')"
    ),
    "a promise: counted on when it is over": Mutant(
        ("ENQUEUE",), "owed[parent] = promised\n    count_promised(promised, -1)", "owed[parent] = promised"
    ),
    "a promise: for one part alone": Mutant(
        ("ENQUEUE",), "(owed[parent] or seen[parent][4])", "seen[parent][4]"
    ),
    "a promise: to whoever names a token": Mutant(
        ("ENQUEUE",), "string.match(under, '^(.*)/') == seen[parent][3]", "true"
    ),
    "a promise: of any queue": Mutant(
        ("ENQUEUE",), "string.find('\\n' .. promised .. '\\n', '\\n' .. queue .. '\\n', 1, true)", "true"
    ),
    "a promise: broken where too many wait": Mutant(
        ("ENQUEUE",), "most ~= '0' and not begun and", "most ~= '0' and"
    ),
    "a promise: forgotten when the call comes again": Mutant(
        ("ENQUEUE",), "(known[12] == under or", "(false or"
    ),
    "a promise: takes no place": Mutant(
        ("ENQUEUE",),
        "left = take_one(queue, own, now, spare_of(redis.call('ZSCORE', lot_key(queue), own)))",
        "left = spare_of(redis.call('ZSCORE', lot_key(queue), own)) - 1",
    ),
    "a promise: beyond a claim that is taken away": Mutant(
        ("STOP_SESSION", "LEAVE", "TICK", "BEAT"),
        "if #(job.promised or '') > 0 then",
        "if false then",
    ),
    "a promise: beyond a claim that is settled": Mutant(
        ("SETTLE",), "if #(job.promised or '') > 0 then", "if false then"
    ),
    "a promise: beside nodes that know nothing of it": Mutant(
        ("JOIN", "RENEW", "BEAT", "TICK"),
        "if redis.call('SCARD', promising_key()) == redis.call('ZCARD', nodes_key()) then",
        "if true then",
    ),
    "a promise: though its node has seen that not all know of it": Mutant(
        ("ENQUEUE",), "local parts, many = v[1] and v[2] or '', {}", "local parts, many = v[2] or '', {}"
    ),
    "a promise: as if those knew of it that are not there": Mutant(
        ("RENEW", "BEAT", "TICK"), "redis.call('SREM', promising_key(), one)", ""
    ),
    "a promise: left by an earlier program for good": Mutant(
        ("SETTLE",), "if job.status ~= 'active' and job.promised then", "if false then"
    ),
    "a promise: ended by whoever names a token": Mutant(
        ("SETTLE",), "if job.status ~= 'active' and job.promised then", "if job.promised then"
    ),
    "a promise: ended with each call": Mutant(
        ("ENQUEUE",),
        "count_promised(promised, -1)\n    note(parent, 'calls', '1', 'promised', '')\n  elseif",
        "count_promised(promised, -1)\n  end\n  if",
    ),
    "a promise: to one that said so before": Mutant(
        ("ANNOUNCE",), "redis.call('HDEL', claims_key(node), '>' .. queue)", ""
    ),
}

MUTANTS = {
    **OF_WAITS,
    **OF_PROMISES,
    "a node hears what it was told": Mutant(
        ("SETTLE",), "if heard and job.origin == node then job.origin = '' end", ""
    ),
    "where a node was told, no other hears of it": Mutant(
        ("SETTLE",), "if heard and job.origin == node then", "if heard then"
    ),
    "what says no more is taken as told": Mutant(("SETTLE",), "more == '=', ''", "true, ''"),
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
    "a session that is drawn and not come to has no turn": Mutant(
        ("CLAIM",), "redis.call('ZADD', lanes, drawn[n + 1], drawn[n])", "local _ = n"
    ),
    "a session that is drawn and not come to is the last": Mutant(
        ("CLAIM",),
        "lanes, drawn[n + 1], drawn[n])",
        "lanes, drawn[n + 1] + 100000, drawn[n])",
    ),
    "a session has one turn": Mutant(("CLAIM",), "redis.call('ZADD', lanes, unpack(turns))", "place = 0"),
    "a session that has no more jobs has its turn all the same": Mutant(
        ("CLAIM",), "      place = place + 1", "    end\n    do\n      place = place + 1"
    ),
    "what is there of some keys is there of all": Mutant(
        ("CLAIM", "SETTLE"), "many == #keys or many > 0 and redis.call('EXISTS', key) == 1", "many > 0"
    ),
    "a session's turn lasts until its jobs do": Mutant(
        ("CLAIM",), "math.min(in_a_row, math", "math.min(99, math"
    ),
    "anybody adds to a job's log": Mutant(
        ("KEEP_LOGS",), "if token == '' or (v[1] ~= token and v[2] ~= token) then return 0 end", ""
    ),
    "what was settled adds nothing to its log": Mutant(("KEEP_LOGS",), " and v[2] ~= token)", ")"),
    "a job's log has no end": Mutant(("KEEP_LOGS",), "for _ = 1, many - most do", "for _ = 1, 0 do"),
    "a job's log has any size": Mutant(("KEEP_LOGS",), "if #kept > MAX_LINES_BYTES then", "if false then"),
    "lines that are sent again are there twice": Mutant(
        ("KEEP_LOGS",), "if string.sub(kept, -#lines) == lines then return 1 end", ""
    ),
    "finish twice": Mutant(("SETTLE",), "if job.last_token == token then", "if false then"),
    "an outcome is built on what is not recorded": Mutant(
        ("SETTLE",), "if outcomes and not are_recorded(outcomes) then return { 'unfounded' } end", ""
    ),
    "a job is built on what is not recorded": Mutant(
        ("ENQUEUE",), "if not are_recorded(outcomes) then return { 'unfounded' } end", ""
    ),
    "what was to begin by now is granted": Mutant(
        ("CLAIM",), "or job.expires and now >= job.expires then", "then"
    ),
    "what has begun expires all the same": Mutant(
        ("CLAIM",), "if job.expires then\n    redis.call('HDEL'", "if false then\n    redis.call('HDEL'"
    ),
    "what has begun has lost its deadline": Mutant(
        ("CLAIM",), "if job.deadline then redis.call('HSET', job.key, 'deadline', job.deadline) end", ""
    ),
    "a job that expires is told to have met its deadline": Mutant(
        ("CLAIM",), "was.expires and now >= was.expires and EXPIRED or DEADLINE", "DEADLINE"
    ),
    "a job that was granted once has not been granted": Mutant(
        ("CLAIM",), "deliveries_of(w[2], w[12]) or false", "w[2] or false"
    ),
    "a dead letter has not been granted": Mutant(
        ("REVIVE",), "if v[2] and not v[1] then redis.call('HSET', key, 'deliveries', '1') end", ""
    ),
    "who waits for what expires takes back what has begun": Mutant(
        ("CANCEL",), "deliveries_of(v[1], v[2]) then", "false then"
    ),
    "what is taken back as it expires is not counted": Mutant(
        ("CANCEL",), "count(job.queue, 'expired', 1)", ""
    ),
    "a job that expires is given as it comes": Mutant(
        ("ENQUEUE",), "only_asked == '' and ends then", "only_asked == '' then"
    ),
    "the last one in stands behind": Mutant(("ENQUEUE",), "only_asked == '<' and '<', skey", "false, skey"),
    "the last one of a session goes before others": Mutant(
        ("ENQUEUE",), "take_turn(queue, skey, front == true)", "take_turn(queue, skey, front)"
    ),
    "who has ended sends jobs": Mutant(("ENQUEUE",), "if not runs(sender) then return { 'orphan' } end", ""),
    "what is sent is called": Mutant(
        ("ENQUEUE",), "sender, parent, depth = parent, '', ''", "sender, depth = parent, ''"
    ),
    "what was sent is sent again": Mutant(
        ("ENQUEUE",),
        "elseif sender and redis.call('HGET', job_key(sender), '>' .. id) then",
        "elseif false then",
    ),
    "what is built on an outcome asks for any of that job": Mutant(
        ("ENQUEUE", "SETTLE"), " or (v[2] or v[3]) ~= told[i + 1]", ""
    ),
    "what is built on an outcome asks for any of that claim": Mutant(
        ("ENQUEUE", "SETTLE"), "v[1] ~= 'completed' or (v[2]", "(v[2]"
    ),
    "reap that keeps the token": Mutant(
        ("TICK", "LEAVE", "SETTLE"),
        "redis.call('HDEL', job.key, 'node', 'token', 'away')",
        "redis.call('HDEL', job.key, 'node', 'away')",
    ),
    "reap that does not count": Mutant(("TICK",), "'stalls', 1)", "'stalls', 0)"),
    "a lost claim that somebody else was granted is given back": Mutant(
        ("SETTLE", "RECONCILE"),
        "if lost ~= token or grant ~= (deliveries_of(v[2], v[3]) or '0') then return false end",
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
    "jobs that are alike wake one node": Mutant(("ENQUEUE",), "  for _ = 1, all do\n", "  for _ = 1, 1 do\n"),
    "a cancellation is told before what came before it": Mutant(
        ("ENQUEUE", "SETTLE"), "name == 'job:cancelled' and group ~= newest", "false"
    ),
    "an event's session is that of the first of its kind": Mutant(
        ("ENQUEUE", "SETTLE"), "session ~= group.session and not group.sessions", "false"
    ),
    "an event's data is another one's": Mutant(
        ("SETTLE",), "cmsgpack.pack(n - 1, data)", "cmsgpack.pack(0, data)"
    ),
    "an event names an odd session by its digest": Mutant(
        ("ENQUEUE", "SETTLE"),
        "session = redis.call('HGET', job_key(id), 'session') or ''",
        "session = session",
    ),
    "an event names an odd processor by its digest": Mutant(
        ("ENQUEUE",), "name = redis.call('HGET', job_key(group.ids[1]), 'processor')", "name = nil"
    ),
    "who listens is not told of a plain job's session when it starts": Mutant(
        ("CLAIM",), "    if not job.more then job.skey = skey end\n", ""
    ),
    "jobs that start together are told of as if they were of no session": Mutant(
        ("CLAIM",), "differ = differ or job.more or job.skey", "differ = differ or job.more"
    ),
    "jobs that start together are told of as if it were their first attempt": Mutant(
        ("CLAIM",), "differ = differ or job.more or job.skey", "differ = differ or job.skey"
    ),
    "what a script does is not written down": Mutant(
        ("ENQUEUE", "CLAIM", "SETTLE"), "    write_down(packed)\n", ""
    ),
    "what is emitted is not written down": Mutant(
        ("TELL",), "  write_down(written ~= '' and written or group)", ""
    ),
    "what is emitted is written down with all of its data": Mutant(
        ("TELL",), "written ~= '' and written or group", "group"
    ),
    "a page of the history repeats an entry": Mutant(
        ("READ_EVENTS",), "first = '(' .. entry[1]", "first = entry[1]"
    ),
    "a page of the history says that it is the last": Mutant(
        ("READ_EVENTS",), "XLEN', log_key()), 1 }", "XLEN', log_key()), 0 }"
    ),
    "an entry of the audit that is sent again is written again": Mutant(
        ("NOTE",), "redis.call('EXISTS', noted_key(id)) == 1", "false"
    ),
    "the audit grows for ever": Mutant(("NOTE",), "'MAXLEN', kept, ", ""),
    "what is refused takes the room of what was done": Mutant(("NOTE",), "refused == '1'", "false"),
    "what was done stands before what was refused earlier": Mutant(
        ("NOTE",), "other_ms == ms and other_nth > nth", "false"
    ),
    "what was refused within a moment is read after what was done": Mutant(
        ("NOTES",), "tonumber(nth) > tonumber(other_nth)", "false"
    ),
    "what was refused is read after all that was done": Mutant(
        ("NOTES",), "tonumber(ms) > tonumber(other_ms)", "true"
    ),
    "an entry of the audit is known for ever": Mutant(("NOTE",), ", 'PX', known", ""),
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
    "who hears nothing is given a job": Mutant(("ENQUEUE",), "hear[2] > 0 and ", ""),
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
        ("ENQUEUE",),
        "redis.call('ZREM', lot_key(queue), node)\n  end\n  return math.max(0, spare - 1)",
        "end\n  return math.max(0, spare - 1)",
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
        ("CLAIM",), "active_room = meta[1] and 0 or limit,", "active_room = limit,"
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
        "elseif not seen[parent][2] then note(parent, 'calls', '1') end",
        "end",
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
        "if #others > 0 or redis.call('HEXISTS', job.key, 'stays') == 1 then",
        "if false then",
    ),
    "two have one turn": Mutant(("CLAIM",), "(turns[job.turn] or is_taken(job.turn, id))", "false"),
    "a commit takes the turn from another": Mutant(("SETTLE",), "turn ~= '' and is_taken(turn, id)", "false"),
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
    "a node without a lease says who it is": Mutant(
        ("INTRODUCE",), "if number(redis.call('ZSCORE', nodes_key(), node), -1) < 0 then return 0 end", ""
    ),
    "what a node has said of itself outlives it": Mutant(
        ("LEAVE",), "redis.call('UNLINK', info_key(node))", ""
    ),
    "what a dead node has said of itself stays": Mutant(("TICK",), "redis.call('DEL', info_key(name))", ""),
    "a node that nobody hears is told to be heard": Mutant(("PRESENT",), "    heard[i + 1],", "    1,"),
    "a dying node's lease is told from the beginning of time": Mutant(
        ("PRESENT",), "till < 0 and -1 or till - now", "till - now"
    ),
    "a lock that is over is told to be held": Mutant(
        ("LOOK_AT_LOCK",), "math.max(0, ends - now)", "ends - now"
    ),
    "a state that has expired is shown": Mutant(
        ("LOOK_AT_SESSIONS",), "(not v[4] or number(v[4], now + 1) > now)", "true"
    ),
    "a session that was stopped is shown as stopping": Mutant(
        ("LOOK_AT_SESSIONS",), "number(v[6] or 0, 0) > now and 1 or 0", "v[6] and 1 or 0"
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
    "two carry an action on": Mutant(
        ("WRITE_BULK",), "return known[2] == record and 1 or 0 end", "return 1 end"
    ),
    "a step of an action is left out": Mutant(
        ("WRITE_BULK",), "if whole(number(known[1] or 0, 0) + 1) ~= nth then return 0 end", ""
    ),
    "a step of an action that comes again is another's": Mutant(
        ("WRITE_BULK",), "known[2] == record and 1 or 0", "0"
    ),
    "an action that goes on is a new one": Mutant(("WRITE_BULK",), "'NX', ", ""),
    "actions are kept for ever": Mutant(
        ("WRITE_BULK",), "redis.call('PEXPIRE', bulk_key(id), BULK_TTL_MS)", ""
    ),
    "as many actions are kept as there are": Mutant(("WRITE_BULK",), "if over > 0 then", "if false then"),
    "an action that is listed no more is kept": Mutant(
        ("WRITE_BULK",), "redis.call('DEL', bulk_key(oldest[i]))", ""
    ),
    "what is put first stands in two places": Mutant(
        ("PROMOTE",), "leave_place(job.queue, id, job.skey)", "note(id, 'gen', '0')"
    ),
    "what is put first is still due later": Mutant(
        ("PROMOTE",), "redis.call('ZREM', later_key(job.queue), id)\n    count", "count"
    ),
    "what is put first is counted as delayed": Mutant(
        ("PROMOTE",), "count(job.queue, 'later', -1)", "count(job.queue, 'later', 0)"
    ),
    "what is put first keeps its priority": Mutant(
        ("PROMOTE",), "redis.call('HDEL', job.key, 'priority')", ""
    ),
    "what is put first goes to the end": Mutant(("PROMOTE",), "put_back(job, true)", "put_back(job, false)"),
    "what is put first waits for its session's turn": Mutant(
        ("PROMOTE",), "take_turn(job.queue, job.skey, true)", "take_turn(job.queue, job.skey, false)"
    ),
    "what is put first has its old place in line for a turn": Mutant(
        ("PROMOTE",), "redis.call('ZADD', line, place, id)", ""
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
    "a flush that comes again counts twice": Mutant(
        ("FLUSH",),
        "if number(redis.call('GET', flushed_key(node)) or 0, 0) >= tonumber(seq) then return 0 end",
        "",
    ),
    "a slot is written twice": Mutant(("FLUSH",), "  if began <= last then return end\n", ""),
    "a slot is closed by every flush": Mutant(("FLUSH",), "if not began or began >= slot", "if not began"),
    "a slot is closed by none": Mutant(("FLUSH",), "if not began or began >= slot", "if true"),
    "what is in a closed slot is in the next one, too": Mutant(
        ("FLUSH",), "  redis.call('UNLINK', fresh_key(queue))\nend", "end"
    ),
    "a period is without its last slot": Mutant(
        ("FLUSH",), "whole(began + PERIOD_MS - 1)", "whole(began + PERIOD_MS - SLOT_MS - 1)"
    ),
    "an old slot goes before it is added up": Mutant(
        ("FLUSH",), "math.min(now - kept, at - at % PERIOD_MS)", "now - kept"
    ),
    "what was there is added up": Mutant(
        ("FLUSH",),
        "name >= FIRST_GAUGE and math.max(sums[name], value) or sums[name] + value",
        "sums[name] + value",
    ),
    "samples that have had their time are shown": Mutant(
        ("READ_SAMPLES",), "math.min(kept, within)", "within"
    ),
    "the slot that goes on is not shown": Mutant(("READ_SAMPLES",), "began > last then", "false then"),
    "a delayed job waits since it came": Mutant(
        ("CENSUS",), "math.max(number(v[2], now), number(v[3], 0))", "number(v[2], now)"
    ),
    "a circuit stays open": Mutant(("CENSUS",), " and number(circuit[2], 0) > now", ""),
    "samples of a forgotten queue stay": Mutant(
        ("FORGET_QUEUE",), ",\n    fresh_key(queue), samples_key(queue), archive_key(queue))", ")"
    ),
    "a retry is not counted": Mutant(("SETTLE",), "count(job.queue, 'retried', 1)", ""),
    "a refused outcome is not counted": Mutant(("SETTLE",), "count(job.queue, 'fenced', 1)", ""),
    "a conflict is not counted": Mutant(("SETTLE",), "count(job.queue, 'conflicts', 1)", ""),
    "a loss is not counted": Mutant(("TICK",), "count(job.queue, 'stalled', 1)", ""),
    "a job that has expired is not counted": Mutant(("CLAIM",), "count(queue, 'expired', 1)", ""),
    "what went wrong in a queue is told as something else": Mutant(
        ("STATS",), "row[index + 2] = number(v[index] or 0, 0)", "row[21 - index] = number(v[index] or 0, 0)"
    ),
    "an ended job is not listed": Mutant(("SETTLE", "CANCEL"), "note_end(job.queue, job.id, now)", ""),
    "an ended job is listed twice": Mutant(
        ("SETTLE",),
        "note_end(job.queue, job.id, now)",
        "note_end(job.queue, job.id, now) note_end(job.queue, job.id, now)",
    ),
    "a record does not keep what its job is found by": Mutant(
        ("ENQUEUE",), "if labels ~= '' then add('labels', labels) end", ""
    ),
    "a row does not say what its job is found by": Mutant(
        ("ROWS",), "w[12] and unpacked(w[12]) and w[12]", "false"
    ),
    "a record does not say when its job came": Mutant(("ENQUEUE",), "origin, 'at', at)", "origin)"),
    "a record does not say when its job began": Mutant(("CLAIM",), ", 'since', stamp(now))", ")"),
    "a record does not say when its job was handed out": Mutant(("ENQUEUE",), ", 'since', at }", " }"),
    "a record does not say when its plain job ended": Mutant(
        ("SETTLE",), "'status', status, 'result', result, 'ended', at)", "'status', status, 'result', result)"
    ),
    "a plain job that has ended forgets what it was settled with": Mutant(
        ("SETTLE",),
        "server.call('HDEL', key, 'spec', 'node')",
        "server.call('HDEL', key, 'spec', 'node', 'token')",
    ),
    "a plain job that has ended is held still": Mutant(("RECONCILE",), " and not ENDED[v[3]] then", " then"),
    "a claim that is sent again grants what has ended": Mutant(
        ("CLAIM",), "if not ENDED[job.status] and redis.call('HGET'", "if redis.call('HGET'"
    ),
    "a plain job that has ended shows a claim": Mutant(
        ("ROWS",), "local token = not over and v[8]", "local token = v[8]"
    ),
    "a job that ends while it waits has just run": Mutant(
        ("CANCEL",), "if job.more then forget_start(key) end", ""
    ),
    "any number of ended jobs is kept": Mutant(("SETTLE",), "if length > most_recent then", "if false then"),
    "what was asked for goes by number, too": Mutant(
        ("SETTLE",), "and not (v[3] or v[4] or v[5] or v[6] or v[7]) then", "then"
    ),
    "what goes by number goes at once": Mutant(("SETTLE",), "if left <= 0 then", "if true then"),
    "a page has what waits no more": Mutant(("PAGE",), "and (entry[2] == nil or entry[2] == gen)", "or true"),
    "a page has other queues' jobs": Mutant(("PAGE",), "and of == queue end", "end"),
    "the newest that had ended at a time had not": Mutant(
        ("PLACE",), "if ended_at(middle) <= at", "if ended_at(middle) < at"
    ),
    "a job that fails leaves no trace of it": Mutant(
        ("SETTLE",), "trace(job.id, now, 'failed', node, job.attempt, told)", ""
    ),
    "a refused outcome leaves no trace": Mutant(
        ("SETTLE",), "trace(id, now, 'refused', '', job.attempt, token .. '\\n' .. outcome)", ""
    ),
    "a loss leaves no trace": Mutant(("TICK",), "trace(job.id, now, 'lost', node, job.attempt)", ""),
    "a record keeps all that has happened": Mutant(
        ("SETTLE",), "if #trail > MOST_TRAIL then", "if false then"
    ),
    "what a job had called is forgotten with its end": Mutant(
        ("SETTLE",), "redis.call('SADD', called_key(id), unpack(children))", ""
    ),
    "a job that is run anew has called what it had": Mutant(
        ("ENQUEUE",), "redis.call('DEL', key, called_key(id), ", "redis.call('DEL', key, "
    ),
    "a state that a job has committed is nobody's": Mutant(
        ("SETTLE",), "node .. '\\n' .. token .. '\\n' .. id", "''"
    ),
    "a state that was written is nobody's": Mutant(("WRITE_STATE",), "node .. '\\n\\n'", "''"),
    "an open circuit lets jobs through": Mutant(("BREAKER",), "return { 0, state,", "return { 1, state,"),
    "a drained node is one like others": Mutant(
        ("FACTS",), ", 'info', redis.call('HGET', info_key(node), 'info'))", ")"
    ),
    "who waits no more is before a job": Mutant(
        ("FACTS",), " and other.status == 'waiting' and not flaw_of(other)", ""
    ),
    "who is to end is before a job": Mutant(
        ("FACTS",), "other.deadline and now > tonumber(other.deadline) or other.expires", "other.expires"
    ),
    "all that take one turn are before a job": Mutant(
        ("FACTS",), "may_go = not turns_taken[other.turn] and not is_taken(other.turn, other_id)", ""
    ),
    "a turn that another job takes first is not seen": Mutant(
        ("FACTS",), "if job.turn and other.turn == job.turn then same_turn = true end", ""
    ),
    "starts are told that no limit counts": Mutant(
        ("FACTS",), "local since = '(' .. whole(now - per)", "local since = '-inf'"
    ),
    "jobs of other queues are said to fill a queue": Mutant(
        ("FACTS",), "if v[1] == queue and not v[2] then", "if not v[2] then"
    ),
    "who has stepped aside is said to fill a queue": Mutant(
        ("FACTS",), "if v[1] == queue and not v[2] then", "if v[1] == queue then"
    ),
    "a queue that is not full says who fills it": Mutant(
        ("FACTS",), "active - away >= most_active", "active - away >= 0"
    ),
    "a limit that has changed is taken for settled": Mutant(
        ("FACTS",),
        "known and (last_most ~= most_active or last_session ~= per_session) or v[10] and true",
        "v[10] and true",
    ),
    "a session is said to stop for ever": Mutant(
        ("FACTS",), "local is_stopped = till and number(till, 0) > now", "local is_stopped = till"
    ),
    "what a job has called and has ended is told": Mutant(
        ("FACTS",), "if status and not ENDED[status] then found", "if status then found"
    ),
    "a result is told to who looks": Mutant(
        ("FACTS",), "has_ended and job.status ~= 'completed' and", "has_ended and"
    ),
    "who takes calls alone is told to take all": Mutant(
        ("FACTS",), "and tonumber(place) >= CALLS_ONLY", "and false"
    ),
    "who asks for work is not told": Mutant(("FACTS",), "'parked', place and true, ", ""),
    "a delayed job is told before it is due": Mutant(
        ("FACTS",),
        "redis.call('ZCOUNT', later_key(queue), '-inf', whole(now))",
        "redis.call('ZCARD', later_key(queue))",
    ),
    "a place by priority is not told": Mutant(
        ("FACTS",), "return rank and { 'place', rank } or {}", "return {}"
    ),
    "any number of silences is kept": Mutant(
        ("SILENCE",), "if kept >= MOST_SILENCES then return '-1' end", ""
    ),
    "a silence in the place of another counts twice": Mutant(
        ("SILENCE",), "elseif other ~= name then", "else"
    ),
    "a silence that is over is lifted": Mutant(
        ("LIFT_SILENCE",), "number(told[1], -1) > read_clock(clock)", "told[1]"
    ),
    "a silence that is over is told": Mutant(
        ("SILENCES",), "if till > now then answers", "if till then answers"
    ),
    "a queue that is held is not told": Mutant(("PRESSURE",), "v[1] and 1 or 0", "0"),
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
    if name in OF_WAITS:
        return WaitMachine
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


@pytest.mark.seeded
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
    first = (
        (WaitCases, ManyWaitCases, SignalCases)
        if name in OF_WAITS
        else (PromisedCases,)
        if name in OF_PROMISES
        else ()
    )
    if not shrink and a_case_fails(redis_url, redis_server, *first):
        return
    with pytest.raises(AssertionError) as found:
        explore(redis_server, machine_for(name), shrink=shrink)
    if shrink:
        print("\n".join(getattr(found.value, "__notes__", [])))
