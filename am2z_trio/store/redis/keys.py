"""The only place where a key is spelled.

All keys of a namespace begin with its *anchor*, `{prefix:0}`: a hash tag, so that on Redis Cluster
they share one slot and every script stays within it. A script gets the anchor and the `guard` as its keys,
and builds the others as it is told here, from the same table. Neither exists: a cluster refuses who asks for
several keys of a slot that is on its way to another node, until all of it is there.

| key | type | holds |
|---|---|---|
| `job:<id>` | hash | spec, status, queue, origin, session, times, claim, outcome; of some more, and `more` |
| `children:<id>` | set | ids of the jobs it has called |
| `waits:<id>` | hash | what it waits for and has waited for, beside jobs; signals sent to it |
| `called:<id>` | set | the same of a job that has ended, for as long as its record is kept |
| `doomed:<number>` | set | ids of what a job that has ended had called, and has yet to end with it |
| `ending` | list | numbers of these sets, the job, why, and until when outcomes are kept |
| `ending:turn` | string | the node whose turn it is to go on with them |
| `q:<queue>:wait` | list | ids, first in first out; ids that wait no more are skipped at claim |
| `q:<queue>@<s>:wait` | list | the same for the jobs of one session |
| `q:<queue>:sieved` | list | what comes before `wait` while ids that wait no more are taken out of it |
| `q:<queue>@<s>:sieved` | list | the same for the jobs of one session |
| `q:<queue>:ghosts` | hash | `<queue>` or `<queue>@<s>` → how many ids in that list wait no more |
| `q:<queue>:ready` | zset | sessions that have jobs waiting here, by their turn |
| `q:<queue>:prio` | zset | ids with a priority: priority x 2^32 + arrival |
| `q:<queue>:later` | zset | delayed and backing-off ids, by due time |
| `q:<queue>:calls` | zset | ids that wait here and that other jobs wait for: the deepest calls first |
| `q:<queue>:lot` | zset | nodes parked on the queue; those that claim calls only come last |
| `q:<queue>:dead` | zset | ids of dead letters, by when they go |
| `q:<queue>:done` | zset | ids of completed jobs, where their number is limited |
| `q:<queue>:recent` | list | ids of jobs that have ended, newest first; once for each time |
| `q:<queue>:starts` | zset | tokens by when they were granted, where a rate limit counts them |
| `q:<queue>:running` | hash | session → its active jobs here, where their number is limited |
| `q:<queue>:blocked` | zset | sessions with jobs waiting here and as many active as may be: as many |
| `q:<queue>:back` | zset | active jobs that have their calls' outcomes and go on when there is room again |
| `q:<queue>@<t>:line` | zset | ids that wait here for a turn that another job has, by when they came to it |
| `q:<queue>:meta` | hash | names, counts by status, arrivals; its limits; when it was served last (`seen`) |
| `q:<queue>:fresh` | hash | when the slot that goes on began (`slot`), and figure → its value so far |
| `q:<queue>:samples` | stream | slots that are over: by when they began, `s`: figures, packed |
| `q:<queue>:archive` | stream | periods that are over, which slots are added up to |
| `q:<queue>:servers` | set | nodes that serve the queue |
| `queues` | zset | announced queues, in order of their first announcement |
| `nodes` | zset | nodes that may claim, by lease deadline; -1: being reaped |
| `promising` | set | of these, the ones whose program knows what a promise is, and ends it |
| `suspects` | hash | nodes without a subscriber, and since when |
| `clock` | string | how far the nodes' time is from the server's, and when it was seen last |
| `look` | string | when the next look at what all nodes share is due |
| `sweep` | string | place in `queues` at which the next look goes on |
| `graces` | hash | node → ms for which its subscriber may be missing |
| `leases` | hash | node → ms of its lease |
| `leaving` | hash | dead node → how far the search has come for the lots it is in |
| `truce` | string | until when nobody is taken for dead, since some node was away |
| `node:<n>:active` | hash | id → token of the node's claims |
| `node:<n>:claims` | hash | queue → the last claim call and its grants; `>`, `>queue`: see `handoff.lua` |
| `node:<n>:serves` | set | queues that the node serves |
| `node:<n>:flushed` | string | number of the node's last flush of figures |
| `node:<n>:info` | hash | who the node is, as it says itself (`info`) |
| `node:<n>` | channel | the node's inbox |
| `session:<s>` | hash | version, sha256, blob, times, TTL, who wrote it (`by`); `gone`: why none |
| `session:<s>:receipts` | hash | node → its last write of the session's state, and what it became |
| `session:<s>:history` | list | earlier states, newest first |
| `session:<s>:jobs` | set | ids of the session's jobs that have not ended |
| `session:<s>:signals` | hash | signals sent to the session that no job has taken yet |
| `awaiting:<s>:<name>` | zset | the session's jobs that wait for signals of that name, by arrival |
| `turn:<t>` | hash | the job that works on the session's state now; queues in which others wait |
| `sessions` | hash | sessions that have such jobs, and their ids as text |
| `expiries` | zset | sessions by the time their state expires |
| `lock:<s>` | hash | token, fencing number and end of the lease of the lock's holder |
| `lock:<s>:line` | zset | who waits for the lock, by arrival |
| `debounce:<queue>:<key>` | string | id of the last job with this key, until it begins or ends |
| `debounce:<queue>:<key>@<s>` | string | the same for the jobs of one session |
| `breaker:<p>` | hash | state of a processor's circuit breaker |
| `bulk:<id>` | hash | how far an action on many jobs has come: its record, and which one that is |
| `bulks` | zset | ids of these actions, by their beginning |
| `silences` | hash | findings that are silenced: code and target → until when, by whom, why |
| `schedules` | zset | schedules by when they are due; `inf`: paused, or at their end |
| `schedule:<s>` | hash | spec, revision, next time, last run, counts; `paused`: why |
| `schedule:<s>:runs` | zset | what became of its times, by these |
| `fence` | string | counts claims and locks: first half of a token, fencing number |
| `lineage` | string | first half of this history's name: another one once the server was emptied |
| `guard` | – | the second key of every script; there is none |
| `probe` | string | exists within one script only, which tries what the server lets this user do |
| `spoilt:<key>` | any | what stood where something else belongs, for a week: see `spoilt.lua` |
| `stopped` | zset | sessions that were stopped lately, by the number of their last stop |
| `stops` | channel | sessions that are stopped |
| `log` | stream | the history of events: `g`, a group of them, packed |
| `log:kept` | string | how many entries the history is to have |
| `node:<n>:told` | string | which of the node's calls that told events was the last |
| `audit` | stream | what operators have done: `at` and `entry`, packed; the last ones |
| `audit:refused` | stream | what they were refused, the same way; no id of an entry is spelled so |
| `audit:<id>` | string | exists while the entry of this id, sent again, is to be known |
| `events` | channel | typed events |

Names of queues, sessions and schedules, and the keys of debounced jobs, arrive as `plain_name`s. An id may be
any text: it ends the key, or stands between what nothing else begins and ends with. Times are milliseconds.
"""

from __future__ import annotations

import re
from typing import Final

TEMPLATES: Final = {
    "job": "job:%s",
    "children": "children:%s",
    "called": "called:%s",
    "waits": "waits:%s",
    "doomed": "doomed:%s",
    "ending": "ending",
    "turn": "ending:turn",
    "wait": "q:%s:wait",
    "sieved": "q:%s:sieved",
    "ghosts": "q:%s:ghosts",
    "ready": "q:%s:ready",
    "prio": "q:%s:prio",
    "later": "q:%s:later",
    "calls": "q:%s:calls",
    "lot": "q:%s:lot",
    "dead": "q:%s:dead",
    "done": "q:%s:done",
    "recent": "q:%s:recent",
    "starts": "q:%s:starts",
    "running": "q:%s:running",
    "blocked": "q:%s:blocked",
    "back": "q:%s:back",
    "turns": "q:%s:line",
    "meta": "q:%s:meta",
    "fresh": "q:%s:fresh",
    "samples": "q:%s:samples",
    "archive": "q:%s:archive",
    "servers": "q:%s:servers",
    "queues": "queues",
    "nodes": "nodes",
    "promising": "promising",
    "suspects": "suspects",
    "clock": "clock",
    "look": "look",
    "sweep": "sweep",
    "graces": "graces",
    "leases": "leases",
    "leaving": "leaving",
    "truce": "truce",
    "active": "node:%s:active",
    "claims": "node:%s:claims",
    "serves": "node:%s:serves",
    "flushed": "node:%s:flushed",
    "info": "node:%s:info",
    "inbox": "node:%s",
    "session": "session:%s",
    "history": "session:%s:history",
    "receipts": "session:%s:receipts",
    "jobs": "session:%s:jobs",
    "mail": "session:%s:signals",
    "awaiting": "awaiting:%s",
    "sessions": "sessions",
    "expiries": "expiries",
    "floor": "turn:%s",
    "lock": "lock:%s",
    "line": "lock:%s:line",
    "debounce": "debounce:%s",
    "breaker": "breaker:%s",
    "bulk": "bulk:%s",
    "bulks": "bulks",
    "silences": "silences",
    "schedules": "schedules",
    "schedule": "schedule:%s",
    "runs": "schedule:%s:runs",
    "fence": "fence",
    "lineage": "lineage",
    "guard": "guard",
    "probe": "probe",
    "spoilt": "spoilt:%s",
    "stopped": "stopped",
    "stops": "stops",
    "log": "log",
    "kept": "log:kept",
    "told": "node:%s:told",
    "audit": "audit",
    "refused": "audit:refused",
    "noted": "audit:%s",
    "events": "events",
}


def anchor(prefix: str) -> str:
    """What every key of a namespace begins with, and the `KEYS[1]` of every script."""
    return f"{{{prefix}:0}}"


def script_keys(prefix: str) -> tuple[str, str]:
    """The keys of every script."""
    return anchor(prefix), spell(prefix, "guard")


def spell(prefix: str, kind: str, name: str = "") -> str:
    """One key."""
    template = TEMPLATES[kind]
    return f"{anchor(prefix)}:{template % name if '%s' in template else template}"


def spelled_out(source: str) -> str:
    """Lua with `<kind>_key(name)` replaced by the key itself, on the anchor: `(anchor .. ':job:' .. name)`.

    Once, when a script is made, and not by a function for every kind, made anew by every call.
    """
    parts, done = list[str](), 0
    for found in _KEY.finditer(source):
        if found.start() < done:
            continue
        end = _closing(source, found.end())
        name = spelled_out(source[found.end() : end])
        if not name.isidentifier():
            name = f"({name})"
        before, named, after = TEMPLATES[found[1]].partition("%s")
        tail = f" .. '{after}'" if after else ""
        parts += [
            source[done : found.start()],
            f"(anchor .. ':{before}' .. {name}{tail})" if named else f"(anchor .. ':{before}')",
        ]
        done = end + 1
    return "".join((*parts, source[done:]))


_KEY: Final = re.compile(rf"\b({'|'.join(TEMPLATES)})_key\(")


def _closing(source: str, start: int) -> int:
    """Where the parenthesis closes that was opened before `start`."""
    depth = 1
    for found in re.compile(r"'(?:\\.|[^'\\\n])*'|[()]").finditer(source, start):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if depth == 0:
            return found.start()
    raise ValueError(f"a parenthesis is not closed: {source[start - 20 : start + 20]!r}")
