"""Seeded bugs by which something stays for ever, or goes too early: the auditor finds them.

The machines are those that hold the scripts to the specification; after every step the auditor reads the
whole keyspace. What such a bug leaves behind changes no answer, so nothing else finds most of them.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.mutants.killers import a_case_fails, explore
from tests.mutants.test_script_mutants import Mutant, mutate
from tests.store.test_stateful import KeptMachine, LimitsMachine, SessionMachine, StoreMachine, TurnMachine

END = "redis.call('PEXPIRE', job.key, whole(age))"
BURIAL = "'updated', updated)\n  redis.call('PEXPIRE', key, TOMBSTONE_MS)"
HISTORY = "  redis.call('DEL', history_key(name))\n  redis.call('HSET'"
ANEW = "redis.call('HDEL', key, 'gone')\n    redis.call('PERSIST', key)"


def without(names: str, piece: str, instead: str = "") -> Mutant:
    """A bug in these scripts: the piece is not there."""
    return Mutant(tuple(names.split()), piece, instead)


MUTANTS: dict[str, tuple[type[StoreMachine], Mutant]] = {
    "the record of an ended job": (
        StoreMachine,
        without("SETTLE", f"  {END}\n  if dead then", "  if dead then"),
    ),
    "the record of a call": (StoreMachine, without("SETTLE CANCEL", f"{END}\n    return age", "return age")),
    "the record of a call, longer than its parent's": (
        StoreMachine,
        without("SETTLE CANCEL", "redis.call('PEXPIRE', job_key(id), whole(math.max(till - now, KEPT_MS)))"),
    ),
    "the set of a job's calls": (
        StoreMachine,
        without("SETTLE CANCEL TICK", "redis.call('DEL', children_key(id))"),
    ),
    "the claims' numbers of a dead node": (
        StoreMachine,
        without("TICK", "redis.call('PEXPIRE', claims_key(name), ttl)"),
    ),
    "the claims' numbers of a living node go": (
        StoreMachine,
        without("JOIN", "redis.call('PERSIST', claims_key(node))"),
    ),
    "the claims' numbers of a node that left": (
        StoreMachine,
        without("LEAVE", "redis.call('DEL', claims_key(node))"),
    ),
    "a suspicion": (StoreMachine, without("LEAVE", "redis.call('HDEL', suspects_key(), node)")),
    "a grace": (StoreMachine, without("LEAVE", "redis.call('HDEL', graces_key(), node)")),
    "a node that knows of promises": (
        StoreMachine,
        without("LEAVE", "redis.call('SREM', promising_key(), node)"),
    ),
    "a lease": (StoreMachine, without("LEAVE", "redis.call('HDEL', leases_key(), node)")),
    "a full node's place in the lot": (
        StoreMachine,
        without("CLAIM", "else\n  redis.call('ZREM', lot_key(queue), node)\nend", "end"),
    ),
    "the name of a session without jobs": (
        StoreMachine,
        without("SETTLE CANCEL", "if not there then empty", "if false then empty"),
    ),
    "a revived letter goes": (KeptMachine, without("REVIVE", "redis.call('PERSIST', key)")),
    "a dropped letter": (
        KeptMachine,
        without("BURY", "if redis.call('PTTL', key) > KEPT_MS", "if false"),
    ),
    "the list of dead letters": (
        KeptMachine,
        without("SETTLE", "if redis.call('PTTL', key) < age", "if false"),
    ),
    "a debounce key": (
        KeptMachine,
        without("CLAIM CANCEL", "if redis.call('GET', held) == job.id", "if false"),
    ),
    "a debounce key of what runs": (
        KeptMachine,
        without("CLAIM", "if job.debounce then leave_debounce(job, job.debounce) end"),
    ),
    "the starts of a rate limit": (
        LimitsMachine,
        without("CLAIM", "redis.call('PEXPIRE', started, flow_per + 60000)"),
    ),
    "the mark of a session that stops": (
        SessionMachine,
        without("STOP_SESSION", "\nkeep_unwritten(key)\n", "\n"),
    ),
    "what is left of a deleted state": (
        SessionMachine,
        without("WRITE_STATE", BURIAL, "'updated', updated)"),
    ),
    "a state written anew goes": (
        SessionMachine,
        without("WRITE_STATE", ANEW, "redis.call('HDEL', key, 'gone')"),
    ),
    "a state that has expired": (
        SessionMachine,
        without("TICK", "for _, name in ipairs(expired) do", "for _, name in ipairs({}) do"),
    ),
    "the history of a deleted state": (
        SessionMachine,
        without(
            "WRITE_STATE",
            "  redis.call('DEL', history_key(name))\n  redis.call('HSET'",
            "  redis.call('HSET'",
        ),
    ),
    "a line for a turn": (
        TurnMachine,
        without(
            "SETTLE", "for _, field in ipairs(queues) do call_up", "for _, field in ipairs({}) do call_up"
        ),
    ),
    "who has a turn": (TurnMachine, without("SETTLE", "redis.call('HDEL', key, 'holder')")),
    "a lock": (
        SessionMachine,
        without("ACQUIRE_LOCK RELEASE_LOCK", "redis.call('PEXPIRE', lock_key(name), lease + 60000)"),
    ),
    "a line for a lock": (
        SessionMachine,
        without("ACQUIRE_LOCK", "redis.call('PEXPIRE', line_key(name), ends - now + lease + 60000)"),
    ),
    "the number of a flush": (StoreMachine, without("FLUSH", "seq, 'PX', FLUSHED_FOR_MS)", "seq)")),
    "the slot that goes on": (
        StoreMachine,
        without("FLUSH", "  redis.call('PEXPIRE', fresh_key(queue), SLOTS_KEPT_MS)\n"),
    ),
    "a queue's samples": (StoreMachine, without("FLUSH", "  redis.call('PEXPIRE', key, whole(kept))\n")),
    "a circuit breaker": (
        SessionMachine,
        without("BREAKER", "redis.call('PEXPIRE', key, recovery + 86400000)"),
    ),
}
"""What stays for ever, or where it says so goes too early."""


@pytest.mark.seeded
@pytest.mark.parametrize("name", MUTANTS)
def test_what_stays_for_ever_is_found(
    name: str, redis_server: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, mutant = MUTANTS[name]
    mutate(monkeypatch, mutant)
    if a_case_fails(redis_url, redis_server):
        return
    with pytest.raises(AssertionError):
        explore(redis_server, machine)
